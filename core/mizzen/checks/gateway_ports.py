"""Gateways whose servers contend for a router's port: one kind of them gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.proxy import Workload
from mizzen.resolve.gateways import in_force, offered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway, Server
    from mizzen.model.meta import Labels
    from mizzen.resolve.gateways import Servers


def check(db: Database, item: Gateway, routers: Iterable[tuple[str, Labels]]) -> Found:
    """Yield the servers of a Gateway that others keep from a port, or that keep others from one.

    ``routers`` are namespaces and labels of what the Gateway selects.
    """
    told: dict[int, str] = {}
    for namespace, labels in routers:
        for (_, port), servers in offered(db, Workload(namespace=namespace, labels=labels)):
            for number, message in _verdicts(item, port, servers):
                told.setdefault(number, message)
    for number in sorted(told):
        path = f"spec.servers[{number}].port"
        yield finding(codes.CONTENDED_PORT, item.meta, path, told[number])


def _verdicts(item: Gateway, port: int, servers: Servers) -> Iterable[tuple[int, str]]:
    kept = list(in_force(servers))
    lost = [entry for entry in servers if entry not in kept]
    first, winner = servers[0]
    for gateway, server in lost:
        if gateway.meta.key == item.meta.key:
            message = f"port {port} has {winner.kind} by {first.meta.key}, which goes first"
            yield _number(item, server), message
    if lost and first.meta.key == item.meta.key:
        losers = listed(dict.fromkeys(gateway.meta.key for gateway, _ in lost))
        yield _number(item, winner), f"port {port} has {winner.kind} by this one, not by {losers}"


def _number(item: Gateway, server: Server) -> int:
    return item.servers.index(server)
