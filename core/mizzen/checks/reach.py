"""Rules of a VirtualService that nothing ever reaches: others come before them, or no port is theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks.destinations import hosts_of, ports_of_mesh
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.meta import NO_LABELS
from mizzen.model.proxy import Scope
from mizzen.model.routing import ConnectionMatch, HttpMatch, Part, VirtualService
from mizzen.names import MESH_GATEWAY
from mizzen.resolve.matching import request_match, takes_everything

if TYPE_CHECKING:
    from mizzen.engine import Database

_SPOKEN: Final = {Part.HTTP: "HTTP", Part.TLS: "TLS or HTTPS", Part.TCP: "TCP"}


def check(db: Database, item: VirtualService) -> Found:
    """Yield the rules that nothing reaches."""
    yield from _after_everything(item)
    yield from _after_every_connection(item)
    yield from _after_the_same_names(item)
    if item.gateways == (MESH_GATEWAY,) and item.hosts:
        yield from _without_port(db, item)


def _after_everything(item: VirtualService) -> Found:
    taken: int | None = None
    for number, rule in enumerate(item.http):
        if taken is not None:
            message = f"spec.http[{taken}] takes every request before it"
            yield finding(codes.UNREACHABLE_RULE, item.meta, f"spec.http[{number}]", message)
        elif rule.delegate is not None:
            continue  # what it takes is for the delegate to say
        elif not rule.match or any(_takes_everyone(match) for match in rule.match):
            taken = number


def _takes_everyone(match: HttpMatch) -> bool:
    """Tell whether a match holds for every request of every client, wherever it comes in."""
    return _is_for_everyone(match) and takes_everything(request_match(match))


def _is_for_everyone(match: HttpMatch | ConnectionMatch) -> bool:
    anywhere = match.port is None and not match.gateways
    return anywhere and match.source_labels == NO_LABELS and not match.source_namespace


def _after_every_connection(item: VirtualService) -> Found:
    taken: int | None = None
    for number, rule in enumerate(item.tcp):
        if taken is not None:
            message = f"spec.tcp[{taken}] takes every connection before it"
            yield finding(codes.UNREACHABLE_RULE, item.meta, f"spec.tcp[{number}]", message)
        elif not rule.match or any(_takes_all_bytes(match) for match in rule.match):
            taken = number


def _takes_all_bytes(match: ConnectionMatch) -> bool:
    return _is_for_everyone(match) and not match.destination_subnets


def _after_the_same_names(item: VirtualService) -> Found:
    taken: dict[str, int] = {}
    for number, rule in enumerate(item.tls):
        names = {name for match in rule.match for name in match.sni_hosts}
        if names and names <= taken.keys():
            before = listed(f"spec.tls[{rule}]" for rule in sorted({taken[n] for n in names}))
            message = f"{before} takes {listed(sorted(names))} before it"
            yield finding(codes.UNREACHABLE_RULE, item.meta, f"spec.tls[{number}]", message)
        for match in rule.match:
            if _takes_all_bytes(match):
                taken |= {name: number for name in match.sni_hosts if name not in taken}


def _without_port(db: Database, item: VirtualService) -> Found:
    """Yield the parts for which none of the services that the hosts mean has a port."""
    scope = Scope(namespace=item.meta.namespace)
    hosts = hosts_of(db, item)
    for part in Part:
        if item.has(part) and not any(ports_of_mesh(db, scope, host, part) for host in hosts):
            message = f"no service of {listed(hosts)} has a port of {_SPOKEN[part]}"
            yield finding(codes.RULES_WITHOUT_PORT, item.meta, f"spec.{part}", message)
