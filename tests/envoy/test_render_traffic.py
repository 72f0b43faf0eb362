"""Rendered sidecars and a gateway, end to end: real Envoys, real capture, every mode and protocol.

What is shown is what goldens can't: that the client's offer inside TLS finds the right chain of the
server in every mutual TLS mode, on ports that say what they carry and on ports that don't.
"""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest

from mizzen import ir
from mizzen.model.kube import Protocol
from mizzen.model.security import MtlsMode, PolicyAction
from mizzen.model.traffic import ConnectionPool, LoadBalancer
from mizzen.names import outbound_cluster, service_host, subset_sni
from mizzen.render import cluster, endpoint, inbound, listener, route
from mizzen.render.gateway import render_gateway
from tests.support.rendered_world import HTTP2_PREFACE, HUB, RenderedWorld, identity_of, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.wire import Resource
    from mizzen_cli.demo.manifests import PodSpec
    from tests.support.rendered_world import Application

_SNIFFED: Final = 9000
_HTTP: Final = 8080
_GRPC: Final = 9090
_TCP: Final = 7000
_GREETING: Final = 6000
_UNDECLARED: Final = 5555
_GATE: Final = 8000

_PORTS: Final = {
    _SNIFFED: Protocol.UNSET,
    _HTTP: Protocol.HTTP,
    _GRPC: Protocol.GRPC,
    _TCP: Protocol.TCP,
    _GREETING: Protocol.TCP,
}

_CLIENT: Final = pod("client", 2)
_STRANGER: Final = pod("stranger", 6)
_GATEWAY: Final = pod("gateway", 7, router=True)
_SERVERS: Final = {
    MtlsMode.STRICT: pod("strict", 3),
    MtlsMode.PERMISSIVE: pod("permissive", 4),
    MtlsMode.DISABLE: pod("disable", 5),
}
_VIP: Final = {mode: f"10.96.0.{number}" for number, mode in enumerate(_SERVERS, 1)}
_GREETING_TEXT: Final = b"220 hello\r\n"


def _host(mode: MtlsMode) -> str:
    return service_host(_SERVERS[mode].name, "test")


# --- What the proxies are told ----------------------------------------------------------------------


def _upstream(mode: MtlsMode, port: int, protocol: Protocol) -> ir.Upstream:
    http = ir.UpstreamHttp.HTTP2 if protocol.is_http2 else ir.UpstreamHttp.HTTP1
    return ir.Upstream(
        host=_host(mode),
        port=port,
        subset="",
        discovery=ir.Discovery.EDS,
        protocol=protocol,
        http=ir.UpstreamHttp.CLIENT if protocol is Protocol.UNSET else http,
        tls=ir.MeshTls(
            automatic=True,
            identities=(str(identity_of(_SERVERS[mode])),),
            sni=subset_sni(port, "", _host(mode)),
        ),
        load_balancer=LoadBalancer(),
        connection_pool=ConnectionPool(),
        outlier_detection=None,
        connect_timeout=timedelta(seconds=2),
        service_name=_SERVERS[mode].name,
        service_namespace="test",
    )


def _endpoints(mode: MtlsMode, port: int) -> ir.EndpointGroup:
    server = ir.Endpoint(address=_SERVERS[mode].ip, port=port, mtls=mode is not MtlsMode.DISABLE)
    return ir.EndpointGroup(
        cluster=outbound_cluster(port, "", _host(mode)),
        groups=(ir.LocalityGroup(locality=ir.Locality(), endpoints=(server,)),),
    )


def _virtual_host(mode: MtlsMode, port: int, table: str, *domains: str) -> ir.VirtualHost:
    target = ir.WeightedTarget(cluster=outbound_cluster(port, "", _host(mode)), weight=0)
    return ir.VirtualHost(
        route_configuration=table,
        host=_host(mode),
        domains=domains or (_host(mode),),
        routes=(
            ir.Route(name="default", match=ir.RequestMatch(), action=ir.Forward(targets=(target,))),
        ),
    )


def _outbound() -> Iterator[Resource]:
    """Everything that a sidecar has for what leaves it."""
    unknown = ir.TcpProxy(cluster="PassthroughCluster")
    yield listener.render_virtual_outbound(registry_only=False)
    for port in (_HTTP, _GRPC):
        shared = ir.OutboundListener(bind="0.0.0.0", port=port, routes=str(port), tcp=unknown)
        yield listener.render_outbound(shared)
        table = ir.RouteTable(name=str(port), catch_all=ir.CatchAll.PASSTHROUGH)
        yield route.render_route_table(table)
    for mode in _SERVERS:
        for port, protocol in _PORTS.items():
            yield cluster.render_upstream(_upstream(mode, port, protocol))
            yield endpoint.render_endpoints(_endpoints(mode, port))
        for port in (_HTTP, _GRPC):
            yield route.render_virtual_host(_virtual_host(mode, port, str(port)))
        yield from _own_listeners(mode)


def _own_listeners(mode: MtlsMode) -> Iterator[Resource]:
    """The listeners on the service's own address: bytes, and what has to be looked at."""
    for port in (_TCP, _GREETING, _SNIFFED):
        table = f"{_host(mode)}:{port}" if port == _SNIFFED else ""
        own = ir.OutboundListener(
            bind=_VIP[mode],
            port=port,
            routes=table,
            tcp=ir.TcpProxy(cluster=outbound_cluster(port, "", _host(mode))),
            sniff=bool(table),
        )
        yield listener.render_outbound(own)
        if table:
            yield route.render_route_table(ir.RouteTable(name=table, catch_all=ir.CatchAll.NONE))
            yield route.render_virtual_host(_virtual_host(mode, port, table, "*"))


def _only(identity: str, path: str) -> ir.Authorization:
    """Let one client in, and nobody to one path; a TCP rule has no paths."""
    who = ir.PeerIdentity(ir.Text(ir.TextKind.EXACT, identity))
    plain = ir.SourceAddress(f"{HUB}/32")
    gateway = ir.PeerIdentity(ir.Text(ir.TextKind.SUFFIX, "/sa/gateway"))
    allow = ir.RuleSet(
        action=PolicyAction.ALLOW,
        rules=(
            ir.PolicyRule(
                name="ns[test]-policy[who]-rule[0]",
                operation=ir.Anything(),
                source=ir.AnyOf((who, plain, gateway)),
            ),
        ),
    )
    deny = ir.RuleSet(
        action=PolicyAction.DENY,
        rules=(
            ir.PolicyRule(
                name="ns[test]-policy[what]-rule[0]",
                operation=ir.RequestPath(ir.Text(ir.TextKind.PREFIX, path)),
                source=ir.Anything(),
            ),
        ),
    )
    return ir.Authorization(http=(deny, allow), tcp=(allow,))


def _inbound(mode: MtlsMode) -> Iterator[Resource]:
    """Everything that a server has for what comes to it."""
    ports = tuple(
        ir.InboundPort(port=port, service_port=port, protocol=protocol, mode=mode, host=_host(mode))
        for port, protocol in sorted(_PORTS.items())
    )
    everyone = mode is MtlsMode.DISABLE
    yield inbound.render_inbound(
        ir.InboundPolicy(
            ports=ports,
            default_mode=mode,
            trust_domains=("cluster.local",),
            authorization=ir.OPEN if everyone else _only(str(identity_of(_CLIENT)), "/secret"),
        )
    )
    for port in ports:
        yield cluster.render_inbound_cluster(port)


def _nothing_inbound() -> Resource:
    return inbound.render_inbound(
        ir.InboundPolicy(
            ports=(),
            default_mode=MtlsMode.PERMISSIVE,
            trust_domains=("cluster.local",),
            authorization=ir.OPEN,
        )
    )


def _gateway() -> Iterator[Resource]:
    yield from cluster.gateway_clusters()
    table = f"http.{_GATE}"
    chain = ir.GatewayChain(routes=table)
    gate = ir.GatewayListener(bind="0.0.0.0", port=_GATE, chains=(chain,), authorization=ir.OPEN)
    yield render_gateway(gate)
    yield route.render_route_table(ir.RouteTable(name=table, catch_all=ir.CatchAll.NOT_FOUND))
    for mode in _SERVERS:
        for port in (_HTTP, _SNIFFED):
            protocol = _PORTS[port]
            yield cluster.render_upstream(_upstream(mode, port, protocol))
            yield endpoint.render_endpoints(_endpoints(mode, port))
        domain = f"{_SERVERS[mode].name}.example"
        yield route.render_virtual_host(_virtual_host(mode, _SNIFFED, table, domain))


@pytest.fixture(scope="module")
def world() -> Iterator[RenderedWorld]:
    """A client, a stranger, a gateway, and a server for each mutual TLS mode."""
    sidecar = (*cluster.static_clusters(), *_outbound())
    pods: dict[str, tuple[PodSpec, list[Resource]]] = {
        spec.name: (spec, [*sidecar, _nothing_inbound()]) for spec in (_CLIENT, _STRANGER)
    }
    for mode, spec in _SERVERS.items():
        own = [*cluster.static_clusters(), listener.render_virtual_outbound(registry_only=True)]
        pods[spec.name] = (spec, [*own, *_inbound(mode)])
    pods[_GATEWAY.name] = (_GATEWAY, list(_gateway()))
    with RenderedWorld() as made:
        made.start(pods)
        for spec in _SERVERS.values():
            for port in (*_PORTS, _UNDECLARED):
                made.serve(spec, port, _GREETING_TEXT if port == _GREETING else b"")
        yield made


# --- How it is asked --------------------------------------------------------------------------------


def _target(mode: MtlsMode, port: int) -> tuple[str, int]:
    return (_VIP[mode], port)


def _get(host: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()


def _http2_get(host: str) -> bytes:
    """Return a connection preface, empty settings and one GET (RFC 9113, RFC 7541 without Huffman)."""
    head = b"\x82\x86\x84\x41" + bytes((len(host),)) + host.encode()
    headers = len(head).to_bytes(3) + b"\x01\x05\x00\x00\x00\x01" + head
    return HTTP2_PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + headers


def _heard(application: Application, text: bytes) -> bytes:
    """Return the newest thing an application read that has this in it; empty when there is none."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for data in reversed(application.received):
            if text in data:
                return data
        time.sleep(0.01)
    return b""


_SECURE: Final = (MtlsMode.STRICT, MtlsMode.PERMISSIVE)


def test_nothing_is_rejected(world: RenderedWorld) -> None:
    """Every resource of every pod is accepted."""
    assert world.rejections == []


@pytest.mark.parametrize("port", [_HTTP, _SNIFFED])
@pytest.mark.parametrize("mode", _SERVERS)
def test_http1_reaches_the_application_with_the_clients_identity(
    world: RenderedWorld, mode: MtlsMode, port: int
) -> None:
    """The server's HTTP chain ends mutual TLS and says who came; without mTLS nobody is named."""
    answer = world.send(_CLIENT.network, _target(mode, port), _get(_host(mode), f"/one/{port}"))
    assert b"200 OK" in answer
    named = f"uri={identity_of(_CLIENT)}" in answer.decode().lower()
    assert named is (mode in _SECURE)


@pytest.mark.parametrize("port", [_GRPC, _SNIFFED])
@pytest.mark.parametrize("mode", _SERVERS)
def test_http2_stays_http2(world: RenderedWorld, mode: MtlsMode, port: int) -> None:
    """The client's HTTP/2 arrives as HTTP/2, inside mutual TLS where the server takes it."""
    server, prefix = _SERVERS[mode], f"http.inbound_0.0.0.0_{port};"
    before = world.stat(server, f"{prefix}.downstream_cx_ssl_total")
    application = world.serve(server, port)
    application.received.clear()
    with world.realm.connect(_target(mode, port), network=_CLIENT.network) as connection:
        connection.sendall(_http2_get(_host(mode)))
        assert _heard(application, HTTP2_PREFACE)
    assert world.stat(server, f"{prefix}.downstream_cx_http2_total") >= 1
    secured = world.stat(server, f"{prefix}.downstream_cx_ssl_total") > before
    assert secured is (mode in _SECURE)


@pytest.mark.parametrize("port", [_TCP, _SNIFFED])
@pytest.mark.parametrize("mode", _SERVERS)
def test_bytes_reach_the_application_as_they_are(
    world: RenderedWorld, mode: MtlsMode, port: int
) -> None:
    """What isn't HTTP goes through the TCP chains, inside mutual TLS where the server takes it."""
    server, counter = _SERVERS[mode], f"tcp.inbound|{port}||.downstream_cx_total"
    handshakes = "listener.0.0.0.0_15006.ssl.handshake"
    before = world.stat(server, counter), world.stat(server, handshakes)
    assert (
        world.send(_CLIENT.network, _target(mode, port), b"\x01\x02bytes") == b"echo:\x01\x02bytes"
    )
    after = world.stat(server, counter), world.stat(server, handshakes)
    assert after[0] == before[0] + 1
    assert after[1] - before[1] == (1 if mode in _SECURE else 0)


@pytest.mark.parametrize("port", [_SNIFFED, _TCP])
def test_the_applications_own_tls_passes_through_a_permissive_server(
    world: RenderedWorld, port: int
) -> None:
    """TLS that is not the mesh's is bytes: the application gets the ClientHello."""
    server = _SERVERS[MtlsMode.PERMISSIVE]
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="app.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert world.send("", (server.ip, port), hello) == b"echo:" + hello


@pytest.mark.parametrize(
    ("offered", "negotiated", "sent", "answered"),
    [
        (("istio-http/1.1", "istio", "http/1.1"), "http/1.1", _get("istio"), b"HTTP/1.1 200 OK"),
        (("istio-h2", "istio", "h2"), "h2", _http2_get("istio"), b"\x00\x00"),
        (("istio-peer-exchange", "istio"), None, b"bytes", b"echo:bytes"),
    ],
    ids=["http1", "http2", "bytes"],
)
@pytest.mark.parametrize("mode", _SECURE)
def test_what_istios_sidecar_offers_is_understood(
    world: RenderedWorld,
    mode: MtlsMode,
    offered: tuple[str, ...],
    negotiated: str | None,
    sent: bytes,
    answered: bytes,
) -> None:
    """A client that is stock Istio finds its chain, and its metadata exchange is never agreed to."""
    context = world.client_context(_CLIENT)
    context.set_alpn_protocols(offered)
    address = (_SERVERS[mode].ip, _SNIFFED)
    with world.realm.connect(address) as raw, context.wrap_socket(raw) as secured:
        assert secured.selected_alpn_protocol() == negotiated
        secured.sendall(sent)
        assert secured.recv(1000).startswith(answered)


@pytest.mark.parametrize("port", [_SNIFFED, _HTTP, _UNDECLARED])
@pytest.mark.parametrize("mode", _SERVERS)
def test_plain_text_from_outside_is_taken_by_all_but_strict(
    world: RenderedWorld, mode: MtlsMode, port: int
) -> None:
    """A caller without a sidecar gets in unless the mode is STRICT, on undeclared ports too."""
    answer = world.send("", (_SERVERS[mode].ip, port), _get("outside"))
    assert (b"200 OK" in answer) is (mode is not MtlsMode.STRICT)


def test_a_server_may_speak_first_where_nothing_is_inspected(world: RenderedWorld) -> None:
    """On a TCP port without mutual TLS the greeting comes through both Envoys unasked."""
    answer = world.send(_CLIENT.network, _target(MtlsMode.DISABLE, _GREETING), b"")
    assert answer == _GREETING_TEXT


def test_an_unknown_destination_passes_through(world: RenderedWorld) -> None:
    """A sidecar hands on what it doesn't know, here a pod's own address and an undeclared port."""
    server = _SERVERS[MtlsMode.DISABLE]
    answer = world.send(_CLIENT.network, (server.ip, _UNDECLARED), _get("direct"))
    assert b"200 OK" in answer


@pytest.mark.parametrize("mode", _SECURE)
def test_a_denied_path_is_refused_to_an_allowed_client(
    world: RenderedWorld, mode: MtlsMode
) -> None:
    """DENY comes before ALLOW."""
    answer = world.send(_CLIENT.network, _target(mode, _HTTP), _get(_host(mode), "/secret/key"))
    assert answer.startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize("mode", _SECURE)
def test_a_stranger_is_refused_by_identity(world: RenderedWorld, mode: MtlsMode) -> None:
    """Another workload of the mesh has a certificate, and no rule that lets it in: 403, or no bytes."""
    answer = world.send(_STRANGER.network, _target(mode, _HTTP), _get(_host(mode)))
    assert answer.startswith(b"HTTP/1.1 403")
    assert world.send(_STRANGER.network, _target(mode, _TCP), b"bytes") == b""


@pytest.mark.parametrize("mode", _SERVERS)
def test_a_gateway_calls_sniffed_ports_inside_mutual_tls(
    world: RenderedWorld, mode: MtlsMode
) -> None:
    """The gateway's requests are marked as HTTP too, and carry its own identity."""
    host = f"{_SERVERS[mode].name}.example"
    answer = world.send("", (_GATEWAY.ip, _GATE), _get(host))
    assert b"200 OK" in answer
    assert (f"uri={identity_of(_GATEWAY)}" in answer.decode().lower()) is (mode in _SECURE)


def test_a_gateway_answers_404_for_hosts_it_does_not_have(world: RenderedWorld) -> None:
    """Envoy's own answer; no catch-all stands in the way of a host ``*``."""
    assert world.send("", (_GATEWAY.ip, _GATE), _get("nobody")).startswith(b"HTTP/1.1 404")
