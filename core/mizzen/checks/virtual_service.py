"""VirtualService: gateways, destinations, rules that nothing reaches, hosts that two want."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks import delegates
from mizzen.checks.findings import Found, finding, listed, why_unknown
from mizzen.model.kube import Protocol
from mizzen.model.meta import visible_from
from mizzen.model.proxy import Scope
from mizzen.model.routing import Destination, HttpMatch, HttpRoute, VirtualService
from mizzen.model.traffic import Gateway
from mizzen.names import MESH_GATEWAY, ObjectKey, is_wildcard, resolve_host
from mizzen.resolve.choice import contenders, virtual_service_for
from mizzen.resolve.domains import BARE_PORT, hosts_under
from mizzen.resolve.gateways import shared_hosts
from mizzen.resolve.matching import request_match, takes_everything
from mizzen.resolve.rules import rule_for
from mizzen.resolve.services import service_at
from mizzen.resolve.world import OBJECT, gateway_name, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.resolve.services import MeshService


def check(db: Database, item: VirtualService) -> Found:
    """Yield what a VirtualService gets wrong."""
    yield from _gateways(db, item)
    for number, rule in enumerate(item.http):
        for place, weighted in enumerate(rule.route):
            path = f"spec.http[{number}].route[{place}].destination"
            yield from _destination(db, item, rule, weighted.destination, path)
        for mirror in rule.mirrors:
            path = f"spec.http[{number}].{mirror.path}"
            yield from _destination(db, item, rule, mirror.destination, path)
    yield from delegates.check(db, item)
    yield from _unreachable(item)
    if MESH_GATEWAY in item.gateways:
        yield from _host_conflicts(db, item)


def _hosts(db: Database, item: VirtualService) -> list[str]:
    return [resolve_host(h, item.meta.namespace, settings(db).domain) for h in item.hosts]


def _gateways(db: Database, item: VirtualService) -> Found:
    for number, name in enumerate(item.gateways):
        if name == MESH_GATEWAY:
            continue
        full = gateway_name(name, item.meta.namespace)
        gateway = _gateway(db, item, name)
        path = f"spec.gateways[{number}]"
        if gateway is None:
            message = f"there is no Gateway {full}"
            yield finding(codes.UNKNOWN_GATEWAY, item.meta, path, message)
        elif gateway.servers and not _served(db, item, gateway):
            namespace = item.meta.namespace
            message = f"no server of Gateway {full} takes {listed(item.hosts)} from {namespace}"
            yield finding(codes.SERVED_BY_NO_ROUTE, item.meta, path, message)


def _gateway(db: Database, item: VirtualService, name: str) -> Gateway | None:
    namespace, _, bare = gateway_name(name, item.meta.namespace).partition("/")
    found = OBJECT(db, ObjectKey(item.meta.registry, "Gateway", namespace, bare))
    return found if isinstance(found, Gateway) else None


def _served(db: Database, item: VirtualService, gateway: Gateway) -> set[int]:
    """Return the ports of the servers that take some host of a VirtualService."""
    return {
        server.port.number
        for server in gateway.servers
        if any(shared_hosts(gateway, server, item, host) for host in _hosts(db, item))
    }


def _destination(
    db: Database, item: VirtualService, rule: HttpRoute, destination: Destination, path: str
) -> Found:
    host = resolve_host(destination.host, item.meta.namespace, settings(db).domain)
    scope = Scope(namespace=item.meta.namespace)
    service = service_at(db, scope, host)
    if service is None:
        message = why_unknown(db, scope, host)
        yield finding(codes.UNKNOWN_HOST, item.meta, f"{path}.host", message)
        return
    yield from _destination_port(db, item, rule, service, destination, path)
    subsets = rule_for(db, (scope, host))
    if destination.subset and subsets.subset(destination.subset) is None:
        known = listed(s.name for s in subsets.subsets) or "none"
        message = f"{host} has no subset {destination.subset!r}; known: {known}"
        yield finding(codes.UNKNOWN_SUBSET, item.meta, f"{path}.subset", message)


def _destination_port(
    db: Database,
    item: VirtualService,
    rule: HttpRoute,
    service: MeshService,
    destination: Destination,
    path: str,
) -> Found:
    numbers = [port.number for port in service.ports if port.protocol is not Protocol.UDP]
    if destination.port is not None and destination.port not in numbers:
        message = f"{service.host} has no port {destination.port}; known: {listed(numbers)}"
        yield finding(codes.UNKNOWN_PORT, item.meta, f"{path}.port.number", message)
    elif destination.port is None and len(service.ports) > 1:
        lost = sorted(set(_listening(db, item, rule)) - set(numbers))
        if lost:
            message = (
                f"{service.host} has the ports {listed(numbers)} and none is chosen; "
                f"requests that come on {listed(lost)} go to a port that it does not have"
            )
            yield finding(codes.AMBIGUOUS_PORT, item.meta, f"{path}.port", message)


def _listening(db: Database, item: VirtualService, rule: HttpRoute) -> Iterator[int]:
    """Return the ports on which a rule's requests may come."""
    for name in item.gateways:
        for port in _ports_at(db, item, name):
            if not rule.match or any(_may_match(m, item, name, port) for m in rule.match):
                yield port


def _ports_at(db: Database, item: VirtualService, name: str) -> set[int]:
    if name != MESH_GATEWAY:
        gateway = _gateway(db, item, name)
        return _served(db, item, gateway) if gateway else set()
    scope = Scope(namespace=item.meta.namespace)
    return {port for host in _hosts(db, item) for port in _mesh_ports(db, scope, host)}


def _mesh_ports(db: Database, scope: Scope, host: str) -> set[int]:
    """Return the ports of the services that a host of a VirtualService means."""
    hosts = sorted(hosts_under(db, host)) if is_wildcard(host) else [host]
    found = (service_at(db, scope, one) for one in hosts)
    services = [service for service in found if service]
    if not services:
        return {BARE_PORT}
    return {
        port.number
        for service in services
        for port in service.ports
        if port.protocol.is_http or port.protocol is Protocol.UNSET
    }


def _may_match(match: HttpMatch, item: VirtualService, gateway: str, port: int) -> bool:
    namespace = item.meta.namespace
    named = {g if g == MESH_GATEWAY else gateway_name(g, namespace) for g in match.gateways}
    here = gateway if gateway == MESH_GATEWAY else gateway_name(gateway, namespace)
    return match.port in (None, port) and (not named or here in named)


def _unreachable(item: VirtualService) -> Found:
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
    anywhere = match.port is None and not match.gateways
    anyone = not match.source_labels and not match.source_namespace
    return anywhere and anyone and takes_everything(request_match(match))


def _host_conflicts(db: Database, item: VirtualService) -> Found:
    """Name the winner on the loser, and the loser on the winner."""
    for number, host in enumerate(_hosts(db, item)):
        message = _conflict(db, item, host)
        if message:
            yield finding(codes.HOST_CONFLICT, item.meta, f"spec.hosts[{number}]", message)


def _conflict(db: Database, item: VirtualService, host: str) -> str:
    won: dict[ObjectKey, str] = {}
    for rival in contenders(db, host):
        if rival.meta.key == item.meta.key or host not in _hosts(db, rival):
            continue
        for viewer in _common_viewers(item, rival):
            winner = virtual_service_for(db, Scope(namespace=viewer), host)
            where = _where(item, rival, viewer)
            if winner is not None and winner.meta.key == rival.meta.key:
                return f"{host} is routed by {rival.meta.key}{where}, {_reason(rival, item)}"
            if winner is not None and winner.meta.key == item.meta.key:
                won[rival.meta.key] = where
    if not won:
        return ""
    losers = listed(f"{key}{where}" for key, where in won.items())
    return f"{host} is routed by this one, and not by {losers}"


def _common_viewers(one: VirtualService, other: VirtualService) -> list[str]:
    """Return namespaces that stand for those who see both."""
    viewers = dict.fromkeys((_viewer(one), _viewer(other)))
    return [viewer for viewer in viewers if _is_visible(one, viewer) and _is_visible(other, viewer)]


def _where(one: VirtualService, other: VirtualService, viewer: str) -> str:
    everywhere = "*" in one.export_to and "*" in other.export_to
    return "" if everywhere else f" in {viewer}"


def _viewer(item: VirtualService) -> str:
    """Return a namespace that sees a VirtualService: its own, or else the first it is exported to."""
    own = item.meta.namespace
    return own if _is_visible(item, own) else item.export_to[0]


def _is_visible(item: VirtualService, namespace: str) -> bool:
    return visible_from(namespace, owner=item.meta.namespace, export_to=item.export_to)


def _reason(winner: VirtualService, loser: VirtualService) -> str:
    if ("*" in loser.export_to) and "*" not in winner.export_to:
        return "which is exported less widely"
    return "which goes first by age and name"
