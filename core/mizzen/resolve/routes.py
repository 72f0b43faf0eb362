"""A sidecar's virtual hosts: for each HTTP port of each host that it sees, who is meant and what is done.

One VirtualService routes a mesh host: the one with the most specific host pattern, and of those the most
private, then the oldest; several are never merged (Istio). A host without one gets a route to its own
cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import Forward, Route, VirtualHost
from mizzen.model.kube import Protocol, Service
from mizzen.model.meta import NO_LABELS, visible_from
from mizzen.model.proxy import Scope
from mizzen.model.traffic import ServiceEntry, VirtualService
from mizzen.names import covering_hosts, is_wildcard, resolve_host
from mizzen.resolve.matching import Place, default_route, routes_of
from mizzen.resolve.rules import has_own_rules, rule_for
from mizzen.resolve.services import MeshService, candidates, is_public, service_at
from mizzen.resolve.world import (
    OBJECT,
    ROUTES_AT_HOST,
    SERVICES_AT_ADDRESS,
    SERVICES_AT_HOST,
    settings,
)

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.names import ObjectKey

# Istio's port for virtual hosts of VirtualServices that no service stands behind.
_DEFAULT_HTTP_PORT = 80


@query
def contenders(db: Database, host: str) -> tuple[VirtualService, ...]:
    """Return the VirtualServices that could route a mesh host, the most specific and oldest first."""
    found: list[VirtualService] = []
    for pattern in covering_hosts(host):
        items = (OBJECT(db, key) for key in ROUTES_AT_HOST(db, pattern))
        at_pattern = [item for item in items if isinstance(item, VirtualService)]
        found += sorted(at_pattern, key=lambda item: item.meta.age_rank)
    # A VirtualService may name both a host and a pattern that covers it.
    return tuple({item.meta.key: item for item in reversed(found)}.values())[::-1]


def virtual_service_for(db: Database, scope: Scope, host: str) -> VirtualService | None:
    """Return the one VirtualService that routes a mesh host when seen from a scope."""
    visible = [
        item
        for item in contenders(db, host)
        if visible_from(scope.namespace, owner=item.meta.namespace, export_to=item.export_to)
    ]
    private = (i for i in visible if i.export_to == (".",))
    exported = (i for i in visible if "*" not in i.export_to)
    return next(private, next(exported, visible[0] if visible else None))


@query
def tells_apart(db: Database, host: str) -> bool:
    """Tell whether a host's VirtualServices treat some clients differently from others."""
    return any(
        item.export_to != ("*",)
        or any(m.source_labels or m.source_namespace for r in item.http for m in r.match)
        for item in contenders(db, host)
    )


def destinations(db: Database, item: VirtualService) -> Iterator[str]:
    """Return the hosts that a VirtualService sends to."""
    for rule in item.http:
        for weighted in rule.route:
            yield resolve_host(weighted.destination.host, item.meta.namespace, settings(db).domain)


@query
def viewer(db: Database, key: tuple[Scope, str]) -> Scope:
    """Return the scope that stands for all those who see a host's clusters and routes alike.

    It is the public scope (no namespace) unless something is written for, or in, the viewer's own
    namespace; so namespaces that see the same share every byte of it.
    """
    scope, host = key
    public = Scope(namespace="", gateway=scope.gateway)
    owners = {service.namespace for service in candidates(db, host)}
    if not is_public(db, host) or has_own_rules(db, (scope.namespace, host)):
        return replace(scope, labels=NO_LABELS)
    return replace(scope, labels=NO_LABELS) if scope.namespace in owners else public


@query
def route_viewer(db: Database, key: tuple[Scope, str]) -> Scope:
    """Return the scope that stands for all those who see a host's virtual hosts alike.

    What a VirtualService sends to counts as well as the host itself; its ``sourceLabels`` make the
    viewer's labels matter.
    """
    scope, host = key
    if tells_apart(db, host):
        return scope
    ahead = {d for item in contenders(db, host) for d in destinations(db, item)}
    viewers = {viewer(db, (scope, one)) for one in sorted({host, *ahead})}
    own = replace(scope, labels=NO_LABELS)
    return own if own in viewers else viewer(db, key)


@query
def virtual_hosts(db: Database, key: tuple[Scope, str]) -> tuple[VirtualHost, ...]:
    """Return a host's virtual hosts, one for each HTTP port, or for each sniffed one."""
    scope, host = key
    if host == "*":
        # The route configuration's own catch-all has this name, and Envoy takes each once.
        return ()
    service = service_at(db, scope, host)
    if service is None:
        return _without_service(db, scope, host)
    return tuple(
        _virtual_host(db, scope, service, port.number, sniffed=port.protocol is Protocol.UNSET)
        for port in service.ports
        if port.protocol.is_http or port.protocol is Protocol.UNSET
    )


def _virtual_host(
    db: Database, scope: Scope, service: MeshService, port: int, *, sniffed: bool
) -> VirtualHost:
    item = virtual_service_for(db, scope, service.host)
    place = Place(scope=scope, port=port)
    routes = routes_of(db, place, item) if item else ()
    if item is None or not item.http:
        routes = (default_route(db, (scope, service.host, port)),)
    rules = rule_for(db, (scope, service.host)).origins
    shared = bool(service.addresses) and sniffed
    return VirtualHost(
        route_configuration=f"{service.host}:{port}" if shared else str(port),
        host=service.host,
        domains=("*",) if shared else domains(db, scope, service),
        routes=routes,
        origins=(service.key, *((item.meta.key,) if item else ()), *rules),
    )


def _without_service(db: Database, scope: Scope, host: str) -> tuple[VirtualHost, ...]:
    """Return the virtual host of a VirtualService's host that no service has, on port 80 alone."""
    if SERVICES_AT_HOST(db, host):
        return ()
    item = virtual_service_for(db, scope, host)
    if item is None or not item.http:
        return ()
    return (
        VirtualHost(
            route_configuration=str(_DEFAULT_HTTP_PORT),
            host=host,
            domains=(host,),
            routes=routes_of(db, Place(scope=scope, port=_DEFAULT_HTTP_PORT), item),
            origins=(item.meta.key,),
        ),
    )


def domains(db: Database, scope: Scope, service: MeshService) -> tuple[str, ...]:
    """Return the names by which clients of a scope may call a service, the full one first.

    A Kubernetes Service has its short forms, the shortest only in its own namespace; every service has
    its addresses. A headless one also answers for its pods' names.
    """
    host = service.host
    names = [host, f"{host}."] if not is_wildcard(host) else [host]
    suffix = f".svc.{settings(db).domain}"
    if service.key.kind == "Service" and host.endswith(suffix):
        short = host.removesuffix(suffix)
        names += [f"{short}.svc", short]
        if scope.namespace == service.namespace:
            names.append(service.meta.name)
    if service.headless:
        names += [f"*.{name}" for name in names if not name.endswith(".")]
    free = [name for name in names if name == host or not _is_taken(db, name)]
    free += [_literal(address) for address in _own_addresses(db, service)]
    return tuple(dict.fromkeys(name.lower() for name in free))


def _is_taken(db: Database, name: str) -> bool:
    """Tell whether somebody has a short form as a full host: it is theirs (Envoy takes each name once)."""
    return bool(SERVICES_AT_HOST(db, name) or ROUTES_AT_HOST(db, name))


def _own_addresses(db: Database, service: MeshService) -> list[str]:
    """Return the addresses of a service that no older one has."""
    return [
        address
        for address in service.addresses
        if "/" not in address and _oldest_at(db, address) in (None, service.key)
    ]


@query
def _oldest_at(db: Database, address: str) -> ObjectKey | None:
    """Return the oldest object that has a virtual address."""
    items = (OBJECT(db, key) for key in SERVICES_AT_ADDRESS(db, address))
    found = [item for item in items if isinstance(item, Service | ServiceEntry)]
    return min(found, key=lambda item: item.meta.age_rank).meta.key if found else None


def _literal(address: str) -> str:
    """Return an address as it stands in a Host header; IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def required_clusters(routes: tuple[Route, ...]) -> frozenset[str]:
    """Return the clusters that routes send to."""
    return frozenset(
        target.cluster
        for route in routes
        if isinstance(route.action, Forward)
        for target in route.action.targets
    )
