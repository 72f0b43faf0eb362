"""More of DestinationRules as requests meet it: for whom a rule is, how far it reaches, what is said to servers."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_manifests import mesh_config
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
_FAR: Final = "http://web.test/"
_PODS: Final = (("web-1", 11), ("web-2", 12), ("web-3", 13))
_CLUSTER: Final = "^cluster.outbound.80..web.test.svc.cluster.local;?."
_STICKY: Final = "{loadBalancer: {consistentHash: {useSourceIp: true}}}"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Two clients at home and one from elsewhere, a service of three pods, and one outside of the mesh."""
    files = {
        "web.yaml": "".join(pod(name, number, app="web") for name, number in _PODS)
        + service("web", 11, *_PODS),
        "plain.yaml": pod("plain", 20, sidecar=False) + service("plain", 20, ("plain", 20)),
        "ann.yaml": pod("ann", 2),
        "bob.yaml": pod("bob", 3),
        "cay.yaml": pod("cay", 4, namespace="other"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _rule(policy: str, more: str = "", *, host: str = "web") -> str:
    spec = f"host: {host}\ntrafficPolicy: {policy}\n{more}"
    return istio("DestinationRule", host, spec, namespace="test")


def _pods(mesh: LiveMesh, of: str, number: int = 40, url: str = _WEB) -> Counter[str]:
    return Counter(reply.pod for reply in mesh.calls(of, url, number))


def _sticks(mesh: LiveMesh, of: str, url: str = _WEB) -> bool:
    return len(_pods(mesh, of, url=url)) == 1


# --- For whom a rule is ------------------------------------------------------------------------------


def test_a_rule_may_be_for_some_clients(mesh: LiveMesh) -> None:
    """Of its own namespace, by their labels; all others have the rule for everyone."""
    some = istio(
        "DestinationRule",
        "some",
        f"host: web\nworkloadSelector: {{matchLabels: {{app: ann}}}}\ntrafficPolicy: {_STICKY}",
        namespace="test",
    )
    everyone = _rule("{loadBalancer: {simple: ROUND_ROBIN}}")
    with mesh.having(some, everyone):
        assert _sticks(mesh, "ann")
        assert set(_pods(mesh, "bob", 30).values()) == {10}
        assert len(_pods(mesh, "cay", url=_FAR)) == 3


def test_the_rule_of_the_most_specific_host_holds(mesh: LiveMesh) -> None:
    """Whole, and whatever the order: a host's own before a wildcard's, a longer wildcard's before a shorter one's."""
    hosts = ("web", "'*.test.svc.cluster.local'", "'*.svc.cluster.local'")
    even = "{loadBalancer: {simple: ROUND_ROBIN}}"
    for specific, other in ((0, 1), (1, 2)):
        for found, policies in ((1, (_STICKY, even)), (3, (even, _STICKY))):
            rules = [
                istio(
                    "DestinationRule",
                    name,
                    f"host: {host}\ntrafficPolicy: {policy}",
                    namespace="test",
                )
                for name, host, policy in zip(
                    "ba", (hosts[specific], hosts[other]), policies, strict=True
                )
            ]
            with mesh.having(*rules):
                assert len(_pods(mesh, "ann", 12)) == found


def test_a_rule_may_stay_at_home(mesh: LiveMesh) -> None:
    """``exportTo: ['.']`` leaves clients of other namespaces alone."""
    with mesh.having(_rule(_STICKY, "exportTo: ['.']")):
        assert _sticks(mesh, "ann")
        assert len(_pods(mesh, "cay", url=_FAR)) == 3
    with mesh.having(_rule(_STICKY)):
        assert _sticks(mesh, "cay", _FAR)


def test_a_port_has_a_policy_of_its_own(mesh: LiveMesh) -> None:
    """Which stands alone: nothing of what is written for all ports is left."""
    port = "portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]"
    with mesh.having(_rule(f"{_STICKY[:-1]}, {port}}}")):
        assert set(_pods(mesh, "ann", 30).values()) == {10}


def test_the_mesh_says_what_no_rule_says(mesh: LiveMesh) -> None:
    """In its ConfigMap: limits and detection by whole blocks, which a rule's own replace."""
    config = mesh_config(
        "h2UpgradePolicy: UPGRADE\n"
        "defaultTrafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}",
        "istio",
    )
    one = "{connectionPool: {http: {idleTimeout: 60s}}}"
    for texts, connections in (((config,), 10), ((config, _rule(one)), 0)):
        with mesh.having(*texts):
            mesh.calls("ann", _WEB, 10)
            before = _count(mesh, "upstream_cx_http2_total")
            mesh.calls("ann", _WEB, 10)
            assert _count(mesh, "upstream_cx_http2_total") - before == connections


# --- Who is chosen, and who is left out --------------------------------------------------------------


def test_a_cookie_has_the_attributes_that_are_written(mesh: LiveMesh) -> None:
    """When it is made."""
    cookie = "{name: stick, ttl: 60s, attributes: [{name: SameSite, value: Strict}]}"
    with mesh.having(_rule(f"{{loadBalancer: {{consistentHash: {{httpCookie: {cookie}}}}}}}")):
        said = mesh.call("ann", _WEB).headers["set-cookie"]
    assert "SameSite=Strict" in said


def test_a_new_pod_is_warmed(mesh: LiveMesh) -> None:
    """It gets little at first, and its share when its time is over; however it is written."""
    before = (mesh.mesh.folder / "web.yaml").read_text(encoding="utf-8")
    head, _, newest = before.rpartition("  - addresses:")
    assert pod_ip(13) in newest
    warmup = "warmup: {duration: 4s, minimumPercent: 1, aggression: 1}"
    # As it was written once, of a subset with all pods.
    old = """
subsets:
  - name: all
    labels: {app: web}
    trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmupDurationSecs: 4s}}
"""
    to_subset = istio(
        "VirtualService",
        "web",
        """
        hosts: [web]
        http:
        - match: [{uri: {prefix: /old}}]
          route: [{destination: {host: web, subset: all}}]
        - route: [{destination: {host: web}}]
        """,
        namespace="test",
    )
    urls = (_WEB, f"{_WEB}old")
    with mesh.having(_rule(f"{{loadBalancer: {{simple: ROUND_ROBIN, {warmup}}}}}", old), to_subset):
        mesh.apply("web.yaml", head)
        warm = time.monotonic() + 4.5
        eventually(lambda: time.monotonic() > warm, "the others are warm")
        mesh.apply("web.yaml", before)
        at_first = [_pods(mesh, "ann", 60, url)["web-3"] for url in urls]
        for url in urls:
            eventually(lambda: _pods(mesh, "ann", 60, url)["web-3"] >= 18, "it has its share")  # noqa: B023 - at once
    assert max(at_first) <= 12


def _ejected(mesh: LiveMesh, host: str = "web") -> int:
    """Return how many pods are out; the gauge would count those of clusters that are gone."""
    clusters = json.loads(mesh.admin("ann", "/clusters?format=json"))["cluster_statuses"]
    found = (
        one for one in clusters if one["name"] == f"outbound|80||{host}.test.svc.cluster.local"
    )
    statuses = [status for one in found for status in one.get("host_statuses", ())]
    return sum("failed_outlier_check" in status["health_status"] for status in statuses)


@pytest.mark.parametrize(("codes", "ejected"), [("", False), ("[418, 429]", True)])
def test_statuses_count_as_failures(mesh: LiveMesh, codes: str, *, ejected: bool) -> None:
    """Those that are written, and no others."""
    listed = f", outlierDetectionHttpErrorCodes: {codes}" if codes else ""
    policy = (
        "{outlierDetection: {consecutive5xxErrors: 2, interval: 0.2s, baseEjectionTime: 60s,"
        f" maxEjectionPercent: 100{listed}}}}}"
    )
    with mesh.having(_rule(policy)):
        statuses = Counter(reply.status for reply in mesh.calls("ann", f"{_WEB}?status=418", 60))
        if ejected:
            eventually(
                lambda: mesh.calls("ann", f"{_WEB}?status=418", 6) and _ejected(mesh) == 3, "out"
            )
        else:
            assert (statuses, _ejected(mesh)) == ({418: 60}, 0)


@pytest.mark.parametrize(("status", "ejected"), [(500, 0), (502, 3)])
def test_errors_of_gateways_count_by_themselves(mesh: LiveMesh, status: int, ejected: int) -> None:
    """502, 503 and 504; others do not, where counting them is switched off."""
    counts = "consecutiveGatewayErrors: 2, consecutive5xxErrors: 0"
    times = "interval: 0.2s, baseEjectionTime: 60s, maxEjectionPercent: 100"
    with mesh.having(_rule(f"{{outlierDetection: {{{counts}, {times}}}}}")):
        mesh.calls("ann", f"{_WEB}?status={status}", 60)
        eventually(lambda: _ejected(mesh) == ejected, f"{ejected} are out")


def test_failures_of_the_network_count_by_themselves(mesh: LiveMesh) -> None:
    """Told from those of the service, whose errors are then not theirs."""
    half = service("half", 51, ("web-1", 11), ("nobody", 250))
    policy = """{connectionPool: {tcp: {connectTimeout: 0.2s}}, outlierDetection: {
        splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2,
        consecutive5xxErrors: 0, interval: 0.2s, baseEjectionTime: 60s, maxEjectionPercent: 100}}"""
    with mesh.having(half, _rule(policy, host="half")):

        def asked() -> set[int]:
            url, address = "http://half/", service_ip(51)
            return {mesh.call("ann", url, at=address).status for _ in range(10)}

        eventually(lambda: asked() == {200} and _ejected(mesh, "half") == 1, "nobody is out")


@pytest.mark.parametrize(("least", "served"), [(0, False), (60, True)])
def test_with_too_few_left_all_are_used_again(mesh: LiveMesh, least: int, *, served: bool) -> None:
    """``minHealthPercent``: below it, who is out gets its share all the same."""
    policy = f"""{{outlierDetection: {{consecutive5xxErrors: 1, interval: 0.1s, baseEjectionTime: 60s,
        maxEjectionPercent: 100, minHealthPercent: {least}}}}}"""
    with mesh.having(_rule(policy)):

        def answered() -> set[bool]:
            return {"x-app" in r.headers for r in mesh.calls("ann", f"{_WEB}?status=500", 9)}

        if served:
            before = _count(mesh, "lb_healthy_panic")
            eventually(lambda: answered() and _count(mesh, "lb_healthy_panic") > before, "panic")
            assert (_ejected(mesh), answered()) == (3, {True})
        else:
            eventually(lambda: answered() == {False}, "nobody is left")


def test_no_more_are_left_out_than_allowed(mesh: LiveMesh) -> None:
    """``maxEjectionPercent``: of three pods one."""
    policy = """{outlierDetection: {consecutive5xxErrors: 1, interval: 0.1s, baseEjectionTime: 60s,
        maxEjectionPercent: 34}}"""
    with mesh.having(_rule(policy)):
        eventually(lambda: mesh.calls("ann", f"{_WEB}?status=500", 9) and _ejected(mesh) > 0, "out")
        mesh.calls("ann", f"{_WEB}?status=500", 30)
        assert _ejected(mesh) == 1


def test_the_client_may_choose_itself(mesh: LiveMesh) -> None:
    """PASSTHROUGH sends requests to where their connection was made to."""
    same = service("same", 52, *_PODS, ports="http:8080:8080")
    with mesh.having(same, _rule("{loadBalancer: {simple: PASSTHROUGH}}", host="same")):
        found = {mesh.call("ann", "http://same:8080/", at=pod_ip(12)).pod for _ in range(10)}
    assert found == {"web-2"}


@pytest.mark.parametrize(
    "policy",
    [
        "connectionPool: {http: {maxRetries: 1}}",
        "retryBudget: {percent: 0, minRetryConcurrency: 1}",
    ],
)
def test_retries_are_limited(mesh: LiveMesh, policy: str) -> None:
    """By number, or as a share of requests, but as many as are always allowed."""
    retries = istio(
        "VirtualService",
        "web",
        """
        hosts: [web]
        http:
        - route: [{destination: {host: web, port: {number: 80}}}]
          retries: {attempts: 3, retryOn: 5xx, backoff: 0.2s}
        """,
        namespace="test",
    )
    url = f"{_WEB}?broken=web-1&delay=0.2"
    over = f"{_CLUSTER}upstream_rq_retry_overflow$"
    with mesh.having(_rule(f"{{{policy}}}"), retries):
        eventually(
            lambda: mesh.at_once("ann", url, 12) and sum(mesh.stats("ann", over).values()) > 0,
            "some are not tried again",
        )
        found = mesh.calls("ann", url, 6)
    assert {reply.status for reply in found} == {200}


def test_streams_of_a_connection_are_limited(mesh: LiveMesh) -> None:
    """With one stream for each, requests at the same time have connections of their own."""
    http = "{h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1}"
    with mesh.having(_rule(f"{{connectionPool: {{http: {http}}}}}")):
        before = _count(mesh, "upstream_cx_http2_total")
        assert len(mesh.at_once("ann", f"{_WEB}?delay=0.5", 9)) == 9
        assert _count(mesh, "upstream_cx_http2_total") - before == 9


# --- What is said to servers -------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "said"), [("V1", b"PROXY TCP4 "), ("V2", b"\r\nQUIT\n")])
def test_servers_are_told_of_clients(mesh: LiveMesh, version: str, said: bytes) -> None:
    """The PROXY protocol comes ahead of all bytes."""
    with mesh.having(_rule(f"{{proxyProtocol: {{version: {version}}}}}", host="plain")):
        eventually(lambda: said in mesh.tcp("ann", "plain", TCP_PORT), "the server is told")
        found = mesh.tcp("ann", "plain", TCP_PORT)
    if version == "V1":
        assert pod_ip(2).encode() in found


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("", b"through end.example.com:7"),
        ("protocol: CONNECT, ", b"through end.example.com:7"),
        ("protocol: POST, ", b"by POST through end.example.com:7"),
    ],
)
def test_bytes_are_carried_through_a_tunnel(mesh: LiveMesh, protocol: str, said: bytes) -> None:
    """The server is asked to CONNECT to where the tunnel ends, or to take a POST for it."""
    tunnel = f"{{tunnel: {{{protocol}targetHost: end.example.com, targetPort: 7}}}}"
    with mesh.having(_rule(tunnel, host="plain")):
        eventually(
            lambda: said in mesh.tcp("ann", "plain", TCP_PORT), "bytes go through the tunnel"
        )


@contextmanager
def _frozen(mesh: LiveMesh, name: str) -> Iterator[None]:
    pid = mesh.mesh._pids[f"envoy {mesh.pod(name).network}"]
    mesh.mesh.realm.send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        mesh.mesh.realm.send_signal(pid, signal.SIGCONT)


def test_connections_are_pinged(mesh: LiveMesh) -> None:
    """Of HTTP/2; one that does not answer in time is closed."""
    http = "{h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 0.2s, timeout: 0.3s}}"
    lost = f"{_CLUSTER}http2.keepalive_timeout$"
    with mesh.having(_rule(f"{{connectionPool: {{http: {http}}}}}")):
        assert len(_pods(mesh, "ann")) == 3
        before = sum(mesh.stats("ann", lost).values())
        with _frozen(mesh, "web-1"):
            eventually(lambda: sum(mesh.stats("ann", lost).values()) > before, "it is closed")
        eventually(lambda: "web-1" in _pods(mesh, "ann"), "the pod is back")


def test_a_budget_looks_back(mesh: LiveMesh) -> None:
    """Envoy has its interval, though the classes that messages are built with do not know it."""
    with mesh.having(_rule("{retryBudget: {percent: 25, budgetInterval: 7s}}")):
        assert '"budget_interval": "7s"' in mesh.admin("ann", "/config_dump?mask=")


# --- How long connections live -----------------------------------------------------------------------


def _count(mesh: LiveMesh, counter: str) -> int:
    return sum(mesh.stats("ann", f"{_CLUSTER}{counter}$").values())


@pytest.mark.parametrize(
    ("pool", "counter"),
    [
        ("{http: {idleTimeout: 0.3s}}", "upstream_cx_idle_timeout"),
        ("{tcp: {idleTimeout: 0.3s}}", "upstream_cx_idle_timeout"),
        ("{tcp: {maxConnectionDuration: 0.3s}}", "upstream_cx_max_duration_reached"),
    ],
)
def test_connections_end_in_time(mesh: LiveMesh, pool: str, counter: str) -> None:
    """Of HTTP: when nothing is asked for a while, or when they are old."""
    with mesh.having(_rule(f"{{connectionPool: {pool}}}")):
        assert mesh.call("ann", _WEB).status == 200
        eventually(lambda: _count(mesh, counter) > 0, "the connection is closed")


@pytest.mark.parametrize("wanted", ["idleTimeout: 0.3s", "maxConnectionDuration: 0.3s"])
def test_byte_streams_end_in_time(mesh: LiveMesh, wanted: str) -> None:
    """When nothing is said for a while, or when they are old."""
    with (
        mesh.having(_rule(f"{{connectionPool: {{tcp: {{{wanted}}}}}}}")),
        mesh.connect("ann", (mesh.address("web"), TCP_PORT)) as made,
    ):
        made.sendall(b"hello\n")
        assert made.recv(100)
        assert made.recv(100) == b""


def test_what_the_client_speaks_is_spoken_on(mesh: LiveMesh) -> None:
    """``useClientProtocol`` leaves HTTP/1.1 what it is, and an upgrade makes it HTTP/2."""
    for http, counter in (
        ("{useClientProtocol: true}", "upstream_cx_http1_total"),
        ("{h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 5}", "upstream_cx_http2_total"),
    ):
        with mesh.having(_rule(f"{{connectionPool: {{http: {http}}}}}")):
            before = _count(mesh, counter)
            assert mesh.call("ann", _WEB).status == 200
            assert _count(mesh, counter) > before


def test_sockets_are_kept_alive(mesh: LiveMesh) -> None:
    """With as many probes as are written, at their times; Envoy's own socket options say so."""
    alive = "{probes: 3, time: 60s, interval: 10s}"
    with mesh.having(_rule(f"{{connectionPool: {{tcp: {{tcpKeepalive: {alive}}}}}}}")):
        assert mesh.call("ann", _WEB).status == 200
        dump = mesh.admin("ann", "/config_dump?mask=")
    assert '"keepalive_probes": 3' in dump


# --- TLS in the mesh ---------------------------------------------------------------------------------


def test_tls_of_the_mesh_may_be_demanded_or_refused(mesh: LiveMesh) -> None:
    """ISTIO_MUTUAL to servers that take it, DISABLE to those that need not have it."""
    with mesh.having(_rule("{tls: {mode: ISTIO_MUTUAL}}")):
        assert mesh.call("ann", _WEB).caller.endswith("/sa/ann")
    with mesh.having(_rule("{tls: {mode: DISABLE}}")):
        reply = mesh.call("ann", _WEB)
    assert (reply.status, reply.caller) == (200, "")
    with mesh.having(_rule("{tls: {mode: ISTIO_MUTUAL, subjectAltNames: [spiffe://x/y]}}")):
        assert mesh.call("ann", _WEB).status == 503
