"""VirtualService: gateways, destinations, rules that nothing reaches, hosts that two want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks import alternatives, delegates, reach, shared_routes
from mizzen.checks.destinations import Asked, check_destination, gateway_of, hosts_of, served_by
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.meta import visible_from
from mizzen.model.proxy import Scope
from mizzen.model.routing import Part, VirtualService
from mizzen.names import MESH_GATEWAY, ObjectKey
from mizzen.resolve.aliases import real_host
from mizzen.resolve.choice import contenders, virtual_service_for
from mizzen.resolve.world import gateway_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway


def check(db: Database, item: VirtualService) -> Found:
    """Yield what a VirtualService gets wrong."""
    yield from _gateways(db, item)
    for number, rule in enumerate(item.http):
        asked = Asked(part=Part.HTTP, match=rule.match)
        for place, weighted in enumerate(rule.route):
            path = f"spec.http[{number}].route[{place}].destination"
            yield from check_destination(db, item, asked, weighted.destination, path)
        for mirror in rule.mirrors:
            path = f"spec.http[{number}].{mirror.path}"
            yield from check_destination(db, item, asked, mirror.destination, path)
    yield from _connections(db, item)
    yield from delegates.check(db, item)
    yield from alternatives.check(db, item)
    yield from reach.check(db, item)
    yield from shared_routes.check(db, item)
    if MESH_GATEWAY in item.gateways:
        yield from _other_names(db, item)
        yield from _host_conflicts(db, item)


def _connections(db: Database, item: VirtualService) -> Found:
    for part, rules in ((Part.TLS, item.tls), (Part.TCP, item.tcp)):
        for number, rule in enumerate(rules):
            asked = Asked(part=part, match=rule.match)
            for place, weighted in enumerate(rule.route):
                path = f"spec.{part}[{number}].route[{place}].destination"
                yield from check_destination(db, item, asked, weighted.destination, path)


def _gateways(db: Database, item: VirtualService) -> Found:
    for number, name in enumerate(item.gateways):
        if name == MESH_GATEWAY:
            continue
        full = gateway_name(name, item.meta.namespace)
        gateway = gateway_of(db, item, name)
        path = f"spec.gateways[{number}]"
        if gateway is None:
            message = f"there is no Gateway {full}"
            yield finding(codes.UNKNOWN_GATEWAY, item.meta, path, message)
        elif gateway.servers and not _is_served(db, item, gateway):
            namespace = item.meta.namespace
            message = f"no server of Gateway {full} takes {listed(item.hosts)} from {namespace}"
            yield finding(codes.SERVED_BY_NO_ROUTE, item.meta, path, message)


def _is_served(db: Database, item: VirtualService, gateway: Gateway) -> bool:
    return any(item.has(part) and served_by(db, item, gateway, part) for part in Part)


def _other_names(db: Database, item: VirtualService) -> Found:
    """Yield the hosts that are but another name of one: rules are the one's business."""
    for number, host in enumerate(hosts_of(db, item)):
        if (real := real_host(db, host)) != host:
            message = (
                f"{host} is but another name of {real} (ExternalName), whose rules hold for it"
            )
            path = f"spec.hosts[{number}]"
            yield finding(codes.NO_EFFECT, item.meta, path, message, f"Write {real} instead.")


def _host_conflicts(db: Database, item: VirtualService) -> Found:
    """Name the winner on the loser, and the loser on the winner."""
    for number, host in enumerate(hosts_of(db, item)):
        message = _conflict(db, item, host)
        if message:
            yield finding(codes.HOST_CONFLICT, item.meta, f"spec.hosts[{number}]", message)


def _conflict(db: Database, item: VirtualService, host: str) -> str:
    won: dict[ObjectKey, str] = {}
    for rival in contenders(db, host):
        if rival.meta.key == item.meta.key or host not in hosts_of(db, rival):
            continue
        for viewer, part in _contested(item, rival):
            winner = virtual_service_for(db, Scope(namespace=viewer), host, part)
            where = _where(item, rival, viewer)
            if winner is not None and winner.meta.key == rival.meta.key:
                return f"{host} is routed by {rival.meta.key}{where}, {_reason(rival, item)}"
            if winner is not None and winner.meta.key == item.meta.key:
                won[rival.meta.key] = where
    if not won:
        return ""
    losers = listed(f"{key}{where}" for key, where in won.items())
    return f"{host} is routed by this one, and not by {losers}"


def _contested(one: VirtualService, other: VirtualService) -> Iterator[tuple[str, Part]]:
    """Return where two VirtualServices contend: who sees both, and of which part both have rules."""
    for viewer in _common_viewers(one, other):
        yield from ((viewer, part) for part in Part if one.has(part) and other.has(part))


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
