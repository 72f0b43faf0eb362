"""A router's listeners: HTTP by route configurations, TLS by its server names, TCP to one destination.

What VirtualServices ask for of addresses and sources is not asked on a gateway (Istio: ``l4SingleMatch``).
A server of TCP that no VirtualService routes does not listen; the other servers of its port do.

A server of TLS whose certificate is not there does not serve, and its listener says what it awaits: what served
before goes on until a Secret with another name has come, in whichever order it and the Gateway are saved. So that
there is something to wait with, a port of which nobody serves is listened on, and its connections are closed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import GatewayChain, GatewayListener
from mizzen.model.gateway import ServerKind
from mizzen.model.proxy import Workload
from mizzen.resolve.authentication import tokens_for
from mizzen.resolve.authorization import authorization_for
from mizzen.resolve.binding import facing
from mizzen.resolve.connections import applies_at_gateway, proxy_of
from mizzen.resolve.gateway_tls import awaited, tls_end
from mizzen.resolve.gateways import (
    Servers,
    bound_to,
    gateway_keys,
    https_route_name,
    place_of,
    route_name,
    server_hosts,
    servers_of,
    shared_hosts,
)
from mizzen.resolve.inbound import attached_services
from mizzen.resolve.passing import passed, server_names
from mizzen.resolve.targets import NO_SERVICES
from mizzen.resolve.world import BY_REQUEST, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.ir import TcpProxy
    from mizzen.model.gateway import Gateway, Server
    from mizzen.names import ObjectKey

# The names of some connections, empty for all others; where they go; and the objects that say so.
_Claim = tuple[tuple[str, ...], GatewayChain, "tuple[ObjectKey, ...]"]


@query
def gateway_listeners(db: Database, workload: Workload) -> tuple[GatewayListener, ...]:
    """Return the listeners of a router."""
    found = (_listener(db, workload, place, servers) for place, servers in servers_of(db, workload))
    by_request = workload.families if BY_REQUEST.all_keys(db) else None
    return tuple(
        facing(replace(listener, by_request=by_request), workload.families)
        for listener in found
        if listener
    )


def _listener(
    db: Database, workload: Workload, place: tuple[str, int], servers: Servers
) -> GatewayListener | None:
    chains: list[GatewayChain] = []
    origins = list(gateway_keys(servers))
    taken: set[str] = set()
    for names, chain, theirs in _claims(db, workload, place, servers):
        left = tuple(name for name in dict.fromkeys(names) if name not in taken)
        if left:
            taken.update(left)
            chains.append(_named(chain, left))
            origins += theirs
    awaits = _awaited(db, workload, servers)
    if not chains and not awaits:
        return None
    services = dict(attached_services(db, workload)).get(place[1], NO_SERVICES)
    return GatewayListener(
        bind=place[0],
        port=place[1],
        chains=tuple(chains) or (GatewayChain(),),
        authorization=authorization_for(db, workload, services, gateway=True),
        tokens=tokens_for(db, workload, services, gateway=True),
        paths=settings(db).paths,
        edge=workload.edge,
        awaits=awaits,
        origins=tuple(dict.fromkeys(origins)),
    )


def _awaited(db: Database, workload: Workload, servers: Servers) -> frozenset[str]:
    """Return the names of the secrets for which servers wait."""
    ends = (server for _gateway, server in servers if server.kind is ServerKind.TLS)
    return frozenset[str]().union(*(awaited(db, workload, server) for server in ends))


def _named(chain: GatewayChain, names: tuple[str, ...]) -> GatewayChain:
    """Return a chain for some server names; ``*`` is every connection that no other chain takes."""
    return chain if "*" in names else replace(chain, server_names=names, tls=False)


def _claims(
    db: Database, workload: Workload, place: tuple[str, int], servers: Servers
) -> Iterator[_Claim]:
    """Yield what servers want of the connections of a port; the first that wants a name gets it."""
    if servers[0][1].kind is ServerKind.HTTP:
        yield ("*",), GatewayChain(routes=route_name(*place)), ()
        return
    for gateway, server in servers:
        if server.is_automatic:
            hosts = passed(server, servers)
            yield server_names(server), GatewayChain(tls=True, passing=hosts), ()
        elif server.passes_through:
            yield from _passed_through(db, workload, gateway, server)
        elif server.kind is ServerKind.TLS:
            yield from _ended(db, workload, gateway, server)
        else:
            for tcp, owner in _bytes(db, workload, gateway, server):
                yield ("*",), GatewayChain(tcp=tcp), (owner,)


def _passed_through(
    db: Database, workload: Workload, gateway: Gateway, server: Server
) -> Iterator[_Claim]:
    """Yield the server names that VirtualServices route."""
    place = place_of(db, workload, gateway, server)
    for item in bound_to(db, workload.namespace, gateway, server):
        for rule in item.tls:
            matches = [m for m in rule.match if applies_at_gateway(place, item, m)]
            tcp = proxy_of(db, place, item, rule.route)
            names = (name for match in matches for name in match.sni_hosts)
            # A rule has no more names than its server gives to its namespace, whatever it asks for.
            for name in (own for one in names for own in shared_hosts(gateway, server, item, one)):
                yield (name,), GatewayChain(tls=True, tcp=tcp), (item.meta.key,)


def _ended(db: Database, workload: Workload, gateway: Gateway, server: Server) -> Iterator[_Claim]:
    """Yield the hosts of a server that ends TLS, as far as it can."""
    end = tls_end(db, workload, server)
    if end is None:
        return
    names = tuple(host for _namespace, host in server_hosts(server))
    if server.carries_http:
        yield names, GatewayChain(end=end, routes=https_route_name(gateway, server)), ()
        return
    for tcp, owner in _bytes(db, workload, gateway, server):
        yield names, GatewayChain(end=end, tcp=tcp), (owner,)


def _bytes(
    db: Database, workload: Workload, gateway: Gateway, server: Server
) -> Iterator[tuple[TcpProxy, ObjectKey]]:
    """Yield where bytes go: where the first rule of ``tcp`` for the server says, and whose that is."""
    place = place_of(db, workload, gateway, server)
    for item in bound_to(db, workload.namespace, gateway, server):
        for rule in item.tcp:
            if not rule.match or any(applies_at_gateway(place, item, m) for m in rule.match):
                yield proxy_of(db, place, item, rule.route), item.meta.key
                return
