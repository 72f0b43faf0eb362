"""DestinationRules as requests meet them: who is chosen, how much is let through, who is left out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
_PODS: Final = (("web-1", 11), ("web-2", 12), ("web-3", 13))
# The beginning of its counters' names, as a regex that a URL can hold.
_CLUSTER: Final = "^cluster.outbound.80..web.test.svc.cluster.local;?."
_NAMES: Final = {name for name, _number in _PODS}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client and a service of three pods, one of them of another version."""
    files = {
        "web.yaml": "".join(
            pod(name, number, app="web", version="v2" if number == 13 else "v1")
            for name, number in _PODS
        )
        + service("web", 11, *_PODS),
        "ann.yaml": pod("ann", 2),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _rule(policy: str, more: str = "") -> str:
    """Return a DestinationRule of the service with a traffic policy written in one line."""
    return istio(
        "DestinationRule", "web", f"host: web\ntrafficPolicy: {policy}\n{more}", namespace="test"
    )


def _counted(mesh: LiveMesh, number: int, path: str = "", **headers: str) -> Counter[str]:
    replies = mesh.calls("ann", _WEB + path, number, headers=headers)
    return Counter(reply.pod for reply in replies)


# --- Who is chosen ----------------------------------------------------------------------------------


def test_everyone_gets_some(mesh: LiveMesh) -> None:
    """Without a rule, the least busy of two is taken: over 150 requests nobody is left out."""
    counted = _counted(mesh, 150)
    assert counted.keys() == _NAMES
    assert min(counted.values()) > 20


def test_round_robin_is_even(mesh: LiveMesh) -> None:
    """Of 90 requests each of three pods gets 30."""
    with mesh.having(_rule("{loadBalancer: {simple: ROUND_ROBIN}}")):
        eventually(lambda: set(_counted(mesh, 90).values()) == {30}, "an even share")


def test_random_is_uneven(mesh: LiveMesh) -> None:
    """Each request is a throw of dice of its own."""
    with mesh.having(_rule("{loadBalancer: {simple: RANDOM}}")):
        counted = [_counted(mesh, 60) for _ in range(4)]
    assert all(one.keys() == _NAMES for one in counted)
    assert len({tuple(sorted(one.items())) for one in counted}) > 1


@pytest.mark.parametrize("table", ["", "ringHash: {minimumRingSize: 2048}, ", "maglev: {}, "])
def test_a_hashed_header_sticks(mesh: LiveMesh, table: str) -> None:
    """Who says the same gets the same pod; many different ones get all of them."""
    with mesh.having(
        _rule(f"{{loadBalancer: {{consistentHash: {{{table}httpHeaderName: x-user}}}}}}")
    ):
        eventually(lambda: len(_counted(mesh, 12, **{"X-User": "7"})) == 1, "hashing is in force")
        for user in range(8):
            assert len(_counted(mesh, 10, **{"X-User": str(user)})) == 1
        everyone = Counter(
            mesh.call("ann", _WEB, headers={"X-User": str(user)}).pod for user in range(60)
        )
    assert everyone.keys() == _NAMES


@pytest.mark.parametrize("written", ["ringHash: {minimumRingSize: 5000}", "minimumRingSize: 5000"])
def test_a_ring_has_so_many_places(mesh: LiveMesh, written: str) -> None:
    """Or a few more, and as many for each pod; Envoy counts them."""
    policy = f"{{loadBalancer: {{consistentHash: {{{written}, httpHeaderName: x-user}}}}}}"
    with mesh.having(_rule(policy)):
        assert mesh.call("ann", _WEB).status == 200
        found = mesh.stats("ann", f"{_CLUSTER}ring_hash_lb.size$")
    assert 5000 <= sum(found.values()) < 5000 + len(_PODS)


def test_a_hashed_query_sticks(mesh: LiveMesh) -> None:
    """As a header does."""
    policy = "{loadBalancer: {consistentHash: {httpQueryParameterName: user}}}"
    with mesh.having(_rule(policy)):
        eventually(lambda: len(_counted(mesh, 12, "?user=7")) == 1, "hashing is in force")
        everyone = Counter(mesh.call("ann", f"{_WEB}?user={user}").pod for user in range(60))
    assert everyone.keys() == _NAMES


def test_a_cookie_is_made_for_who_has_none(mesh: LiveMesh) -> None:
    """And it leads its bearer back to the same pod."""
    policy = "{loadBalancer: {consistentHash: {httpCookie: {name: stick, ttl: 60s, path: /}}}}"
    with mesh.having(_rule(policy)):
        eventually(
            lambda: "set-cookie" in mesh.call("ann", _WEB).headers, "a cookie for who has none"
        )
        first = mesh.call("ann", _WEB)
        said = first.headers["set-cookie"]
        assert said.startswith("stick=")
        assert "Max-Age=60" in said
        assert _counted(mesh, 20, Cookie=said.partition(";")[0]) == {first.pod: 20}


def test_a_clients_address_sticks(mesh: LiveMesh) -> None:
    """For HTTP and for bytes: the client has one address."""
    policy = "{loadBalancer: {consistentHash: {useSourceIp: true}}}"
    with mesh.having(_rule(policy)):
        eventually(lambda: len(_counted(mesh, 12)) == 1, "hashing is in force")
        assert len(_counted(mesh, 30)) == 1


def test_subsets_have_policies_of_their_own(mesh: LiveMesh) -> None:
    """A subset chooses among its own pods, by its own rule."""
    subsets = """
subsets:
  - name: v1
    labels: {version: v1}
    trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
  - {name: v2, labels: {version: v2}}
"""
    route = istio(
        "VirtualService",
        "web",
        """
        hosts: [web]
        http:
          - match: [{uri: {prefix: /v1}}]
            route: [{destination: {host: web, subset: v1}}]
          - match: [{uri: {prefix: /v2}}]
            route: [{destination: {host: web, subset: v2}}]
        """,
        namespace="test",
    )
    with mesh.having(_rule("{loadBalancer: {simple: RANDOM}}", subsets), route):
        eventually(lambda: _counted(mesh, 40, "v1") == {"web-1": 20, "web-2": 20}, "a fair share")
        assert _counted(mesh, 10, "v2") == {"web-3": 10}


# --- How much is let through ------------------------------------------------------------------------


def _statuses(mesh: LiveMesh, url: str, number: int) -> Counter[int]:
    return Counter(reply.status for reply in mesh.at_once("ann", url, number))


@pytest.mark.parametrize(
    "limits",
    [
        "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}",
        "{http: {http2MaxRequests: 1}}",
    ],
)
def test_what_overflows_a_pool_is_503(mesh: LiveMesh, limits: str) -> None:
    """At once, with the word for it, and only what is too much."""
    with mesh.having(_rule(f"{{connectionPool: {limits}}}")):
        eventually(
            lambda: _statuses(mesh, f"{_WEB}?delay=0.3", 10)[503] > 3, "the limit is in force"
        )
        replies = mesh.at_once("ann", f"{_WEB}?delay=0.3", 10)
        refused = [reply for reply in replies if reply.status == 503]
        # A pool always has one connection to each pod, whatever the limit.
        assert 1 <= len(replies) - len(refused) <= 1 + len(_PODS)
        assert {reply.headers.get("x-envoy-overloaded") for reply in refused} == {"true"}
        assert b"overflow" in refused[0].body
        assert mesh.call("ann", _WEB).status == 200
    eventually(lambda: _statuses(mesh, f"{_WEB}?delay=0.1", 10) == {200: 10}, "the limit is lifted")


def test_connections_over_tcp_are_limited(mesh: LiveMesh) -> None:
    """The second one is closed while the first is open."""
    with mesh.having(_rule("{connectionPool: {tcp: {maxConnections: 1}}}")):
        eventually(lambda: _two_at_once(mesh) == (True, False), "the limit is in force")


def _two_at_once(mesh: LiveMesh) -> tuple[bool, bool]:
    with mesh.connect("ann", (service_ip(11), TCP_PORT)) as first:
        first.sendall(b"one\n")
        is_first = bool(first.recv(100))
        return is_first, bool(mesh.tcp("ann", "web", TCP_PORT))


def test_a_connection_is_closed_after_its_requests(mesh: LiveMesh) -> None:
    """``maxRequestsPerConnection: 1`` has Envoy open a connection for each."""
    with mesh.having(_rule("{connectionPool: {http: {maxRequestsPerConnection: 1}}}")):

        def made() -> int:
            return sum(mesh.stats("ann", f"{_CLUSTER}upstream_cx_total$").values())

        def for_ten() -> int:
            before = made()
            assert _counted(mesh, 10).total() == 10
            return made() - before

        eventually(lambda: for_ten() == 10, "ten connections for ten requests")


def test_a_connection_that_is_not_made_in_time_is_given_up(mesh: LiveMesh) -> None:
    """``connectTimeout`` holds towards who does not answer at all."""
    nobody = service("void", 50, ("nobody", 250))
    rule = istio(
        "DestinationRule",
        "void",
        """
        host: void
        trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0.2s}}}
        """,
        namespace="test",
    )
    with mesh.having(nobody, rule):
        reply = mesh.call("ann", "http://void/", at=service_ip(50))
    assert reply.status == 503


# --- Who is left out --------------------------------------------------------------------------------


def test_a_pod_that_fails_is_left_alone(mesh: LiveMesh) -> None:
    """After five failures in a row it gets nothing any more, until its time is over."""
    policy = """{outlierDetection: {consecutive5xxErrors: 5, interval: 0.5s,
                 baseEjectionTime: 2s, maxEjectionPercent: 50}}"""
    broken = f"{_WEB}?broken=web-2"
    with mesh.having(_rule(policy)):
        eventually(
            lambda: all(reply.status == 200 for reply in mesh.calls("ann", broken, 20)),
            "the failing pod is left out",
        )
        ejected = mesh.stats("ann", f"{_CLUSTER}outlier_detection.ejections_active$")
        assert sum(ejected.values()) == 1
        eventually(lambda: "web-2" in _counted(mesh, 20), "the pod has been let in again")


def test_a_pod_that_is_not_ready_gets_nothing(mesh: LiveMesh) -> None:
    """As soon as its slice says so, and something again once it is."""
    before = (mesh.mesh.folder / "web.yaml").read_text(encoding="utf-8")
    ready = f"- addresses: [{pod_ip(12)}]\n    conditions: {{ready: true}}"
    assert ready in before
    with mesh.load("ann", _WEB) as load:
        mesh.apply("web.yaml", before.replace(ready, ready.replace("true", "false")))
        assert _counted(mesh, 40).keys() == {"web-1", "web-3"}
        mesh.apply("web.yaml", before)
        eventually(lambda: "web-2" in _counted(mesh, 10), "the pod is back")
    assert not load.failures


def test_pods_come_and_go_under_load(mesh: LiveMesh) -> None:
    """No request fails while the slice's addresses change, down to one and back."""
    before = (mesh.mesh.folder / "web.yaml").read_text(encoding="utf-8")
    head, *entries = before.split("  - addresses:")
    assert len(entries) == 3
    with mesh.load("ann", _WEB) as load:
        for kept in ((0,), (0, 1), (1,), (1, 2), (2,), (0, 1, 2)):
            text = "".join(f"  - addresses:{entries[number]}" for number in kept)
            mesh.apply("web.yaml", head + text)
    mesh.apply("web.yaml", before)
    assert not load.failures
