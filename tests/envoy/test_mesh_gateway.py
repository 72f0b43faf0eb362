"""The way into the mesh: Gateways with HTTP servers, and the VirtualServices that are bound to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import HUB, LiveMesh, pod, pod_ip, router, service
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live_mesh import Reply

_GATE: Final = pod_ip(80)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway in a namespace of its own, and two strict services behind it."""
    files = {
        "gate.yaml": router("gate", 80, namespace="ingress")
        + service(
            "gate", 80, ("gate", 80), ports="http:80:8080 http-other:81:8181", namespace="ingress"
        ),
        "web.yaml": pod("web-v1", 11, app="web")
        + pod("web-v2", 12, app="web", version="v2")
        + service("web", 11, ("web-v1", 11), ("web-v2", 12)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "strict.yaml": istio(
            "PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test"
        ),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _gateway(*servers: str, name: str = "gate", namespace: str = "ingress") -> str:
    lines = "\n".join(f"  - {server}" for server in servers)
    return istio(
        "Gateway", name, f"selector: {{istio: gate}}\nservers:\n{lines}", namespace=namespace
    )


def _bound(
    *rules: str, hosts: str, name: str = "bound", gateways: str = "ingress/gate", more: str = ""
) -> str:
    lines = "\n".join(f"  - {rule}" for rule in rules)
    spec = f"hosts: [{hosts}]\ngateways: [{gateways}]\n{more}\nhttp:\n{lines}"
    return istio("VirtualService", name, spec, namespace="test")


_PLAIN: Final = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}"
_TO_WEB: Final = "{route: [{destination: {host: web, port: {number: 80}}}]}"
_TO_API: Final = "{route: [{destination: {host: api, port: {number: 80}}}]}"


def _visit(mesh: LiveMesh, host: str, path: str = "/", port: int = 8080) -> Reply:
    """Call the gateway's pod from outside of the mesh; the service's port 80 is its 8080."""
    return mesh.call(HUB, f"http://{host}:{port}{path}", headers={"Host": host}, at=_GATE)


def test_a_visitor_reaches_a_strict_service(mesh: LiveMesh) -> None:
    """The gateway speaks for itself: the server sees its identity, and the visitor's address behind it."""
    with mesh.having(_gateway(_PLAIN), _bound(_TO_WEB, hosts="web.example.org")):
        reply = _visit(mesh, "web.example.org", "/path")
    assert reply.caller == "spiffe://cluster.local/ns/ingress/sa/gate"
    assert reply.seen["path"] == "/path"
    assert reply.seen["headers"]["host"] == "web.example.org"
    assert reply.seen["headers"]["x-forwarded-for"] == "10.44.0.1"


@pytest.mark.parametrize(
    ("selector", "status"),
    [
        ("{istio: gate}", 200),
        ("{app: gate, istio: gate}", 200),
        ("{app: gate, istio: other}", 0),
        ("{istio: gate, tier: front}", 0),
    ],
)
def test_a_gateway_is_of_pods_with_all_its_labels(
    mesh: LiveMesh, selector: str, status: int
) -> None:
    """Wherever they are: this one is not in the namespace of its pods."""
    spec = f"selector: {selector}\nservers: [{_PLAIN}]"
    gateway = istio("Gateway", "gate", spec, namespace="test")
    with mesh.having(gateway, _bound(_TO_WEB, hosts="'*'", gateways="gate")):
        assert _visit(mesh, "web.example.org").status == status


def test_a_visitor_cannot_say_who_it_is(mesh: LiveMesh) -> None:
    """A certificate header from outside is taken off, whatever it says."""
    claim = {"X-Forwarded-Client-Cert": "URI=spiffe://cluster.local/ns/test/sa/root"}
    with mesh.having(_gateway(_PLAIN), _bound(_TO_WEB, hosts="web.example.org")):
        url = "http://web.example.org:8080/"
        reply = mesh.call(HUB, url, headers=claim, at=_GATE)
    assert "sa/root" not in reply.seen["headers"]["x-forwarded-client-cert"]


def test_hosts_are_told_apart(mesh: LiveMesh) -> None:
    """Each VirtualService has its host; what none has is 404, by the gateway itself."""
    with mesh.having(
        _gateway(_PLAIN),
        _bound(_TO_WEB, hosts="web.example.org"),
        _bound(_TO_API, hosts="api.example.org", name="api"),
    ):
        assert _visit(mesh, "web.example.org").seen["service"] == "web"
        assert _visit(mesh, "api.example.org").seen["service"] == "api"
        assert _visit(mesh, "nobody.example.org").status == 404


def test_several_rules_of_one_host_are_joined(mesh: LiveMesh) -> None:
    """On a gateway, unlike in the mesh, VirtualServices of one host hold together."""
    part = "{{match: [{{uri: {{prefix: {}}}}}], route: [{{destination: {{host: {}, port: {{number: 80}}}}}}]}}"
    with mesh.having(
        _gateway(_PLAIN),
        _bound(part.format("/web", "web"), hosts="shop.example.org", name="one"),
        _bound(part.format("/api", "api"), hosts="shop.example.org", name="two"),
    ):
        assert _visit(mesh, "shop.example.org", "/web").seen["service"] == "web"
        assert _visit(mesh, "shop.example.org", "/api").seen["service"] == "api"
        assert _visit(mesh, "shop.example.org", "/else").status == 404


def test_a_server_without_rules_answers_404(mesh: LiveMesh) -> None:
    """The port is open and has nothing behind it."""
    with mesh.having(_gateway(_PLAIN)):
        assert _visit(mesh, "web.example.org").status == 404


def test_a_redirect_to_https_needs_no_rules(mesh: LiveMesh) -> None:
    """``httpsRedirect`` answers 301 for the server's hosts, with a VirtualService and without."""
    server = (
        "{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.example.org],"
        " tls: {httpsRedirect: true}}"
    )
    with mesh.having(_gateway(server)):
        bare = _visit(mesh, "web.example.org", "/path?q=1")
    with mesh.having(_gateway(server), _bound(_TO_WEB, hosts="web.example.org")):
        bound = _visit(mesh, "web.example.org", "/path?q=1")
        other = _visit(mesh, "other.example.org")
    assert {(one.status, one.headers["location"]) for one in (bare, bound)} == {
        (301, "https://web.example.org/path?q=1")
    }
    assert other.status == 404


def test_servers_on_several_ports(mesh: LiveMesh) -> None:
    """The number in a Gateway is the Service's port; the pod listens on its target."""
    second = "{port: {number: 81, name: http-other, protocol: HTTP}, hosts: [api.example.org]}"
    first = "{port: {number: 80, name: http, protocol: HTTP}, hosts: [web.example.org]}"
    with mesh.having(
        _gateway(first, second),
        _bound(_TO_WEB, hosts="web.example.org"),
        _bound(_TO_API, hosts="api.example.org", name="api"),
    ):
        assert _visit(mesh, "web.example.org").seen["service"] == "web"
        assert _visit(mesh, "api.example.org", port=8181).seen["service"] == "api"
        assert _visit(mesh, "api.example.org").status == 404
        assert _visit(mesh, "web.example.org", port=8181).status == 404


def test_a_server_keeps_hosts_to_namespaces(mesh: LiveMesh) -> None:
    """``other/*`` lets VirtualServices of that namespace in, and of no other."""
    server = "{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['{}/*']}}"
    bound = _bound(_TO_WEB, hosts="web.example.org")
    with mesh.having(_gateway(server.format("other")), bound):
        assert _visit(mesh, "web.example.org").status == 404
    with mesh.having(_gateway(server.format("test")), bound):
        assert _visit(mesh, "web.example.org").status == 200


def test_wildcard_hosts(mesh: LiveMesh) -> None:
    """A server and a rule with wildcards meet where both do."""
    server = "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*.example.org']}"
    with mesh.having(_gateway(server), _bound(_TO_WEB, hosts="'*'")):
        assert _visit(mesh, "any.example.org").status == 200
        assert _visit(mesh, "any.example.com").status == 404


def test_rules_of_a_gateway_are_not_the_meshs(mesh: LiveMesh) -> None:
    """Without ``mesh`` among its gateways a VirtualService holds for nobody inside."""
    answer = "{directResponse: {status: 222}}"
    for gateways, status in (("ingress/gate", 200), ("ingress/gate, mesh", 222)):
        rule = _bound(answer, hosts="web.test.svc.cluster.local", gateways=gateways)
        with mesh.having(_gateway(_PLAIN), rule):
            assert mesh.call("api", "http://web/").status == status


def test_subsets_behind_a_gateway(mesh: LiveMesh) -> None:
    """Weights and header matches work there as in a sidecar."""
    subsets = istio(
        "DestinationRule",
        "web",
        """
        host: web
        subsets:
          - {name: v1, labels: {version: v1}}
          - {name: v2, labels: {version: v2}}
        """,
        namespace="test",
    )
    rules = (
        "{match: [{headers: {x-who: {exact: tester}}}],"
        " route: [{destination: {host: web, subset: v2, port: {number: 80}}}]}",
        "{route: [{destination: {host: web, subset: v1, port: {number: 80}}}]}",
    )
    with mesh.having(_gateway(_PLAIN), subsets, _bound(*rules, hosts="web.example.org")):
        url = "http://web.example.org:8080/"
        tester = mesh.call(HUB, url, headers={"X-Who": "tester"}, at=_GATE)
        assert (tester.pod, mesh.call(HUB, url, at=_GATE).pod) == ("web-v2", "web-v1")


def test_a_port_closes_with_its_server(mesh: LiveMesh) -> None:
    """A Gateway that is taken away leaves nothing listening."""
    with mesh.having(_gateway(_PLAIN), _bound(_TO_WEB, hosts="web.example.org")):
        assert _visit(mesh, "web.example.org").status == 200
    assert _visit(mesh, "web.example.org").failure.startswith("ConnectionRefused")


def test_a_gateways_rules_may_be_anothers(mesh: LiveMesh) -> None:
    """Each team has its part of the paths, with what the root says of all of them."""
    root = _bound(
        "{match: [{uri: {prefix: /web}}], delegate: {name: web},"
        " corsPolicy: {allowOrigins: [{exact: 'https://shop.example'}], allowMethods: [GET]}}",
        "{match: [{uri: {prefix: /api}}], delegate: {name: api}}",
        hosts="shop.example.org",
    )
    web, api = (
        istio("VirtualService", name, f"http: [{rule}]", namespace="test")
        for name, rule in (("web", _TO_WEB), ("api", _TO_API))
    )
    with mesh.having(_gateway(_PLAIN), root, web, api):
        answers = [_visit(mesh, "shop.example.org", path).seen for path in ("/web", "/api")]
        preflight = mesh.call(
            HUB,
            "http://shop.example.org:8080/web",
            method="OPTIONS",
            headers={"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"},
            at=_GATE,
        )
        lost = _visit(mesh, "shop.example.org", "/else")
    assert [answer["service"] for answer in answers] == ["web", "api"]
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    assert lost.status == 404


def test_faults_meet_visitors(mesh: LiveMesh) -> None:
    """At the gateway, before anything is sent on."""
    rule = "{fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: web}}]}"
    with mesh.having(_gateway(_PLAIN), _bound(rule, hosts="web.example.org")):
        assert _visit(mesh, "web.example.org").status == 418
