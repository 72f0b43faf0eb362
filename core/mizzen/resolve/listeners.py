"""A sidecar's outbound listeners: one for each HTTP port of the mesh, one for each TCP service's address.

All HTTP services of a port share ``0.0.0.0_<port>``; whatever turns out not to be HTTP there passes
through (or not, under REGISTRY_ONLY). A TCP or undeclared port listens on each address of the service;
a headless one on its endpoints' addresses. Without an address of its own, a TCP port takes what else
comes to the port: TLS by its server name, a range by the destination, and the oldest of the others the
rest (Istio: ``buildSidecarOutboundListeners``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import CatchAll, Origins, OutboundListener, RouteTable, TcpChain, TcpProxy
from mizzen.model.families import Families
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.proxy import Scope
from mizzen.model.routing import Part, VirtualService
from mizzen.model.traffic import Resolution
from mizzen.names import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER, is_ip
from mizzen.resolve.aliases import aliases_seen
from mizzen.resolve.binding import ANY_ADDRESS, facing
from mizzen.resolve.choice import virtual_service_for
from mizzen.resolve.connections import (
    NO_CONNECTIONS,
    Connections,
    proxy_to,
    tcp_connections,
    tls_connections,
)
from mizzen.resolve.habits import habits
from mizzen.resolve.instances import instances
from mizzen.resolve.matching import Place
from mizzen.resolve.places import place_of, placed, sockets_for
from mizzen.resolve.rules import rule_for
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.sidecars import imports_port
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database


@query
def http_ports(db: Database, key: tuple[Scope, str]) -> tuple[int, ...]:
    """Return the ports on which a host takes part in the port's shared HTTP listener."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    return tuple(
        port.number
        for port in service.ports
        if is_shared(service, port) and is_seen(db, scope, service, port)
    )


def is_seen(db: Database, scope: Scope, service: MeshService, port: ServicePort) -> bool:
    """Tell whether the proxies of a scope have a service on one of its ports."""
    return imports_port(db, scope, service.namespace, service.host, port.number)


def is_shared(service: MeshService, port: ServicePort) -> bool:
    """Tell whether a port takes part in the shared HTTP listener of its number.

    An undeclared port does where it has no address at which it alone could be told from others.
    """
    undeclared = port.protocol is Protocol.UNSET
    alone = service.headless or service.virtual_addresses
    return port.protocol.is_http or (undeclared and not alone)


def own_table(service: MeshService, port: ServicePort) -> str:
    """Return the name of the route configuration that an undeclared port has for itself."""
    return f"{service.host}:{port.number}"


def looked_up(scope: Scope, service: MeshService) -> Families | None:
    """Return in which versions of IP hosts are looked up that requests for a service ask for."""
    return scope.families if service.resolution is Resolution.DYNAMIC_DNS else None


def shared_listener(db: Database, port: int, unknown: str = "") -> OutboundListener:
    """Return the listener of all HTTP services of a port."""
    return OutboundListener(
        habits=habits(db),
        bind=ANY_ADDRESS,
        port=port,
        routes=str(port),
        tcp=TcpProxy(cluster=unknown_cluster(db, unknown)),
        takes_rest=False,
    )


def unknown_cluster(db: Database, unknown: str = "") -> str:
    """Return where traffic to hosts that the mesh does not know goes; ``unknown`` is a Sidecar's word."""
    return unknown or (BLACK_HOLE_CLUSTER if settings(db).registry_only else PASSTHROUGH_CLUSTER)


def shared_table(db: Database, port: int, unknown: str = "") -> RouteTable:
    """Return the head of the route configuration of all HTTP services of a port."""
    cluster = unknown_cluster(db, unknown)
    if cluster == BLACK_HOLE_CLUSTER:
        return RouteTable(name=str(port), catch_all=CatchAll.BLOCK)
    return RouteTable(name=str(port), catch_all=CatchAll.PASSTHROUGH, passthrough=cluster)


@query
def own_listeners(db: Database, key: tuple[Scope, str]) -> tuple[OutboundListener, ...]:
    """Return the listeners that a host wants for itself: those of its TCP and undeclared ports."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    here = habits(db)
    found = (
        replace(listener, habits=here)
        for port in _own_ports(db, scope, service)
        for listener in _listeners(db, scope, service, port)
    )
    return tuple(one if one.binds else facing(one, scope.families) for one in found)


def _own_ports(db: Database, scope: Scope, service: MeshService) -> list[ServicePort]:
    return [
        port
        for port in service.ports
        if not is_shared(service, port)
        and port.protocol is not Protocol.UDP
        and is_seen(db, scope, service, port)
    ]


def _listeners(
    db: Database, scope: Scope, service: MeshService, port: ServicePort
) -> Iterator[OutboundListener]:
    item, routed = _routed(db, scope, service, port)
    tcp = routed.rest or proxy_to(db, scope, service.host, port.number)
    by_name = any(chain.server_name or chain.tls for chain in routed.chains)
    rules = rule_for(db, (scope, service.host)).origins
    origins = (service.key, *((item.meta.key,) if item else ()), *rules)
    sniff = port.protocol is Protocol.UNSET
    if (place := place_of(db, scope, port.number)) is not None:
        # The address is the place's own, whatever addresses the service has.
        everyones = replace(service, addresses=())
        unknown = unknown_cluster(db, scope.unknown)
        listener = _anywhere(everyones, port, replace(routed, rest=tcp), unknown, origins)
        yield placed(scope, listener, place)
        return
    for bind in _binds(db, service, scope.families):
        yield OutboundListener(
            bind=bind,
            port=port.number,
            routes=own_table(service, port) if sniff else "",
            chains=routed.chains,
            # Rules by server name leave no way to the service but their own (Istio).
            tcp=TcpProxy(cluster=BLACK_HOLE_CLUSTER) if by_name else tcp,
            sniff=sniff,
            origins=origins,
        )
    if not service.virtual_addresses and not service.headless:
        unknown = unknown_cluster(db, scope.unknown)
        names = tuple(one.host for one in aliases_seen(db, scope, service.host))
        whole = replace(routed, rest=tcp)
        yield _anywhere(service, port, whole, unknown, origins, names)


def _routed(
    db: Database, scope: Scope, service: MeshService, port: ServicePort
) -> tuple[VirtualService | None, Connections]:
    """Return what a VirtualService says of connections to a port, and which one."""
    is_tls = port.protocol in (Protocol.TLS, Protocol.HTTPS)
    item = virtual_service_for(db, scope, service.host, Part.TLS if is_tls else Part.TCP)
    if item is None:
        tcp = proxy_to(db, scope, service.host, port.number)
        if tcp.lookup is None:
            return None, NO_CONNECTIONS
        return None, Connections(chains=(TcpChain(server_name=service.host, tcp=tcp),))
    place = Place(scope=scope, port=port.number, labels=scope.labels)
    if not is_tls:
        return item, tcp_connections(db, place, item)
    ranges = () if service.virtual_addresses or service.headless else service.addresses
    return item, Connections(chains=tls_connections(db, place, item, ranges))


def _binds(db: Database, service: MeshService, families: Families) -> tuple[str, ...]:
    """Return the addresses that are the service's own; a headless one is reached at its endpoints.

    Those of a version of IP that clients have not are of no use to them.
    """
    addresses = service.virtual_addresses
    if service.headless:
        known = instances(db, (service.key, service.host))
        addresses = tuple(a for one in known for a in one.addresses if is_ip(a))
    return tuple(dict.fromkeys(one for one in addresses if families.has(one)))


def _anywhere(
    service: MeshService,
    port: ServicePort,
    routed: Connections,
    rest: str,
    origins: Origins,
    names: tuple[str, ...] = (),
) -> OutboundListener:
    """Return the listener on every address of the port, for a service that has none of its own.

    ``rest`` is where everybody else's connections go; ``names`` are what the service is called besides.
    """
    unknown = TcpProxy(cluster=rest)
    chains = routed.chains
    is_tls = port.protocol in (Protocol.TLS, Protocol.HTTPS)
    if routed.rest and not (is_tls and chains):
        own = [
            TcpChain(server_name=name, cidr=cidr, tcp=routed.rest)
            for name in ((service.host, *names) if is_tls else ("",))
            for cidr in service.addresses or ("",)
            if name or cidr
        ]
        taken = {(chain.server_name, chain.cidr) for chain in chains}
        chains += tuple(chain for chain in own if (chain.server_name, chain.cidr) not in taken)
    takes_rest = bool(routed.rest) and not is_tls and not service.addresses
    sniff = port.protocol is Protocol.UNSET
    return OutboundListener(
        bind=ANY_ADDRESS,
        port=port.number,
        routes=own_table(service, port) if sniff else "",
        sniff=sniff,
        chains=chains,
        tcp=routed.rest if routed.rest and takes_rest else unknown,
        takes_rest=takes_rest,
        origins=origins,
    )


def socket_listeners(
    db: Database, key: tuple[Scope, str]
) -> Iterator[tuple[OutboundListener, RouteTable | None]]:
    """Yield the Unix sockets behind which a host is, those of HTTP with their route configuration.

    A host without HTTP is there with its first port.
    """
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return
    for entry in sockets_for(db, scope, service):
        if any(is_shared(service, port) for port in service.ports):
            table = replace(shared_table(db, 0, scope.unknown), name=entry.bind, by_port=True)
            listener = replace(
                shared_listener(db, 0), routes=entry.bind, by_request=looked_up(scope, service)
            )
            yield placed(scope, listener, entry), table
        elif port := next((p for p in service.ports if p.protocol is not Protocol.UDP), None):
            routed = Connections(rest=proxy_to(db, scope, host, port.number))
            everyones = replace(service, addresses=())
            listener = _anywhere(everyones, port, routed, BLACK_HOLE_CLUSTER, (service.key,))
            yield placed(scope, listener, entry), None


@query
def own_tables(db: Database, key: tuple[Scope, str]) -> tuple[RouteTable, ...]:
    """Return the route configurations that a host has for itself: those of sniffed ports."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    rules = rule_for(db, key).origins
    return tuple(
        RouteTable(
            name=own_table(service, port),
            catch_all=CatchAll.NONE,
            origins=(service.key, *rules),
        )
        for port in _own_ports(db, scope, service)
        if port.protocol is Protocol.UNSET
    )
