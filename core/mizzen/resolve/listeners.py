"""A sidecar's outbound listeners: one for each HTTP port of the mesh, one for each TCP service's address.

All HTTP services of a port share ``0.0.0.0_<port>``; whatever turns out not to be HTTP there passes
through (or not, under REGISTRY_ONLY). A TCP or undeclared port listens on the service's own address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import CatchAll, OutboundListener, RouteTable, TcpProxy
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.proxy import Scope
from mizzen.names import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER, outbound_cluster
from mizzen.resolve.endpoints import instances
from mizzen.resolve.rules import policy_for, rule_for
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the name of a listener that binds nothing itself


@query
def http_ports(db: Database, key: tuple[Scope, str]) -> tuple[int, ...]:
    """Return the ports on which a host takes part in the port's shared HTTP listener."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    return tuple(port.number for port in service.ports if _is_shared(service, port))


def _is_shared(service: MeshService, port: ServicePort) -> bool:
    undeclared = port.protocol is Protocol.UNSET and not service.addresses
    return port.protocol.is_http or undeclared


def shared_listener(db: Database, port: int) -> OutboundListener:
    """Return the listener of all HTTP services of a port."""
    return OutboundListener(
        bind=ANY_ADDRESS, port=port, routes=str(port), tcp=TcpProxy(cluster=unknown_cluster(db))
    )


def unknown_cluster(db: Database) -> str:
    """Return where traffic to hosts that the mesh does not know goes."""
    return BLACK_HOLE_CLUSTER if settings(db).registry_only else PASSTHROUGH_CLUSTER


def shared_table(db: Database, port: int) -> RouteTable:
    """Return the head of the route configuration of all HTTP services of a port."""
    catch_all = CatchAll.BLOCK if settings(db).registry_only else CatchAll.PASSTHROUGH
    return RouteTable(name=str(port), catch_all=catch_all)


@query
def own_listeners(db: Database, key: tuple[Scope, str]) -> tuple[OutboundListener, ...]:
    """Return the listeners that a host has for itself: those of its TCP and undeclared ports."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    return tuple(
        listener
        for port in service.ports
        if not _is_shared(service, port) and port.protocol is not Protocol.UDP
        for listener in _listeners(db, scope, service, port)
    )


def _listeners(
    db: Database, scope: Scope, service: MeshService, port: ServicePort
) -> Iterator[OutboundListener]:
    sniff = port.protocol is Protocol.UNSET
    rules = rule_for(db, (scope, service.host)).origins
    for binds in _binds(db, service, port):
        yield OutboundListener(
            bind=binds[0],
            more_binds=binds[1:],
            port=port.number,
            routes=f"{service.host}:{port.number}" if sniff else "",
            tcp=_tcp_proxy(db, scope, service, port),
            sniff=sniff,
            origins=(service.key, *rules),
        )


def _binds(db: Database, service: MeshService, port: ServicePort) -> list[tuple[str, ...]]:
    """Return the addresses to listen on, each entry one listener.

    A headless service is reached at its endpoints; one without any address at all listens on every
    address of the port.
    """
    plain = tuple(address for address in service.addresses if "/" not in address)
    if plain:
        return [plain]
    if service.headless:
        return [(a,) for a in dict.fromkeys(i.address for i in instances(db, service.key))]
    return [(ANY_ADDRESS,)]


def _tcp_proxy(db: Database, scope: Scope, service: MeshService, port: ServicePort) -> TcpProxy:
    policy = policy_for(rule_for(db, (scope, service.host)), port.number)
    pool, balancer = policy.connection_pool, policy.load_balancer
    hashed = balancer.consistent_hash if balancer else None
    return TcpProxy(
        cluster=outbound_cluster(port.number, "", service.host),
        idle_timeout=pool.tcp_idle_timeout if pool else None,
        max_connection_duration=pool.max_connection_duration if pool else None,
        hash_on_source=bool(hashed and hashed.use_source_ip),
    )


@query
def own_tables(db: Database, key: tuple[Scope, str]) -> tuple[RouteTable, ...]:
    """Return the route configurations that a host has for itself: those of sniffed ports."""
    return tuple(
        RouteTable(name=listener.routes, catch_all=CatchAll.NONE, origins=listener.origins)
        for listener in own_listeners(db, key)
        if listener.routes
    )
