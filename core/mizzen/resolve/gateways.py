"""Gateways: on which ports a router listens, for which hosts, and which VirtualServices route them.

A Gateway selects routers by their labels, in whatever namespace they run; several may meet on one router,
and their servers on one port share a route configuration. VirtualServices of one host are merged, the
oldest first, with routes for every request at the end (Istio, Gateway).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import (
    CatchAll,
    Origins,
    Route,
    RouteTable,
    VirtualHost,
)
from mizzen.model.gateway import Gateway, Server, ServerKind
from mizzen.model.meta import selects, visible_from
from mizzen.model.proxy import Workload
from mizzen.model.routing import VirtualService
from mizzen.names import covering_hosts, host_matches
from mizzen.resolve.binding import ANY_ADDRESS
from mizzen.resolve.delegates import keys_of
from mizzen.resolve.inbound import served_ports
from mizzen.resolve.matching import Place, routes_of, takes_everything
from mizzen.resolve.rules import gateway_scope
from mizzen.resolve.world import GATEWAYS, OBJECT, ROUTES_AT_GATEWAY

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.names import ObjectKey


@query
def gateways_of(db: Database, workload: Workload) -> tuple[Gateway, ...]:
    """Return the Gateways that select a router, the oldest first."""
    found = (OBJECT(db, key) for key in GATEWAYS(db, ""))
    chosen = [
        item
        for item in found
        if isinstance(item, Gateway) and selects(item.selector, workload.labels)
    ]
    return tuple(sorted(chosen, key=lambda item: item.meta.age_rank))


Servers = tuple[tuple[Gateway, Server], ...]


@query
def offered(db: Database, workload: Workload) -> tuple[tuple[tuple[str, int], Servers], ...]:
    """Return what Gateways ask of a router by (bind, its own port), sorted; the oldest first."""
    own_ports = {p.service_port.number: p.port for p in served_ports(db, workload)}
    found: dict[tuple[str, int], list[tuple[Gateway, Server]]] = {}
    for gateway in gateways_of(db, workload):
        for server in gateway.servers:
            # A server names the port of the router's Service; the router listens on its target port.
            port = own_ports.get(server.port.number, server.port.number)
            found.setdefault((server.bind or ANY_ADDRESS, port), []).append((gateway, server))
    return tuple((place, tuple(found[place])) for place in sorted(found))


@query
def servers_of(db: Database, workload: Workload) -> tuple[tuple[tuple[str, int], Servers], ...]:
    """Return the servers of a router that are in force, by (bind, its own port), sorted."""
    return tuple((place, tuple(in_force(servers))) for place, servers in offered(db, workload))


def in_force(servers: Servers) -> Iterator[tuple[Gateway, Server]]:
    """Return the servers of one port that go together: those of the first one's kind; of TCP that alone."""
    kind = servers[0][1].kind
    if kind is ServerKind.TCP:
        yield servers[0]
        return
    yield from (entry for entry in servers if entry[1].kind is kind)


@query
def http_tables(db: Database, workload: Workload) -> tuple[tuple[str, Servers], ...]:
    """Return the route configurations of a router by name, sorted, each with the servers that share it.

    Plain servers of a port share one; one that ends TLS has its own, as its connections are its own.
    """
    found: dict[str, Servers] = {}
    for (bind, port), servers in servers_of(db, workload):
        if servers[0][1].kind is ServerKind.HTTP:
            found[route_name(bind, port)] = servers
        for gateway, server in servers:
            if server.kind is ServerKind.TLS and server.carries_http:
                found.setdefault(https_route_name(gateway, server), ((gateway, server),))
    return tuple((name, found[name]) for name in sorted(found))


@query
def servers_behind(db: Database, key: tuple[Workload, str]) -> Servers:
    """Return the servers that share a route configuration: (workload, name)."""
    workload, name = key
    return dict(http_tables(db, workload)).get(name, ())


def route_name(bind: str, port: int) -> str:
    """Return Istio's name of the route configuration of a port's plain servers."""
    return f"http.{port}" if bind == ANY_ADDRESS else f"http.{port}.{bind}"


def https_route_name(gateway: Gateway, server: Server) -> str:
    """Return Istio's name of the route configuration of a server that ends TLS."""
    port = server.port
    name = f"https.{port.number}.{port.name}.{gateway.meta.name}.{gateway.meta.namespace}"
    return f"{name}.{server.bind}" if server.bind else name


@query
def gateway_tables(db: Database, workload: Workload) -> tuple[RouteTable, ...]:
    """Return the heads of a router's route configurations; unknown hosts get a 404."""
    return tuple(
        RouteTable(name=name, catch_all=CatchAll.NOT_FOUND, origins=gateway_keys(servers))
        for name, servers in http_tables(db, workload)
    )


def gateway_keys(servers: Servers) -> Origins:
    """Return the keys of the Gateways that servers are of."""
    return tuple(dict.fromkeys(gateway.meta.key for gateway, _ in servers))


@query
def gateway_hosts(db: Database, workload: Workload) -> frozenset[tuple[str, str]]:
    """Return (route configuration, host) of everything that could be a virtual host of a router.

    Which VirtualServices really stand behind a host is left to :func:`gateway_virtual_host`, so that a
    changed VirtualService touches its own hosts alone.
    """
    bound: dict[str, list[str]] = {}
    for name, host in ROUTES_AT_GATEWAY.all_keys(db):
        bound.setdefault(name, []).append(host)
    found = set()
    for table, servers in http_tables(db, workload):
        for gateway, server in servers:
            hosts = {c for h in bound.get(_name(gateway), ()) for c in _overlaps(server, h)}
            if server.https_redirect:
                hosts |= {host for _namespace, host in server_hosts(server)}
            found |= {(table, host) for host in hosts}
    return frozenset(found)


def _name(gateway: Gateway) -> str:
    return f"{gateway.meta.namespace}/{gateway.meta.name}"


def _split(server_host: str) -> tuple[str, str]:
    """Return namespace (empty for any) and host of an entry of ``servers[].hosts``."""
    namespace, slash, host = server_host.rpartition("/")
    return (namespace if slash and namespace != "*" else "", host.lower())


def server_hosts(server: Server) -> Iterator[tuple[str, str]]:
    """Return namespace (empty for any) and host of the entries of ``servers[].hosts``."""
    return (_split(entry) for entry in server.hosts)


def _overlaps(server: Server, host: str) -> Iterator[str]:
    """Return the hosts that a server and a VirtualService's host have in common."""
    for _namespace, pattern in server_hosts(server):
        if host_matches(pattern, host):
            yield host
        elif host_matches(host, pattern):
            yield pattern


def admits(gateway: Gateway, server: Server, item: VirtualService, host: str) -> bool:
    """Tell whether a server takes a VirtualService for one of the hosts that they have in common."""
    owner = item.meta.namespace
    for namespace, pattern in server_hosts(server):
        wanted = gateway.meta.namespace if namespace == "." else namespace
        if wanted in ("", owner) and host_matches(pattern, host):
            return True
    return False


def shared_hosts(gateway: Gateway, server: Server, item: VirtualService, host: str) -> list[str]:
    """Return what a server has in common with one host of a VirtualService that it takes."""
    return [one for one in _overlaps(server, host) if admits(gateway, server, item, one)]


@query
def gateway_virtual_host(db: Database, key: tuple[Workload, tuple[str, str]]) -> VirtualHost | None:
    """Return one virtual host of a router: (workload, (route configuration, host))."""
    workload, (table, host) = key
    servers = servers_behind(db, (workload, table))
    routed = _routed(db, workload.namespace, servers, host)
    routes = [
        route
        for item, gateway, server in routed
        for route in routes_of(db, place_of(db, workload, gateway, server), item)
    ]
    redirected = [g for g, s in servers if s.https_redirect and _has_host(s, host)]
    if not routes and not redirected:
        return None
    origins = [k for item, gateway, _ in routed for k in (*keys_of(db, item), gateway.meta.key)]
    return VirtualHost(
        route_configuration=table,
        host=host,
        domains=(host,),
        routes=_catch_all_last(routes),
        redirect_to_https=bool(redirected),
        origins=tuple(dict.fromkeys((*origins, *(g.meta.key for g in redirected)))),
    )


def place_of(db: Database, workload: Workload, gateway: Gateway, server: Server) -> Place:
    """Return where the rules for a server of a router are made for."""
    return Place(
        scope=gateway_scope(db, workload),
        port=server.port.number,
        labels=workload.labels,
        gateway=_name(gateway),
    )


def _routed(
    db: Database, seen_from: str, servers: Servers, host: str
) -> list[tuple[VirtualService, Gateway, Server]]:
    """Return the VirtualServices of a host that a router's namespace sees, the oldest first, each once."""
    found: dict[ObjectKey, tuple[VirtualService, Gateway, Server]] = {}
    for gateway, server in servers:
        for pattern in covering_hosts(host):
            if host not in _overlaps(server, pattern):
                continue
            for key in ROUTES_AT_GATEWAY(db, (_name(gateway), pattern)):
                item = OBJECT(db, key)
                if not isinstance(item, VirtualService):
                    continue
                if _is_visible(item, seen_from) and admits(gateway, server, item, host):
                    found.setdefault(key, (item, gateway, server))
    return sorted(found.values(), key=lambda entry: entry[0].meta.age_rank)


def _is_visible(item: VirtualService, namespace: str) -> bool:
    return visible_from(namespace, owner=item.meta.namespace, export_to=item.export_to)


def bound_to(
    db: Database, seen_from: str, gateway: Gateway, server: Server
) -> list[VirtualService]:
    """Return the VirtualServices that a server takes for some host, the oldest first, each once."""
    found: dict[ObjectKey, VirtualService] = {}
    for name, pattern in ROUTES_AT_GATEWAY.all_keys(db):
        if name != _name(gateway):
            continue
        for key in ROUTES_AT_GATEWAY(db, (name, pattern)):
            item = OBJECT(db, key)
            if not isinstance(item, VirtualService) or not _is_visible(item, seen_from):
                continue
            if shared_hosts(gateway, server, item, pattern):
                found[key] = item
    return sorted(found.values(), key=lambda item: item.meta.age_rank)


def _has_host(server: Server, host: str) -> bool:
    return any(host_matches(pattern, host) for _namespace, pattern in server_hosts(server))


def _catch_all_last(routes: list[Route]) -> tuple[Route, ...]:
    """Move the first route for every request to the end; further ones could never be reached."""
    general = [route for route in routes if takes_everything(route.match)]
    special = [route for route in routes if not takes_everything(route.match)]
    return (*special, *general[:1])
