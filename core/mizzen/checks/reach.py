"""Rules of a VirtualService that nothing ever reaches: others come before them, or no port is theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks.cover import covers, covers_connections, takes_all
from mizzen.checks.destinations import for_http_alone, hosts_of, ports_of_mesh
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.proxy import Scope
from mizzen.model.routing import ConnectionMatch, HttpMatch, Part, VirtualService
from mizzen.names import MESH_GATEWAY

if TYPE_CHECKING:
    from mizzen.engine import Database

_SPOKEN: Final = {Part.HTTP: "HTTP", Part.TLS: "TLS or HTTPS", Part.TCP: "TCP"}


def check(db: Database, item: VirtualService) -> Found:
    """Yield the rules that nothing reaches."""
    yield from _requests(item)
    yield from _bytes(item)
    yield from _server_names(item)
    if item.gateways == (MESH_GATEWAY,) and item.hosts:
        yield from _without_port(db, item)


def _requests(item: VirtualService) -> Found:
    """Yield rules for requests that rules before them take; on gateways rules for all go to the end."""
    in_mesh = MESH_GATEWAY in item.gateways or not item.hosts
    taken: list[tuple[int, HttpMatch]] = []
    for number, rule in enumerate(item.http):
        alternatives = rule.match or (HttpMatch(),)
        before = [
            [n for n, wide in taken if covers(wide, one) and (in_mesh or _stays(wide, one))]
            for one in alternatives
        ]
        yield from _told(item, f"spec.http[{number}]", before, Part.HTTP)
        if rule.delegate is None:  # what it takes is for the delegate to say
            taken += ((number, match) for match in alternatives)


def _stays(wide: HttpMatch, one: HttpMatch) -> bool:
    """Tell whether an alternative stays before another one on a gateway."""
    return takes_all(one) or not takes_all(wide)


def _bytes(item: VirtualService) -> Found:
    taken: list[tuple[int, ConnectionMatch]] = []
    for number, rule in enumerate(item.tcp):
        alternatives = rule.match or (ConnectionMatch(),)
        before = [[n for n, wide in taken if covers_connections(wide, one)] for one in alternatives]
        yield from _told(item, f"spec.tcp[{number}]", before, Part.TCP)
        taken += ((number, match) for match in alternatives)


def _told(item: VirtualService, path: str, before: list[list[int]], part: Part) -> Found:
    """Yield a rule that others take everything from, or the alternatives of which they do."""
    what = "requests" if part is Part.HTTP else "connections"
    if before and all(before):
        rules = listed(f"spec.{part}[{n}]" for n in sorted({found[0] for found in before}))
        message = f"{rules} takes all its {what} before it"
        yield finding(codes.UNREACHABLE_RULE, item.meta, path, message)
        return
    for number, found in enumerate(before):
        if found:
            message = f"spec.{part}[{found[0]}] takes all {what} of this alternative before it"
            yield finding(codes.UNREACHABLE_RULE, item.meta, f"{path}.match[{number}]", message)


def _server_names(item: VirtualService) -> Found:
    """Yield rules for server names that rules before them name for everybody."""
    taken: dict[str, int] = {}
    for number, rule in enumerate(item.tls):
        names = {name for match in rule.match for name in match.sni_hosts}
        if names and names <= taken.keys():
            before = listed(f"spec.tls[{rule}]" for rule in sorted({taken[n] for n in names}))
            message = f"{before} takes {listed(sorted(names))} before it"
            yield finding(codes.UNREACHABLE_RULE, item.meta, f"spec.tls[{number}]", message)
        for match in rule.match:
            if covers_connections(replace(match, sni_hosts=()), ConnectionMatch()):
                taken |= {name: number for name in match.sni_hosts if name not in taken}


def _without_port(db: Database, item: VirtualService) -> Found:
    """Yield the parts for which none of the services that the hosts mean has a port."""
    scope = Scope(namespace=item.meta.namespace)
    hosts = hosts_of(db, item)
    for part in Part:
        if part is Part.TCP and _undeclared(db, item):
            continue
        if item.has(part) and not any(ports_of_mesh(db, scope, host, part) for host in hosts):
            message = f"no service of {listed(hosts)} has a port of {_SPOKEN[part]}"
            yield finding(codes.RULES_WITHOUT_PORT, item.meta, f"spec.{part}", message)
    for number, lost in _undeclared(db, item):
        message = (
            f"port {listed(lost)} is undeclared and its service has no address:"
            " only requests are told apart there"
        )
        remedy = "Declare the port's protocol, TCP, or give the ServiceEntry addresses."
        path = f"spec.tcp[{number}]"
        yield finding(codes.RULES_WITHOUT_PORT, item.meta, path, message, remedy)


def _undeclared(db: Database, item: VirtualService) -> list[tuple[int, list[int]]]:
    """Return rules of TCP that name ports on which there is but HTTP to be told apart, with these ports."""
    scope = Scope(namespace=item.meta.namespace)
    ports = {port for host in hosts_of(db, item) for port in for_http_alone(db, scope, host)}
    named = [
        (number, sorted(ports & {match.port for match in rule.match}))
        for number, rule in enumerate(item.tcp)
    ]
    return [(number, lost) for number, lost in named if lost]
