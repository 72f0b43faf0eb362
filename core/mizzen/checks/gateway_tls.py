"""Servers of a Gateway that end TLS: credentials that are not there, and server names that two want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.gateway import ServerKind
from mizzen.model.proxy import Workload
from mizzen.resolve.gateway_tls import lacking
from mizzen.resolve.gateways import in_force, offered, server_hosts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway, Server
    from mizzen.model.meta import Labels
    from mizzen.resolve.gateways import Servers


def check(db: Database, item: Gateway, routers: Iterable[tuple[str, Labels]]) -> Found:
    """Yield what is wrong with the TLS of a Gateway's servers, on any of its routers.

    ``routers`` are namespaces and labels of what the Gateway selects.
    """
    lost: dict[str, str] = {}
    shadowed: dict[str, str] = {}
    for namespace, labels in routers:
        router = Workload(namespace=namespace, labels=labels, is_known=True)
        for path, message in _lacking(db, item, router):
            lost.setdefault(path, message)
        for (_, port), servers in offered(db, router):
            for path, message in _shadowed(item, port, servers):
                shadowed.setdefault(path, message)
    for path in sorted(lost):
        yield finding(codes.UNKNOWN_CREDENTIAL, item.meta, path, lost[path])
    for path in sorted(shadowed):
        yield finding(codes.SHADOWED_SERVER, item.meta, path, shadowed[path])


def _lacking(db: Database, item: Gateway, router: Workload) -> Iterator[tuple[str, str]]:
    for number, server in enumerate(item.servers):
        if server.tls is not None:
            for field, message in lacking(db, router, server.tls):
                yield f"spec.servers[{number}].tls.{field}", message


def _shadowed(item: Gateway, port: int, servers: Servers) -> Iterator[tuple[str, str]]:
    """Yield the hosts that two servers of a port want, with the winner's name on both."""
    wanted: dict[str, list[tuple[Gateway, Server]]] = {}
    for gateway, server in in_force(servers):
        if server.kind is ServerKind.TLS and not server.passes_through:
            for host in dict.fromkeys(host for _namespace, host in server_hosts(server)):
                wanted.setdefault(host, []).append((gateway, server))
    for host, rivals in wanted.items():
        (winner, first), *losers = rivals
        for gateway, server in losers:
            if gateway.meta.key == item.meta.key:
                message = f"{host} on port {port} is of {winner.meta.key}, which goes first"
                yield _path(item, server), message
        if losers and winner.meta.key == item.meta.key:
            names = listed(dict.fromkeys(gateway.meta.key for gateway, _ in losers))
            yield _path(item, first), f"{host} on port {port} is of this server, not of {names}"


def _path(item: Gateway, server: Server) -> str:
    return f"spec.servers[{item.servers.index(server)}].hosts"
