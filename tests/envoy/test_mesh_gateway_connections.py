"""The way in for what is not HTTP: TCP, and TLS that the gateway passes through."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import HUB, LiveMesh, pod, pod_ip, router, service
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_OWN_TCP: Final = 9900
_OWN_TLS: Final = 9443
_PORTS: Final = "tcp:9000:9000 tls:8443:5555"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway in a namespace of its own, and two strict services behind it."""
    gateway = """
        selector: {istio: gate}
        servers:
        - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ['*']}
        - {port: {number: 443, name: tls, protocol: TLS}, hosts: ['*.example'], tls: {mode: PASSTHROUGH}}
    """
    # As Istio's gateways, this one takes plain connections of sidecars, for it passes TLS through.
    plain = router("gate", 80, namespace="ingress").replace(
        "security.istio.io/tlsMode: istio", "a: b"
    )
    outside = f"""
        hosts: [a.far.example]
        ports: [{{number: 8444, name: tls, protocol: TLS}}]
        resolution: STATIC
        endpoints: [{{address: {pod_ip(14)}, ports: {{tls: 5555}}}}]
    """
    files = {
        "gate.yaml": plain
        + service(
            "gate",
            80,
            ("gate", 80),
            ports=f"tcp:9000:{_OWN_TCP} tls:443:{_OWN_TLS}",
            namespace="ingress",
        ),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11), ports=_PORTS),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13), ports=_PORTS),
        "ann.yaml": pod("ann", 2),
        "outside.yaml": pod("far", 14, sidecar=False),
        "far.yaml": istio("ServiceEntry", "far", outside, namespace="test"),
        "door.yaml": istio("Gateway", "gate", gateway, namespace="ingress"),
        "strict.yaml": istio(
            "PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test"
        ),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _rules(part: str, *rules: str, hosts: str) -> str:
    lines = "\n".join(f"  - {{{rule}}}" for rule in rules)
    spec = f"hosts: [{hosts}]\ngateways: [ingress/gate]\n{part}:\n{lines}"
    return istio("VirtualService", "rules", spec, namespace="test")


def _hello(server_name: str) -> bytes:
    """Return the first bytes of a TLS connection to a server of this name."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _asked(mesh: LiveMesh, port: int, data: bytes = b"hello\n") -> str:
    """Return the name of the application that answers; empty where nobody does."""
    return mesh.tcp(HUB, _GATE, port, data).partition(b":")[0].decode()


def _to(host: str, port: int) -> str:
    return f"route: [{{destination: {{host: {host}, port: {{number: {port}}}}}}}]"


def test_tcp_comes_in_over_mutual_tls(mesh: LiveMesh) -> None:
    """By the rule for the server's port; before there is one nobody listens."""
    assert _asked(mesh, _OWN_TCP) == ""
    rules = (f"match: [{{port: 9001}}], {_to('web', 9000)}", _to("api", 9000))
    with mesh.having(_rules("tcp", *rules, hosts="'*'")):
        assert _asked(mesh, _OWN_TCP) == "api"


def test_rules_for_bytes_are_of_the_gateways_that_they_name(mesh: LiveMesh) -> None:
    """Of those that the VirtualService is bound to, a match may name some; the mesh is one of them."""
    rules = (
        f"match: [{{port: 9000, gateways: [mesh]}}], {_to('web', 9000)}",
        f"match: [{{port: 9000, gateways: [ingress/gate]}}], {_to('api', 9000)}",
    )
    found = []
    for some in (rules, rules[:1], rules[1:]):
        bound = _rules("tcp", *some, hosts="api").replace(
            "gateways: [ing", "gateways: [mesh, ing", 1
        )
        with mesh.having(bound):
            inside = mesh.tcp("ann", "api", 9000).partition(b":")[0].decode()
            found.append((_asked(mesh, _OWN_TCP), inside))
    assert found == [("api", "web"), ("", "web"), ("api", "api")]


def test_tls_is_passed_through_by_its_server_name(mesh: LiveMesh) -> None:
    """As the client sent it; other names are not let in."""
    rules = (
        f"match: [{{port: 443, sniHosts: [a.shop.example]}}], {_to('web', 8443)}",
        f"match: [{{port: 443, sniHosts: ['*.b.shop.example']}}], {_to('api', 8443)}",
    )
    names = ("a.shop.example", "x.b.shop.example", "c.shop.example")
    with mesh.having(_rules("tls", *rules, hosts="'*.shop.example'")):
        found = [_asked(mesh, _OWN_TLS, _hello(name)) for name in names]
        plain = _asked(mesh, _OWN_TLS)
    assert found == ["web", "api", ""]
    assert plain == ""


def test_policies_for_the_gateway_hold_for_connections(mesh: LiveMesh) -> None:
    """A visitor whose address is denied does not get through."""
    deny = istio(
        "AuthorizationPolicy",
        "nobody",
        "selector: {matchLabels: {istio: gate}}\naction: DENY\n"
        "rules: [{from: [{source: {ipBlocks: [10.44.0.0/16]}}]}]",
        namespace="ingress",
    ).replace("networking.istio.io", "security.istio.io")
    rules = _rules("tcp", _to("api", 9000), hosts="'*'")
    with mesh.having(rules, deny):
        assert _asked(mesh, _OWN_TCP) == ""
    with mesh.having(rules):
        assert _asked(mesh, _OWN_TCP) == "api"


def test_connections_leave_by_a_gateway(mesh: LiveMesh) -> None:
    """The sidecar sends them to the gateway, and that to the host outside: one VirtualService says both."""
    rules = """
hosts: [a.far.example]
gateways: [mesh, ingress/gate]
tls:
  - match: [{gateways: [mesh], port: 8444, sniHosts: [a.far.example]}]
    route: [{destination: {host: gate.ingress.svc.cluster.local, port: {number: 443}}}]
  - match: [{gateways: [ingress/gate], port: 443, sniHosts: [a.far.example]}]
    route: [{destination: {host: a.far.example, port: {number: 8444}}}]
"""
    hello = _hello("a.far.example")
    pattern = r"^cluster\.outbound\|8444\|\|a\.far\.example.*upstream_cx_total$"
    before = mesh.tcp("ann", "192.0.2.7", 8444, hello)
    with mesh.having(istio("VirtualService", "egress", rules, namespace="test")):
        answer = mesh.tcp("ann", "192.0.2.7", 8444, hello)
        through = mesh.stats("gate", pattern)
    assert before == b"far: " + hello
    assert answer == b"far: " + hello
    assert sum(through.values()) == 1
