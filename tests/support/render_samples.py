"""IR values that between them use every word of the IR, and all resources that they render to.

They are for laws that hold for everything (bytes decode alike, Envoy accepts them, no hash seed shows);
what a single field means is told by its own test.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from mizzen import ir
from mizzen.model.destination import (
    ConnectionPool,
    ConsistentHash,
    HashCookie,
    LoadBalancer,
    OutlierDetection,
    Pings,
    ProxyProtocol,
    SimpleLb,
    TcpKeepalive,
    Tunnel,
    Warmup,
)
from mizzen.model.kube import Protocol
from mizzen.model.routing import (
    DirectResponse,
    HeaderOperations,
    Headers,
    MatchKind,
    Redirect,
    StringMatch,
)
from mizzen.model.security import MtlsMode, PolicyAction
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen.render import cluster, endpoint, inbound, listener, route
from mizzen.render.gateway import render_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.wire import Resource

_SECOND: Final = timedelta(seconds=1)
_HOST: Final = "reviews.shop.svc.cluster.local"
_MESH_TLS: Final = ir.MeshTls(
    automatic=True,
    identities=("spiffe://cluster.local/ns/shop/sa/a", "spiffe://cluster.local/ns/shop/sa/b"),
    sni=f"outbound_.9080_._.{_HOST}",
)
_RULE: Final = ObjectKey(DEFAULT_REGISTRY, "DestinationRule", "shop", "reviews")

UPSTREAM: Final = ir.Upstream(
    host=_HOST,
    port=9080,
    subset="",
    discovery=ir.Discovery.EDS,
    protocol=Protocol.HTTP,
    http=ir.UpstreamHttp.HTTP1,
    tls=_MESH_TLS,
    load_balancer=LoadBalancer(),
    connection_pool=ConnectionPool(),
    outlier_detection=None,
    connect_timeout=timedelta(seconds=10),
    service_name="reviews",
    service_namespace="shop",
)
"""An HTTP service with automatic mutual TLS and defaults everywhere."""

FULL_POOL: Final = ConnectionPool(
    max_connections=10,
    connect_timeout=2 * _SECOND,
    tcp_keepalive=TcpKeepalive(probes=3, time=60 * _SECOND, interval=10 * _SECOND),
    max_connection_duration=600 * _SECOND,
    tcp_idle_timeout=30 * _SECOND,
    http1_max_pending_requests=11,
    http2_max_requests=12,
    max_requests_per_connection=13,
    max_retries=14,
    http_idle_timeout=15 * _SECOND,
    max_concurrent_streams=16,
)
FULL_OUTLIERS: Final = OutlierDetection(
    split_external_local_origin_errors=True,
    consecutive_local_origin_failures=4,
    consecutive_gateway_errors=0,
    consecutive_5xx_errors=7,
    interval=timedelta(milliseconds=1500),
    base_ejection_time=30 * _SECOND,
    max_ejection_percent=50,
    min_health_percent=20,
)

_WARMUP: Final = Warmup(duration=30 * _SECOND, minimum_percent=15, aggression=1.5)
_BALANCERS: Final = (
    *(LoadBalancer(simple=simple) for simple in SimpleLb),
    LoadBalancer(simple=SimpleLb.ROUND_ROBIN, warmup=_WARMUP),
    LoadBalancer(warmup=_WARMUP),
    LoadBalancer(consistent_hash=ConsistentHash(http_header_name="user")),
    LoadBalancer(consistent_hash=ConsistentHash(use_source_ip=True, maglev=True)),
    LoadBalancer(consistent_hash=ConsistentHash(use_source_ip=True, maglev_table_size=65537)),
)
_TLS: Final[tuple[ir.UpstreamTls, ...]] = (
    ir.Plaintext(),
    _MESH_TLS,
    replace(_MESH_TLS, automatic=False, identities=()),
    ir.SimpleTls(),
    ir.SimpleTls(sni="api.example", subject_alt_names=("api.example", "10.0.0.1", "spiffe://x/y")),
    ir.SimpleTls(insecure_skip_verify=True),
    ir.SimpleTls(certificate="own", roots="theirs", subject_alt_names=("api.example",)),
)
_PINGS: Final = Pings(interval=30 * _SECOND, timeout=5 * _SECOND)
_ERRORS: Final = OutlierDetection(http_error_codes=(429, 503))
_MORE: Final[tuple[dict[str, Any], ...]] = (
    {"proxy_protocol": ProxyProtocol.V1},
    {"proxy_protocol": ProxyProtocol.V2, "tls": ir.Plaintext()},
    {"proxy_protocol": ProxyProtocol.V2, "tls": ir.SimpleTls()},
    {"locality_weighted": True},
    {"http": ir.UpstreamHttp.HTTP2, "connection_pool": ConnectionPool(pings=_PINGS)},
    {"outlier_detection": _ERRORS},
)


def upstreams() -> Iterator[ir.Upstream]:
    """Every protocol with every TLS, then every other setting once."""
    number = 1000
    spoken = product(Protocol, ir.UpstreamHttp, _TLS)
    for number, (protocol, http, tls) in enumerate(spoken, 1000):
        yield replace(UPSTREAM, port=number, protocol=protocol, http=http, tls=tls)
    for number, balancer in enumerate(_BALANCERS, number + 1):  # noqa: B020 - counts on
        yield replace(UPSTREAM, port=number, load_balancer=balancer, tls=ir.Plaintext())
    for discovery in ir.Discovery:
        yield replace(UPSTREAM, port=1, subset=discovery, discovery=discovery, tls=ir.Plaintext())
    full = replace(UPSTREAM, connection_pool=FULL_POOL, outlier_detection=FULL_OUTLIERS)
    yield replace(full, subset="full", rule=_RULE, external=True)
    yield replace(full, subset="full-h2", http=ir.UpstreamHttp.HTTP2)
    yield replace(full, subset="full-tcp", protocol=Protocol.TCP)
    yield replace(UPSTREAM, subset="empty", outlier_detection=OutlierDetection())
    for number, more in enumerate(_MORE):
        yield replace(UPSTREAM, subset=f"more-{number}", **more)


def endpoint_groups() -> Iterator[ir.EndpointGroup]:
    """None, one, and several localities with priorities, weights and health."""
    yield ir.EndpointGroup(cluster="none")
    here = ir.Locality(region="r", zone="z", subzone="s")
    plain = ir.Endpoint(address="10.0.0.1", port=8080)
    mesh = ir.Endpoint(address="10.0.0.2", port=8080, weight=5, mtls=True)
    ill = replace(mesh, address="fd00::1", health=ir.Health.UNHEALTHY)
    yield ir.EndpointGroup(
        cluster="many",
        groups=(
            ir.LocalityGroup(locality=here, endpoints=(plain, mesh)),
            ir.LocalityGroup(locality=ir.Locality(region="q"), endpoints=(ill,), priority=1),
            ir.LocalityGroup(locality=ir.Locality(), endpoints=(plain,), priority=2),
        ),
    )


_STRINGS: Final = (
    StringMatch(MatchKind.EXACT, "/a"),
    StringMatch(MatchKind.PREFIX, "/a"),
    StringMatch(MatchKind.REGEX, "/a.*"),
    StringMatch(MatchKind.PRESENT),
)
_HEADERS: Final = Headers(
    request=HeaderOperations(
        set=(("x-set", "1"), (":authority", "other.example"), (":path", "/no")),
        add=(("x-add", "2"),),
        remove=("x-gone",),
    ),
    response=HeaderOperations(set=(("x-set", "3"),), add=(("x-add", "4"),), remove=("x-gone",)),
)
_RETRY: Final = ir.RetryPolicy(
    attempts=3,
    retry_on=("connect-failure", "retriable-status-codes"),
    retriable_status_codes=(503, 504),
    per_try_timeout=2 * _SECOND,
    backoff=timedelta(milliseconds=50),
    remote_localities=True,
)
_TARGET: Final = ir.WeightedTarget(cluster="outbound|80||a", weight=0)
_HASHES: Final = (
    ConsistentHash(http_header_name="user"),
    ConsistentHash(http_cookie=HashCookie(name="c", path="/", ttl=timedelta(0))),
    ConsistentHash(http_cookie=HashCookie(name="c")),
    ConsistentHash(use_source_ip=True),
    ConsistentHash(http_query_parameter_name="q"),
)
FORWARD: Final = ir.Forward(targets=(_TARGET,))


def actions() -> Iterator[ir.RouteAction]:
    """Every kind of action with every setting."""
    yield FORWARD
    yield replace(
        FORWARD,
        timeout=timedelta(seconds=1, milliseconds=5),
        retry=_RETRY,
        prefix_rewrite="/new",
        host_rewrite="other.example",
        hash_on=_HASHES,
    )
    yield replace(FORWARD, regex_rewrite=("^/a(.*)", r"/b\1"))
    yield replace(FORWARD, targets=(replace(_TARGET, headers=_HEADERS),))
    yield replace(
        FORWARD,
        targets=(
            ir.WeightedTarget(cluster="outbound|80|v1|a", weight=90, headers=_HEADERS),
            ir.WeightedTarget(cluster="outbound|80|v2|a", weight=10),
        ),
    )
    for code in (301, 302, 303, 307, 308):
        yield Redirect(uri="/new", authority="other.example", scheme="https", code=code)
    yield Redirect(uri="%PREFIX()%/new", port=8443)
    yield Redirect(derive_port="FROM_REQUEST_PORT")
    yield DirectResponse(status=418)
    yield DirectResponse(status=200, body=b"text")
    yield DirectResponse(status=200, body=b"\xff\x00")


def matches() -> Iterator[ir.RequestMatch]:
    """Every property with every comparison."""
    yield ir.RequestMatch()
    for text in _STRINGS:
        yield ir.RequestMatch(uri=text, ignore_uri_case=True)
        yield ir.RequestMatch(scheme=text, method=text, authority=text)
        yield ir.RequestMatch(
            headers=(("x-a", text),), without_headers=(("x-b", text),), query_params=(("q", text),)
        )


_TABLES: Final = {
    "9080": ir.CatchAll.PASSTHROUGH,
    "9081": ir.CatchAll.BLOCK,
    "http.8080": ir.CatchAll.NOT_FOUND,
    f"{_HOST}:9000": ir.CatchAll.NONE,
}


def virtual_hosts() -> Iterator[ir.VirtualHost]:
    """One host with every match and one with every action, in each kind of route configuration."""
    by_match = tuple(ir.Route(name="m", match=match, action=FORWARD) for match in matches())
    by_action = tuple(
        ir.Route(
            name="a", match=ir.RequestMatch(), action=action, headers=_HEADERS, stat_prefix="s"
        )
        for action in actions()
    )
    for table in _TABLES:
        host = ir.VirtualHost(
            route_configuration=table, host=_HOST, domains=(_HOST, "reviews"), routes=by_match
        )
        yield host
        yield replace(
            host, host="b.example", domains=("b.example",), routes=by_action, redirect_to_https=True
        )


def route_tables() -> Iterator[ir.RouteTable]:
    """Every kind of catch-all."""
    for name, catch_all in _TABLES.items():
        yield ir.RouteTable(name=name, catch_all=catch_all)


def _texts() -> Iterator[ir.Text]:
    for kind in ir.TextKind:
        yield ir.Text(kind, "value")
        yield ir.Text(kind, "value", ignore_case=True)


def operations() -> Iterator[ir.Predicate]:
    """Every word that may stand in a rule's operation."""
    yield from (ir.Anything(), ir.Never(), ir.AllOf(()), ir.AnyOf(()))
    yield ir.DestinationAddress("10.0.0.0/8")
    yield ir.DestinationPort(80)
    yield ir.RequestPathTemplate("/a/*/b/**")
    for text in _texts():
        words = (ir.ServerName(text), ir.RequestHeader("x-a", text), ir.RequestPath(text))
        yield ir.AllOf(words)
        yield ir.Not(ir.AnyOf((*words, ir.TokenClaim(("a", "b"), text))))


def sources() -> Iterator[ir.Predicate]:
    """Every word that may stand in a rule's source."""
    yield from (ir.Anything(), ir.Never(), ir.AllOf(()), ir.AnyOf(()))
    yield ir.SourceAddress("10.0.0.1")
    yield ir.SourceAddress("fd00::/8", original=True)
    for text in _texts():
        words = (ir.PeerIdentity(text), ir.RequestHeader("x-a", text), ir.RequestPath(text))
        yield ir.AllOf(words)
        yield ir.Not(ir.AnyOf((*words, ir.TokenClaim(("a", "b"), text))))


def rules() -> tuple[ir.PolicyRule, ...]:
    """Rules with every word."""
    anything: ir.Predicate = ir.Anything()
    halves = [(operation, anything) for operation in operations()]
    halves += [(anything, source) for source in sources()]
    return tuple(
        ir.PolicyRule(name=f"ns[a]-policy[b]-rule[{i}]", operation=operation, source=source)
        for i, (operation, source) in enumerate(halves)
    )


def _of_connections(rule: ir.PolicyRule) -> bool:
    words = ("RequestHeader", "RequestPath", "TokenClaim")
    return not any(word in repr(rule) for word in words)


def authorizations() -> Iterator[ir.Authorization]:
    """Nothing, an ALLOW of nothing, and everything."""
    yield ir.OPEN
    nothing = ir.RuleSet(action=PolicyAction.ALLOW)
    yield ir.Authorization(http=(nothing,), tcp=(nothing,))
    on_tcp = tuple(rule for rule in rules() if _of_connections(rule))
    both = (PolicyAction.DENY, PolicyAction.ALLOW)
    yield ir.Authorization(
        http=tuple(ir.RuleSet(action=action, rules=rules()) for action in both),
        tcp=tuple(ir.RuleSet(action=action, rules=on_tcp) for action in both),
    )


MODES: Final = (MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE)


def inbound_ports() -> Iterator[ir.InboundPort]:
    """Every protocol in every mode."""
    for port, (protocol, mode) in enumerate(product(Protocol, MODES), 7000):
        yield ir.InboundPort(
            port=port,
            service_port=port - 6000,
            protocol=protocol,
            mode=mode,
            host=_HOST,
            connection_pool=FULL_POOL if port % 2 else None,
        )


def inbound_policies() -> Iterator[ir.InboundPolicy]:
    """Every default mode with all ports, and every authorization with none."""
    for mode in MODES:
        yield ir.InboundPolicy(
            ports=tuple(inbound_ports()),
            default_mode=mode,
            port_modes=tuple(zip((5000, 5001, 5005), MODES, strict=True)),
            trust_domains=("cluster.local", "old.example"),
            authorization=ir.OPEN,
        )
    for authorization in authorizations():
        yield ir.InboundPolicy(
            ports=(),
            default_mode=MtlsMode.PERMISSIVE,
            trust_domains=("cluster.local",),
            authorization=authorization,
        )


def outbound_listeners() -> Iterator[ir.OutboundListener]:
    """HTTP, sniffed and TCP, of one address, and told apart by name and range."""
    tcp = ir.TcpProxy(cluster="PassthroughCluster")
    yield ir.OutboundListener(bind="0.0.0.0", port=9080, routes="9080", tcp=tcp)
    own = ir.TcpProxy(
        cluster="outbound|3306||db",
        idle_timeout=60 * _SECOND,
        max_connection_duration=600 * _SECOND,
        hash_on_source=True,
        tunnel=Tunnel(target="proxy.example.com:443"),
    )
    yield ir.OutboundListener(bind="10.0.0.5", port=3306, tcp=own)
    chain = ir.TcpChain(server_name="a.test", cidr="10.7.0.0/16", tcp=own)
    yield ir.OutboundListener(bind="0.0.0.0", port=443, chains=(chain,), tcp=own)
    yield ir.OutboundListener(bind="10.0.0.5", port=9000, routes="a:9000", tcp=own, sniff=True)


def resources() -> Iterator[tuple[str, Resource]]:
    """Everything rendered, each with the name of the set that Envoy may hold at once."""
    for upstream in upstreams():
        yield "clusters", cluster.render_upstream(upstream)
    for port in inbound_ports():
        yield "clusters", cluster.render_inbound_cluster(port)
    for static in cluster.static_clusters():
        yield "clusters", static
    for group in endpoint_groups():
        yield "endpoints", endpoint.render_endpoints(group)
    for host in virtual_hosts():
        yield "routes", route.render_virtual_host(host)
    for table in route_tables():
        yield "routes", route.render_route_table(table)
    for outbound in outbound_listeners():
        yield "listeners", listener.render_outbound(outbound)
    yield "listeners", listener.render_virtual_outbound(registry_only=False)
    yield "registry only", listener.render_virtual_outbound(registry_only=True)
    for number, policy in enumerate(inbound_policies()):
        yield f"inbound {number}", inbound.render_inbound(policy)
    for number, authorization in enumerate(authorizations()):
        gateway = ir.GatewayListener(
            bind="0.0.0.0",
            port=8080,
            chains=(ir.GatewayChain(routes="http.8080"),),
            authorization=authorization,
        )
        yield f"gateway {number}", render_gateway(gateway)
