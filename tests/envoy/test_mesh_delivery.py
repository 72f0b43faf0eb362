"""Changes under load: whatever the order in which they come, no request pays for it."""

from __future__ import annotations

import json
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    HUB,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    router,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
_KINDS: Final = ("service", "rule", "route")
_ORDERS: Final = tuple(permutations(_KINDS))
_DOORS: Final = tuple(permutations(("service", "gateway", "route")))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, two services and a gateway."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "ann.yaml": pod("ann", 2),
        "gate.yaml": router("gate", 80) + service("gate", 80, ("gate", 80), ports="http:80:8080"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


# --- Any order --------------------------------------------------------------------------------------


def _together(name: str, number: int) -> dict[str, str]:
    """Return objects that only make sense together: web's requests go to a subset of a new service."""
    rule = f"host: {name}\nsubsets: [{{name: v1, labels: {{version: v1}}}}]"
    target = f"{{host: {name}, subset: v1, port: {{number: 80}}}}"
    route = f"hosts: [web]\nhttp: [{{route: [{{destination: {target}}}]}}]"
    return {
        "service": service(name, number, ("api", 13)),
        "rule": istio("DestinationRule", name, rule, namespace="test"),
        "route": istio("VirtualService", "web", route, namespace="test"),
    }


@pytest.mark.parametrize("number", range(len(_ORDERS)), ids=lambda n: "-".join(_ORDERS[n]))
def test_three_objects_in_any_order(mesh: LiveMesh, number: int) -> None:
    """Saved one after the other and deleted one after the other, without a failed request.

    Each has been offered to the proxies before the next is saved. The names are new each time, so that
    nothing is there from the time before.
    """
    order = _ORDERS[number]
    objects = _together(f"next-{number}", 30 + number)
    with mesh.load("ann", _WEB) as load:
        for kind in order:
            mesh.write(f"{kind}.yaml", objects[kind])
            mesh.notice()
        mesh.settle()
        assert mesh.call("ann", _WEB).pod == "api"
        for kind in order:
            mesh.remove(f"{kind}.yaml")
            mesh.notice()
        mesh.settle()
        assert mesh.call("ann", _WEB).pod == "web"
    assert not load.failures
    assert load.pods["api"] > 0


@pytest.mark.parametrize("number", range(len(_DOORS)), ids=lambda n: "-".join(_DOORS[n]))
def test_a_door_opens_in_any_order(mesh: LiveMesh, number: int) -> None:
    """Who comes too early is refused or not found, but nobody is told of a failure."""
    name = f"behind-{number}"
    route = f"hosts: ['*']\ngateways: [gate]\nhttp: [{{route: [{{destination: {{host: {name}, port: {{number: 80}}}}}}]}}]"
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
    objects = {
        "service": service(name, 40 + number, ("api", 13)),
        "gateway": istio(
            "Gateway", "gate", f"selector: {{istio: gate}}\nservers: [{server}]", namespace="test"
        ),
        "route": istio("VirtualService", "door", route, namespace="test"),
    }
    order = _DOORS[number]
    statuses: Counter[int] = Counter()

    def visit() -> int:
        statuses[status := mesh.call(HUB, f"http://{pod_ip(80)}:8080/").status] += 1
        return status

    for kind in order:
        mesh.write(f"{kind}.yaml", objects[kind])
        mesh.notice()
        for _ in range(5):
            visit()
    mesh.settle()
    assert visit() == 200
    for kind in order:
        mesh.remove(f"{kind}.yaml")
        mesh.notice()
        for _ in range(5):
            visit()
    mesh.settle()
    assert statuses.keys() <= {0, 404, 200}


def test_a_route_to_what_never_comes_is_in_force_in_the_end(mesh: LiveMesh) -> None:
    """Its host goes on as before for a while, and then fails, as it says; its object says so at once."""
    wrong = _together("never", 50)["route"]
    mesh.write("route.yaml", wrong)
    mesh.notice()
    assert mesh.call("ann", _WEB).status == 200
    found = mesh.object("VirtualService", "test/web")
    assert "MZ0301" in {one["code"] for one in found["diagnostics"]}
    assert found["programmed"]["live"] < found["programmed"]["of"]
    eventually(lambda: mesh.call("ann", _WEB).status == 503, "the route is in force")
    mesh.settle()
    mesh.remove("route.yaml")
    mesh.settle()
    assert mesh.call("ann", _WEB).status == 200


# --- What moves -------------------------------------------------------------------------------------


def _entry(name: str, host: str, address: int, number: int) -> str:
    return istio(
        "ServiceEntry",
        name,
        f"""
        hosts: [{host}]
        addresses: [{service_ip(address)}]
        location: MESH_INTERNAL
        resolution: STATIC
        ports: [{{name: http, number: 80, protocol: HTTP, targetPort: 8080}}]
        endpoints: [{{address: {pod_ip(number)}}}]
        """,
        namespace="test",
    )


def test_an_address_moves_between_two_objects(mesh: LiveMesh) -> None:
    """Two entries exchange their addresses in one edit, ten times, and every request is answered."""
    one, two = f"http://{service_ip(60)}/", f"http://{service_ip(61)}/"
    texts = [
        _entry("one", "one.example.org", first, 11)
        + "\n---\n"
        + _entry("two", "two.example.org", second, 13)
        for first, second in ((60, 61), (61, 60))
    ]
    mesh.apply("moving.yaml", texts[0])
    with mesh.load("ann", one, two) as load:
        for turn in range(10):
            assert mesh.call("ann", one).pod == ("web" if turn % 2 == 0 else "api")
            mesh.apply("moving.yaml", texts[(turn + 1) % 2])
    mesh.remove("moving.yaml")
    mesh.settle()
    assert not load.failures
    assert load.pods.keys() == {"web", "api"}
    assert not _refusals(mesh)


def test_a_name_moves_between_two_objects(mesh: LiveMesh) -> None:
    """A ServiceEntry takes a Service's middle name away from it, and gives it back."""
    url = "http://web.test/"
    taking = _entry("taking", "web.test", 62, 13)
    with mesh.load("ann", url) as load:
        for _ in range(3):
            with mesh.having(taking):
                assert mesh.call("ann", url).pod == "api"
            assert mesh.call("ann", url).pod == "web"
    assert not load.failures
    assert not _refusals(mesh)


def _owners(one: str, two: str) -> tuple[str, str]:
    """Return two VirtualServices of these hosts, each of which says in an answer whose it is."""
    rule = (
        "{{headers: {{response: {{set: {{x-by: {}}}}}}},"
        " route: [{{destination: {{host: api, port: {{number: 80}}}}}}]}}"
    )
    first, second = (
        istio(
            "VirtualService",
            name,
            f"hosts: [{hosts}]\nhttp: [{rule.format(name)}]",
            namespace="test",
        )
        for name, hosts in (("one", one), ("two", two))
    )
    return first, second


def test_a_host_moves_between_two_objects(mesh: LiveMesh) -> None:
    """In one edit, and in two of which the first is the one that takes: it is always somebody's."""
    here = _owners("a.example.org, shared.example.org", "b.example.org")
    there = _owners("a.example.org", "b.example.org, shared.example.org")
    url = "http://shared.example.org/"
    seen: list[str] = []

    def by() -> str:
        # Where nobody has the host, the request goes to the pod's port 80, which is closed.
        reply = mesh.call("ann", url, at=pod_ip(13))
        seen.append(f"{reply.status} {reply.headers.get('x-by')}")
        return seen[-1]

    mesh.apply("both.yaml", "\n---\n".join(here))
    for texts, owner in ((there, "two"), (here, "one")) * 3:
        mesh.write("both.yaml", "\n---\n".join(texts))
        by()
        mesh.settle()
        assert by() == f"200 {owner}"
    mesh.write("one.yaml", here[0])
    mesh.write("two.yaml", here[1])
    mesh.remove("both.yaml")
    mesh.settle()
    edits = (("two", there[1]), ("one", there[0]), ("one", here[0]), ("two", here[1]))
    for name, text in edits:
        mesh.write(f"{name}.yaml", text)
        by()
        mesh.settle()
        by()
    mesh.remove("one.yaml")
    mesh.remove("two.yaml")
    mesh.settle()
    assert set(seen) == {"200 one", "200 two"}
    assert not _refusals(mesh)


def _refusals(mesh: LiveMesh) -> list[str]:
    return [nack["message"] for proxy in mesh.status()["proxies"] for nack in proxy["nacks"]]


# --- What changes -----------------------------------------------------------------------------------


def _connect_timeout(mesh: LiveMesh) -> str:
    """Return what the client's Envoy has in use, not what it is warming."""
    dump = json.loads(mesh.admin("ann", "/config_dump?resource=dynamic_active_clusters"))
    for found in dump["configs"]:
        if found["cluster"]["name"] == "outbound|80||web.test.svc.cluster.local":
            return str(found["cluster"]["connect_timeout"])
    return ""


def test_a_changed_cluster_warms_and_serves(mesh: LiveMesh) -> None:
    """Ten edits of a connect timeout, each in use at once, and none felt."""
    rule = "host: web\ntrafficPolicy: {{connectionPool: {{tcp: {{connectTimeout: {}s}}}}}}"
    with mesh.load("ann", _WEB) as load:
        for seconds in range(1, 11):
            mesh.apply(
                "rule.yaml", istio("DestinationRule", "web", rule.format(seconds), namespace="test")
            )
            eventually(lambda s=seconds: _connect_timeout(mesh) == f"{s}s", "the cluster is in use")  # type: ignore[misc]
    mesh.remove("rule.yaml")
    mesh.settle()
    assert not load.failures
    assert mesh.stats("ann", "^cluster_manager.warming_clusters$") == {
        "cluster_manager.warming_clusters": 0
    }


def test_every_kind_of_change_at_once(mesh: LiveMesh) -> None:
    """Clusters, routes, listeners, policies and endpoints change in one save, back and forth."""
    extra = (
        service("extra", 70, ("api", 13))
        + istio(
            "DestinationRule",
            "web",
            "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}",
            namespace="test",
        )
        + "\n---\n"
        + istio(
            "VirtualService",
            "web",
            "hosts: [web]\nhttp: [{timeout: 5s, route: [{destination: {host: web, port: {number: 80}}}]}]",
            namespace="test",
        )
        + "\n---\n"
        + istio("AuthorizationPolicy", "all", "rules: [{}]", namespace="test")
        + "\n---\n"
        + istio("PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test")
    )
    with mesh.load("ann", _WEB, "http://api/") as load:
        for _ in range(5):
            mesh.apply("extra.yaml", extra)
            mesh.remove("extra.yaml")
            mesh.settle()
    assert not load.failures
