"""A router's listeners: HTTP by route configurations, TLS by its server names, TCP to one destination.

What VirtualServices ask for of addresses and sources is not asked on a gateway (Istio: ``l4SingleMatch``).
A server of TCP or TLS that no VirtualService routes does not listen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import GatewayListener, TcpChain
from mizzen.model.proxy import Workload
from mizzen.model.traffic import Gateway, Server, ServerKind
from mizzen.resolve.authentication import tokens_for
from mizzen.resolve.authorization import authorization_for
from mizzen.resolve.connections import applies_at_gateway, proxy_of
from mizzen.resolve.gateways import (
    Servers,
    bound_to,
    gateway_keys,
    place_of,
    route_name,
    servers_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.names import ObjectKey


@query
def gateway_listeners(db: Database, workload: Workload) -> tuple[GatewayListener, ...]:
    """Return the listeners of a router."""
    found = (_listener(db, workload, place, servers) for place, servers in servers_of(db, workload))
    return tuple(listener for listener in found if listener)


def _listener(
    db: Database, workload: Workload, place: tuple[str, int], servers: Servers
) -> GatewayListener | None:
    empty = GatewayListener(
        bind=place[0],
        port=place[1],
        authorization=authorization_for(db, workload, gateway=True),
        tokens=tokens_for(db, workload, gateway=True),
        origins=gateway_keys(servers),
    )
    match servers[0][1].kind:
        case ServerKind.HTTP:
            return replace(empty, routes=route_name(*place))
        case ServerKind.PASSTHROUGH:
            return _by_server_name(db, workload, servers, empty)
        case ServerKind.TCP:
            return _bytes(db, workload, servers[0], empty)


def _by_server_name(
    db: Database, workload: Workload, servers: Servers, empty: GatewayListener
) -> GatewayListener | None:
    chains: dict[str, TcpChain] = {}
    origins = list(empty.origins)
    for gateway, server in servers:
        for key, name, chain in _named(db, workload, gateway, server):
            if name not in chains:
                chains[name] = chain
                origins.append(key)
    if not chains:
        return None
    return replace(empty, chains=tuple(chains.values()), origins=tuple(dict.fromkeys(origins)))


def _named(
    db: Database, workload: Workload, gateway: Gateway, server: Server
) -> Iterator[tuple[ObjectKey, str, TcpChain]]:
    """Yield the server names that VirtualServices route, each with its chain and whose it is."""
    place = place_of(workload, gateway, server)
    for item in bound_to(db, workload.namespace, gateway, server):
        for rule in item.tls:
            matches = [m for m in rule.match if applies_at_gateway(place, item, m)]
            tcp = proxy_of(db, place, item, rule.route)
            for name in (name for match in matches for name in match.sni_hosts):
                asked = "" if name == "*" else name
                yield item.meta.key, name, TcpChain(server_name=asked, tls=not asked, tcp=tcp)


def _bytes(
    db: Database, workload: Workload, entry: tuple[Gateway, Server], empty: GatewayListener
) -> GatewayListener | None:
    place = place_of(workload, *entry)
    for item in bound_to(db, workload.namespace, *entry):
        for rule in item.tcp:
            if not rule.match or any(applies_at_gateway(place, item, m) for m in rule.match):
                tcp = proxy_of(db, place, item, rule.route)
                return replace(empty, tcp=tcp, origins=(*empty.origins, item.meta.key))
    return None
