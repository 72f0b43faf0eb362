"""Destinations of a VirtualService's rules: hosts, subsets and ports that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed, why_unknown
from mizzen.model.gateway import Gateway, Server
from mizzen.model.kube import Protocol
from mizzen.model.proxy import Scope
from mizzen.model.routing import ConnectionMatch, Destination, HttpMatch, Part, VirtualService
from mizzen.names import MESH_GATEWAY, ObjectKey, is_wildcard, resolve_host
from mizzen.resolve.aliases import destination_host
from mizzen.resolve.domains import BARE_PORT, hosts_under
from mizzen.resolve.gateways import shared_hosts
from mizzen.resolve.listeners import is_shared
from mizzen.resolve.rules import is_subset_of_some, rule_for
from mizzen.resolve.services import service_at
from mizzen.resolve.world import OBJECT, gateway_name, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.kube import ServicePort
    from mizzen.resolve.services import MeshService


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a rule is for: its part, and its alternatives, of which none is everything."""

    part: Part
    match: tuple[HttpMatch, ...] | tuple[ConnectionMatch, ...]


def check_destination(
    db: Database, item: VirtualService, asked: Asked, destination: Destination, path: str
) -> Found:
    """Yield what is wrong with where a rule sends to."""
    host = destination_host(db, destination.host, item.meta.namespace)
    scope = Scope(namespace=item.meta.namespace)
    service = service_at(db, scope, host)
    if service is None:
        message = why_unknown(db, scope, host)
        yield finding(codes.UNKNOWN_HOST, item.meta, f"{path}.host", message)
        return
    yield from _destination_port(db, item, asked, service, destination, path)
    subsets = rule_for(db, (scope, host))
    namespace, subset = item.meta.namespace, destination.subset
    known_to_some = is_subset_of_some(db, namespace, host, subset)
    if subset and subsets.subset(subset) is None and not known_to_some:
        known = listed(s.name for s in subsets.subsets) or "none"
        message = f"{host} has no subset {destination.subset!r}; known: {known}"
        yield finding(codes.UNKNOWN_SUBSET, item.meta, f"{path}.subset", message)


def _destination_port(
    db: Database,
    item: VirtualService,
    asked: Asked,
    service: MeshService,
    destination: Destination,
    path: str,
) -> Found:
    numbers = [port.number for port in service.ports if port.protocol is not Protocol.UDP]
    if destination.port is not None and destination.port not in numbers:
        message = f"{service.host} has no port {destination.port}; known: {listed(numbers)}"
        yield finding(codes.UNKNOWN_PORT, item.meta, f"{path}.port.number", message)
    elif destination.port is None and len(service.ports) > 1:
        lost = sorted(set(_listening(db, item, asked)) - set(numbers))
        if lost:
            what = "requests" if asked.part is Part.HTTP else "connections"
            message = (
                f"{service.host} has the ports {listed(numbers)} and none is chosen; "
                f"{what} that come on {listed(lost)} go to a port that it does not have"
            )
            yield finding(codes.AMBIGUOUS_PORT, item.meta, f"{path}.port", message)


def _listening(db: Database, item: VirtualService, asked: Asked) -> Iterator[int]:
    """Return the ports on which what a rule is for may come."""
    for name in item.gateways:
        for port in ports_at(db, item, name, asked.part):
            if not asked.match or any(_may_match(m, item, name, port) for m in asked.match):
                yield port


def ports_at(db: Database, item: VirtualService, name: str, part: Part) -> set[int]:
    """Return the ports on which what a part of the rules is for comes by a gateway, or in the mesh."""
    if name != MESH_GATEWAY:
        gateway = gateway_of(db, item, name)
        return served_by(db, item, gateway, part) if gateway else set()
    scope = Scope(namespace=item.meta.namespace)
    return {port for host in hosts_of(db, item) for port in ports_of_mesh(db, scope, host, part)}


def ports_of_mesh(db: Database, scope: Scope, host: str, part: Part) -> set[int]:
    """Return the ports of the services that a host of a VirtualService means."""
    hosts = sorted(hosts_under(db, host)) if is_wildcard(host) else [host]
    found = (service_at(db, scope, one) for one in hosts)
    services = [service for service in found if service]
    if not services:
        return {BARE_PORT} if part is Part.HTTP else set()
    return {
        port.number
        for service in services
        for port in service.ports
        if _is_for(part, service, port)
    }


def for_http_alone(db: Database, scope: Scope, host: str) -> set[int]:
    """Return the undeclared ports of a service without an address: only HTTP can be told apart there."""
    service = service_at(db, scope, host)
    if service is None:
        return set()
    undeclared = (port for port in service.ports if port.protocol is Protocol.UNSET)
    return {port.number for port in undeclared if is_shared(service, port)}


def _is_for(part: Part, service: MeshService, port: ServicePort) -> bool:
    """Tell whether a port has what a part of the rules is for."""
    protocol = port.protocol
    is_tls = protocol in (Protocol.TLS, Protocol.HTTPS)
    match part:
        case Part.HTTP:
            return protocol.is_http or protocol is Protocol.UNSET
        case Part.TLS:
            return is_tls
        case Part.TCP:
            sniffed = protocol is Protocol.UNSET and not is_shared(service, port)
            return sniffed or (protocol.is_tcp and not is_tls)


def _may_match(
    match: HttpMatch | ConnectionMatch, item: VirtualService, gateway: str, port: int
) -> bool:
    namespace = item.meta.namespace
    named = {g if g == MESH_GATEWAY else gateway_name(g, namespace) for g in match.gateways}
    here = gateway if gateway == MESH_GATEWAY else gateway_name(gateway, namespace)
    return match.port in (None, port) and (not named or here in named)


def gateway_of(db: Database, item: VirtualService, name: str) -> Gateway | None:
    """Return the Gateway that a VirtualService names."""
    namespace, _, bare = gateway_name(name, item.meta.namespace).partition("/")
    found = OBJECT(db, ObjectKey(item.meta.registry, "Gateway", namespace, bare))
    return found if isinstance(found, Gateway) else None


def served_by(db: Database, item: VirtualService, gateway: Gateway, part: Part) -> set[int]:
    """Return the ports of the servers that take a part of the rules for some host of a VirtualService."""
    return {
        server.port.number
        for server in gateway.servers
        if _part_of(server) is part
        if any(shared_hosts(gateway, server, item, host) for host in hosts_of(db, item))
    }


def _part_of(server: Server) -> Part | None:
    """Return the part of the rules that a server takes: what is left of a connection where TLS has ended.

    None where connections say themselves where they go.
    """
    if server.is_automatic:
        return None
    if server.passes_through:
        return Part.TLS
    return Part.HTTP if server.carries_http else Part.TCP


def hosts_of(db: Database, item: VirtualService) -> list[str]:
    """Return the hosts of a VirtualService in full."""
    return [resolve_host(h, item.meta.namespace, settings(db).domain) for h in item.hosts]
