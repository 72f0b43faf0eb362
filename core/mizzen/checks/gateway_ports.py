"""Gateways whose servers contend for a router's port, or for a server name there: the oldest gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.engine import query
from mizzen.model.gateway import Gateway, Server, ServerKind
from mizzen.model.proxy import Workload
from mizzen.resolve.gateways import in_force, offered, server_hosts
from mizzen.resolve.passing import server_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.engine import Database
    from mizzen.model.meta import Labels
    from mizzen.names import ObjectKey
    from mizzen.resolve.gateways import Servers

_PORT: Final = "port"
_HOSTS: Final = "hosts"
_CODES: Final = {_PORT: codes.CONTENDED_PORT, _HOSTS: codes.SHADOWED_SERVER}

# Of which Gateway; the number of its server; the field that it is about; and what is said.
_Verdict = tuple["ObjectKey", int, str, str]
_Told = tuple[tuple[int, str, str], ...]


def check(db: Database, item: Gateway, routers: Iterable[tuple[str, Labels]]) -> Found:
    """Yield the servers of a Gateway that others keep from something, or that keep others from it.

    ``routers`` are namespaces and labels of what the Gateway selects.
    """
    told: dict[tuple[int, str], str] = {}
    for namespace, labels in routers:
        router = Workload(namespace=namespace, labels=labels)
        for number, field, message in _told_of(db, (router, item.meta.key)):
            told.setdefault((number, field), message)
    # Ports before hosts: who has no port has no hosts either.
    for number, field in sorted(told, key=lambda place: (place[1] != _PORT, place[0])):
        path = f"spec.servers[{number}].{field}"
        yield finding(_CODES[field], item.meta, path, told[number, field])


@query
def _told_of(db: Database, key: tuple[Workload, ObjectKey]) -> _Told:
    """Return what is said of one Gateway's servers on a router; only who it is about depends on it."""
    router, gateway = key
    return _verdicts(db, router).get(gateway, ())


@query
def _verdicts(db: Database, router: Workload) -> Mapping[ObjectKey, _Told]:
    """Return what is said of all Gateways of a router: found once, however many they are."""
    found: dict[ObjectKey, list[tuple[int, str, str]]] = {}
    for (_, port), servers in offered(db, router):
        for gateway, number, field, message in (
            *_contended(port, servers),
            *_shadowed(port, servers),
        ):
            found.setdefault(gateway, []).append((number, field, message))
    return {gateway: tuple(found[gateway]) for gateway in sorted(found)}


def _contended(port: int, servers: Servers) -> Iterator[_Verdict]:
    """Yield the servers of a port that are not in force, and the first one, which keeps them from it."""
    first, winner = servers[0]
    kept = {id(entry) for entry in in_force(servers)}
    lost = [entry for entry in servers if id(entry) not in kept]
    for gateway, server in lost:
        message = f"port {port} has {winner.kind} by {first.meta.key}, which goes first"
        yield _verdict(gateway, server, _PORT, message)
    if lost:
        losers = listed(dict.fromkeys(gateway.meta.key for gateway, _ in lost))
        message = f"port {port} has {winner.kind} by this one, not by {losers}"
        yield _verdict(first, winner, _PORT, message)


def _shadowed(port: int, servers: Servers) -> Iterator[_Verdict]:
    """Yield the servers that want the same host for their TLS, with the winner's name on both."""
    wanted: dict[str, list[tuple[Gateway, Server]]] = {}
    for gateway, server in in_force(servers):
        for name in _names(server):
            wanted.setdefault(name, []).append((gateway, server))
    for host, ((winner, first), *rivals) in wanted.items():
        # Of two that send on what says itself where it goes, none keeps the other from anything.
        losers = [one for one in rivals if not (first.is_automatic and one[1].is_automatic)]
        for gateway, server in losers:
            message = f"{host} on port {port} is of {winner.meta.key}, which goes first"
            yield _verdict(gateway, server, _HOSTS, message)
        if losers:
            names = listed(dict.fromkeys(gateway.meta.key for gateway, _ in losers))
            message = f"{host} on port {port} is of this server, not of {names}"
            yield _verdict(winner, first, _HOSTS, message)


def _names(server: Server) -> tuple[str, ...]:
    """Return the server names that a server wants for itself, whatever VirtualServices there are."""
    if server.is_automatic:
        return server_names(server)
    if server.kind is not ServerKind.TLS or server.passes_through:
        return ()
    return tuple(dict.fromkeys(host for _namespace, host in server_hosts(server)))


def _verdict(gateway: Gateway, server: Server, field: str, message: str) -> _Verdict:
    return gateway.meta.key, gateway.servers.index(server), field, message
