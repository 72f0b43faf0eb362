"""Connections as VirtualServices route them: rules of ``tcp`` and ``tls``, as chains of a listener.

As for requests, what can be told in advance (port, gateway, the source's labels and namespace) is decided
here; what is left for the proxy is the destination's address and the server name. Of two alternatives that
ask the proxy for the same, the first counts (Istio: ``buildSidecarOutboundTCPFilterChainOpts``,
``buildSidecarOutboundTLSFilterChainOpts``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mizzen.ir import NameLookup, TcpChain, TcpProxy
from mizzen.model.meta import selects
from mizzen.model.routing import (
    ConnectionMatch,
    Destination,
    RouteDestination,
    VirtualService,
)
from mizzen.model.traffic import Resolution
from mizzen.names import MESH_GATEWAY, outbound_cluster
from mizzen.resolve.aliases import destination_host
from mizzen.resolve.matching import Place, destination_port, weighted_only
from mizzen.resolve.rules import policy_at, rule_for, tunnel_for
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.world import gateway_name

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Scope

_EVERYWHERE: Final = (ConnectionMatch(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """What rules say of connections to one port: some by what tells them apart, and all others.

    ``rest`` None means that the rules say nothing of the others.
    """

    chains: tuple[TcpChain, ...] = ()
    rest: TcpProxy | None = None


NO_CONNECTIONS: Final = Connections()


def tcp_connections(db: Database, place: Place, item: VirtualService) -> Connections:
    """Return what the rules of ``tcp`` say; the first that asks for no address takes all the rest."""
    chains: dict[str, TcpChain] = {}
    for rule in item.tcp:
        matches = [m for m in rule.match or _EVERYWHERE if _applies(place, item, m)]
        if not matches:
            continue
        tcp = proxy_of(db, place, item, rule.route)
        for cidr in (cidr for match in matches for cidr in match.destination_subnets):
            chains.setdefault(cidr, TcpChain(cidr=cidr, tcp=tcp))
        if any(not match.destination_subnets for match in matches):
            return Connections(chains=tuple(chains.values()), rest=tcp)
    return Connections(chains=tuple(chains.values()))


def tls_connections(
    db: Database, place: Place, item: VirtualService, ranges: tuple[str, ...] = ()
) -> tuple[TcpChain, ...]:
    """Return what the rules of ``tls`` say; within ``ranges``, where a match asks for no address."""
    chains: dict[tuple[str, str], TcpChain] = {}
    for rule in item.tls:
        matches = [m for m in rule.match if _applies(place, item, m)]
        if not matches:
            continue
        tcp = proxy_of(db, place, item, rule.route)
        for name, cidr in (spot for match in matches for spot in _spots(match, ranges)):
            chain = TcpChain(server_name=name, cidr=cidr, tls=not name, tcp=tcp)
            chains.setdefault((name, cidr), chain)
    return tuple(chains.values())


def _spots(match: ConnectionMatch, ranges: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Return the server names, empty for any, and the ranges that a match asks for."""
    for name in match.sni_hosts:
        for cidr in match.destination_subnets or ranges or ("",):
            yield "" if name == "*" else name, cidr


def applies_at_gateway(place: Place, owner: VirtualService, match: ConnectionMatch) -> bool:
    """Tell whether an alternative may match at a port of a gateway, or of the mesh."""
    if match.port is not None and match.port != place.port:
        return False
    namespace = owner.meta.namespace
    names = {g if g == MESH_GATEWAY else gateway_name(g, namespace) for g in match.gateways}
    return not names or place.gateway in names


def _applies(place: Place, owner: VirtualService, match: ConnectionMatch) -> bool:
    """Tell whether what is known in advance lets an alternative match here (Istio: ``matchTCP``)."""
    if not applies_at_gateway(place, owner, match):
        return False
    if match.source_namespace not in ("", place.scope.namespace):
        return False
    return selects(match.source_labels, place.labels)


def proxy_of(
    db: Database, place: Place, owner: VirtualService, route: tuple[RouteDestination, ...]
) -> TcpProxy:
    """Return the proxy to a rule's destinations, with the times of the first; several have no tunnel (Istio)."""
    weighted = weighted_only(route)
    found = [_proxy(db, place, owner, share.destination) for share in weighted]
    if len(found) == 1:
        return found[0]
    return replace(
        found[0],
        cluster=f"{owner.meta.name}.{owner.meta.namespace}",
        shares=tuple(
            (tcp.cluster, share.weight) for tcp, share in zip(found, weighted, strict=True)
        ),
        hash_on_source=any(tcp.hash_on_source for tcp in found),
        tunnel=None,
    )


def _proxy(db: Database, place: Place, owner: VirtualService, to: Destination) -> TcpProxy:
    host = destination_host(db, to.host, owner.meta.namespace)
    port = destination_port(db, place, host, to.port)
    return proxy_to(db, place.scope, host, port, to.subset)


def proxy_to(db: Database, scope: Scope, host: str, port: int, subset: str = "") -> TcpProxy:
    """Return the proxy to one cluster, with what its DestinationRule says of connections."""
    service = service_at(db, scope, host)
    rule = rule_for(db, (scope, host))
    part = rule.subset(subset)
    policy = policy_at(db, rule, port, part)
    pool, balancer = policy.connection_pool, policy.load_balancer
    hashed = balancer.consistent_hash if balancer else None
    return TcpProxy(
        cluster=outbound_cluster(port, subset, host),
        idle_timeout=pool.tcp_idle_timeout if pool else None,
        max_connection_duration=pool.max_connection_duration if pool else None,
        hash_on_source=bool(hashed and hashed.use_source_ip),
        tunnel=tunnel_for(rule, part),
        lookup=_lookup(scope, service, port) if service else None,
    )


def _lookup(scope: Scope, service: MeshService, number: int) -> NameLookup | None:
    """Return what is looked up by server name, where the servers are what clients ask for."""
    port = service.port(number)
    if service.resolution is not Resolution.DYNAMIC_DNS or port is None:
        return None
    target = port.target if isinstance(port.target, int) else number
    return NameLookup(port=target, families=scope.families)
