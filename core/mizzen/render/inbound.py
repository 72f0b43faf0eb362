"""virtualInbound: everything that comes to a workload, told apart by port, TLS and protocol.

Envoy chooses a filter chain by destination port first and never goes back: so each port that has a
chain of its own has the complete set, one chain for each thing a client may come with. Which chains
make up a set depends on the port's mutual TLS mode and protocol, and is a table (Istio:
``listener_inbound.go``, ``security/authn``). The set without a port is for ports nobody declared.

Inspectors read the client's first bytes, and a client that waits for the server's would wait for
ever: so they are switched off for each port whose chains don't ask for what they find out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import INBOUND
from envoy.config.listener.v3.listener_components_pb2 import (
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
    ListenerFilterChainMatchPredicate,
)
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from mizzen import names
from mizzen.ir import InboundPolicy, InboundPort, PortChecks, RetryPolicy, TcpProxy
from mizzen.model.kube import Protocol
from mizzen.model.mesh import Paths, TlsLimits
from mizzen.model.security import MtlsMode
from mizzen.render.alpn import MESH_ALL, MESH_HTTP, MESH_TCP, PLAIN_HTTP
from mizzen.render.chain import Chain, Side
from mizzen.render.filters.inspectors import (
    http_inspector,
    original_dst,
    original_src,
    tls_inspector,
)
from mizzen.render.filters.order import network_filters
from mizzen.render.filters.tcp_proxy import tcp_proxy
from mizzen.render.forward import no_timeout, retry_policy
from mizzen.render.http import http_base, http_inline
from mizzen.render.proto import duration, fill_address, fill_anywhere
from mizzen.render.tls import mesh_server, own_server
from mizzen.wire import Resource, TypeUrl, encode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from envoy.config.listener.v3.listener_components_pb2 import Filter
    from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
        HttpConnectionManager,
    )

    from mizzen.model.gateway import ServerTls

INBOUND_PORT: Final = 15006
"""Where a sidecar's inbound connections are redirected to."""

_ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - a sidecar listens on the whole pod, as its rules demand
_TLS: Final = "tls"
_RAW: Final = "raw_buffer"


class _Kind(Enum):
    """What a port carries, as far as chains go."""

    SNIFFED = "sniffed"
    HTTP = "http"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class _Variant:
    """One chain of a set: what it matches, and whether it ends mutual TLS and speaks HTTP."""

    transport: str
    protocols: tuple[str, ...] = ()
    mtls: bool = False
    http: bool = False


_TLS_HTTP: Final = _Variant(_TLS, MESH_HTTP, mtls=True, http=True)
_RAW_HTTP: Final = _Variant(_RAW, PLAIN_HTTP, http=True)
_RAW_TCP: Final = _Variant(_RAW)
_FOREIGN_TLS: Final = _Variant(_TLS)

_VARIANTS: Final = {
    (MtlsMode.STRICT, _Kind.SNIFFED): (_TLS_HTTP, _Variant(_TLS, mtls=True)),
    (MtlsMode.STRICT, _Kind.HTTP): (_Variant(_TLS, mtls=True, http=True),),
    (MtlsMode.STRICT, _Kind.TCP): (_Variant(_TLS, mtls=True),),
    (MtlsMode.PERMISSIVE, _Kind.SNIFFED): (
        _TLS_HTTP,
        _RAW_HTTP,
        _Variant(_TLS, MESH_TCP, mtls=True),
        _RAW_TCP,
        _FOREIGN_TLS,
    ),
    (MtlsMode.PERMISSIVE, _Kind.HTTP): (
        _Variant(_TLS, MESH_ALL, mtls=True, http=True),
        _Variant(_RAW, http=True),
    ),
    (MtlsMode.PERMISSIVE, _Kind.TCP): (
        _Variant(_TLS, MESH_ALL, mtls=True),
        _FOREIGN_TLS,
        _RAW_TCP,
    ),
    (MtlsMode.DISABLE, _Kind.SNIFFED): (_RAW_HTTP, _RAW_TCP),
    (MtlsMode.DISABLE, _Kind.HTTP): (_Variant(_RAW, http=True),),
    (MtlsMode.DISABLE, _Kind.TCP): (_RAW_TCP,),
}
"""The chains of a port, in Istio's order. With mTLS disabled nothing is inspected, and TLS is bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PortSet:
    """A port that has its set of chains; ``number`` 0 is every port that has none of its own."""

    number: int
    kind: _Kind
    mode: MtlsMode
    cluster: str = names.INBOUND_PASSTHROUGH_CLUSTER
    declared: InboundPort | None = None

    @property
    def end(self) -> ServerTls | None:
        """How TLS of the port's own ends."""
        return self.declared.end if self.declared is not None else None

    @property
    def variants(self) -> tuple[_Variant, ...]:
        if self.end is not None:
            return (_Variant(_TLS, http=self.kind is _Kind.HTTP),)
        return _VARIANTS[self.mode, self.kind]

    def needs(self, inspector: _Inspector) -> bool:
        """Tell whether a chain can be chosen only with what an inspector finds out."""
        if inspector is _Inspector.TLS:
            return any(v.transport == _TLS for v in self.variants)
        return any(v.protocols == PLAIN_HTTP for v in self.variants)


class _Inspector(Enum):
    TLS = "tls"
    HTTP = "http"


def render_inbound(policy: InboundPolicy, *, transparent: bool = False) -> Resource:
    """Return the whole inbound side of a sidecar.

    ``transparent`` is for connections that capture hands over as they are (TPROXY): the application is then
    called from its callers' own addresses.
    """
    message = Listener(name=names.VIRTUAL_INBOUND, traffic_direction=INBOUND)
    fill_anywhere(message, INBOUND_PORT, policy.families)
    message.max_connections_to_accept_per_socket_event.value = 1
    sets = _port_sets(policy)
    message.listener_filters.append(original_dst())
    if transparent:
        message.transparent.value = True
        message.listener_filters.append(original_src())
    message.listener_filters.extend(_inspectors(sets))
    # A client whose server speaks first may stay silent; there is no time after which that is wrong.
    message.listener_filters_timeout.CopyFrom(duration(policy.habits.detection))
    message.continue_on_listener_filters_timeout = True
    message.filter_chains.append(_loop_guard())
    builder = _Builder.of(policy)
    for port_set in sets:
        for variant in port_set.variants:
            builder.fill(message.filter_chains.add(), port_set, variant)
    return encode(TypeUrl.LISTENER, names.VIRTUAL_INBOUND, message)


def render_bound(policy: InboundPolicy) -> tuple[Resource, ...]:
    """Return the listeners of ports that clients address themselves (captureMode NONE)."""
    builder = _Builder.of(policy)
    return tuple(_bound(builder, port) for port in policy.ports if port.bind)


def _bound(builder: _Builder, port: InboundPort) -> Resource:
    name = names.listener_name(port.bind, port.port)
    message = Listener(name=name, traffic_direction=INBOUND)
    fill_address(message.address, port.bind, port.port)
    message.max_connections_to_accept_per_socket_event.value = 1
    port_set = _declared(port)
    wanted = ((_Inspector.TLS, tls_inspector()), (_Inspector.HTTP, http_inspector()))
    message.listener_filters.extend(one for kind, one in wanted if port_set.needs(kind))
    if message.listener_filters:
        message.listener_filters_timeout.CopyFrom(duration(builder.detection))
        message.continue_on_listener_filters_timeout = True
    for variant in port_set.variants:
        chain = message.filter_chains.add()
        builder.fill(chain, port_set, variant)
        chain.filter_chain_match.ClearField("destination_port")
    return encode(TypeUrl.LISTENER, name, message)


def _port_sets(policy: InboundPolicy) -> tuple[_PortSet, ...]:
    """Return the set of undeclared ports, then of those that a policy names, then of declared ones."""
    declared = {port.port for port in policy.ports}
    modes = {one.port: policy.default_mode for one in policy.attached} | dict(policy.port_modes)
    return (
        _PortSet(number=0, kind=_Kind.SNIFFED, mode=policy.default_mode),
        *(
            _PortSet(number=number, kind=_Kind.SNIFFED, mode=mode)
            for number, mode in sorted(modes.items())
            if number not in declared
        ),
        *(_declared(p) for p in sorted(policy.ports, key=lambda p: p.port) if not p.bind),
    )


def _declared(port: InboundPort) -> _PortSet:
    if port.protocol is Protocol.UNSET:
        kind = _Kind.SNIFFED
    else:
        kind = _Kind.HTTP if port.protocol.is_http else _Kind.TCP
    return _PortSet(
        number=port.port,
        kind=kind,
        mode=port.mode,
        cluster=names.inbound_cluster(port.port),
        declared=port,
    )


def _loop_guard() -> FilterChain:
    """Return the chain that ends what is addressed to the listener itself, which would come back."""
    chain = FilterChain(name="virtualInbound-blackhole")
    chain.filter_chain_match.destination_port.value = INBOUND_PORT
    chain.filters.append(tcp_proxy(TcpProxy(cluster=names.BLACK_HOLE_CLUSTER)))
    return chain


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checks:
    """What all chains share on which the same is asked: for HTTP and for bytes."""

    manager: HttpConnectionManager
    guards: tuple[Filter, ...]


def _checks(asked: InboundPolicy | PortChecks, paths: Paths) -> _Checks:
    chain = Chain(
        side=Side.INBOUND, authorization=asked.authorization, tokens=asked.tokens, paths=paths
    )
    return _Checks(manager=http_base(chain), guards=network_filters(chain))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Builder:
    """What all chains of one listener share, built once."""

    trust_domains: tuple[str, ...]
    checks: _Checks
    attached: Mapping[int, _Checks]
    server_tls: TlsLimits
    retry: RetryPolicy | None
    detection: timedelta

    @classmethod
    def of(cls, policy: InboundPolicy) -> _Builder:
        return cls(
            trust_domains=policy.trust_domains,
            checks=_checks(policy, policy.habits.paths),
            attached={one.port: _checks(one, policy.habits.paths) for one in policy.attached},
            server_tls=policy.server_tls,
            retry=policy.retry,
            detection=policy.habits.detection,
        )

    def checks_of(self, port_set: _PortSet) -> _Checks:
        """Return what is asked on a port."""
        return self.attached.get(port_set.number, self.checks)

    def fill(self, chain: FilterChain, port_set: _PortSet, variant: _Variant) -> None:
        """Write one chain."""
        chain.name = _chain_name(port_set, variant)
        _fill_match(chain.filter_chain_match, port_set.number, variant)
        if variant.mtls:
            socket = mesh_server(self.trust_domains, self.server_tls, http=variant.http)
            chain.transport_socket.CopyFrom(socket)
        elif port_set.end is not None:
            chain.transport_socket.CopyFrom(own_server(port_set.end, http=variant.http))
        if variant.http:
            chain.filters.append(self._http(port_set))
        else:
            chain.filters.extend(self.checks_of(port_set).guards)
            chain.filters.append(tcp_proxy(_tcp(port_set)))

    def _http(self, port_set: _PortSet) -> Filter:
        declared = port_set.declared
        pool = declared.connection_pool if declared is not None else None
        stat_prefix = (
            f"inbound_{names.listener_name(_ANYWHERE, port_set.number)};"
            if declared is not None
            else port_set.cluster
        )
        return http_inline(
            self.checks_of(port_set).manager,
            stat_prefix,
            _routes(port_set, self.retry),
            idle_timeout=pool.http_idle_timeout if pool is not None else None,
        )


def _chain_name(port_set: _PortSet, variant: _Variant) -> str:
    if (declared := port_set.declared) is not None:
        return names.listener_name(declared.bind or _ANYWHERE, port_set.number)
    return "virtualInbound-catchall-http" if variant.http else names.VIRTUAL_INBOUND


def _fill_match(match: FilterChainMatch, number: int, variant: _Variant) -> None:
    if number:
        match.destination_port.value = number
    match.transport_protocol = variant.transport
    match.application_protocols.extend(variant.protocols)


def _tcp(port_set: _PortSet) -> TcpProxy:
    pool = port_set.declared.connection_pool if port_set.declared is not None else None
    if pool is None:
        return TcpProxy(cluster=port_set.cluster)
    return TcpProxy(
        cluster=port_set.cluster,
        idle_timeout=pool.tcp_idle_timeout,
        max_connection_duration=pool.max_connection_duration,
    )


def _routes(port_set: _PortSet, retry: RetryPolicy | None) -> RouteConfiguration:
    """Return the only route there is: to the application."""
    declared = port_set.declared
    routes = RouteConfiguration(name=port_set.cluster)
    routes.validate_clusters.value = False
    service_port = declared.service_port if declared is not None else 0
    host = routes.virtual_hosts.add(name=f"inbound|http|{service_port}", domains=["*"])
    route = host.routes.add(name="default")
    route.match.prefix = "/"
    route.route.cluster = port_set.cluster
    route.route.MergeFrom(no_timeout())
    is_grpc = declared is not None and declared.protocol in (Protocol.GRPC, Protocol.GRPC_WEB)
    if retry is not None and not is_grpc:
        route.route.retry_policy.CopyFrom(retry_policy(retry))
    return routes


def _inspectors(sets: tuple[_PortSet, ...]) -> tuple[ListenerFilter, ...]:
    """Return the inspectors that some port needs, TLS first, switched off for the others."""
    wanted = ((_Inspector.TLS, tls_inspector()), (_Inspector.HTTP, http_inspector()))
    return tuple(
        _restricted(listener_filter, sets, inspector)
        for inspector, listener_filter in wanted
        if any(port_set.needs(inspector) for port_set in sets)
    )


def _restricted(
    listener_filter: ListenerFilter, sets: tuple[_PortSet, ...], inspector: _Inspector
) -> ListenerFilter:
    undeclared, *ports = sets
    default = undeclared.needs(inspector)
    exceptions = tuple(p.number for p in ports if p.needs(inspector) is not default)
    restricted = ListenerFilter()
    restricted.CopyFrom(listener_filter)
    if not default:
        _fill_ports(restricted.filter_disabled.not_match, exceptions)
    elif exceptions:
        _fill_ports(restricted.filter_disabled, exceptions)
    return restricted


def _fill_ports(predicate: ListenerFilterChainMatchPredicate, ports: tuple[int, ...]) -> None:
    """Write "the destination port is one of these"; runs of numbers are one range."""
    ranges = _ranges(sorted(ports))
    if len(ranges) == 1:
        predicate.destination_port_range.start, predicate.destination_port_range.end = ranges[0]
        return
    for start, end in ranges:
        rule = predicate.or_match.rules.add()
        rule.destination_port_range.start = start
        rule.destination_port_range.end = end


def _ranges(ports: list[int]) -> list[tuple[int, int]]:
    """Return half-open ranges that cover exactly these sorted numbers."""
    ranges: list[tuple[int, int]] = []
    for port in ports:
        if ranges and ranges[-1][1] == port:
            ranges[-1] = (ranges[-1][0], port + 1)
        else:
            ranges.append((port, port + 1))
    return ranges
