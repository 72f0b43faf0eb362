"""A sidecar's virtual hosts: for each HTTP port of each host that it sees, who is meant and what is done.

A host that no VirtualService routes gets a route to its own cluster.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import Forward, Route, VirtualHost
from mizzen.model.kube import Protocol
from mizzen.model.meta import Labels
from mizzen.model.proxy import Scope
from mizzen.resolve.aliases import aliases
from mizzen.resolve.allocation import allocated
from mizzen.resolve.choice import (
    contenders,
    destinations,
    is_visible,
    tells_apart,
    virtual_service_for,
)
from mizzen.resolve.delegates import keys_of
from mizzen.resolve.domains import BARE_PORT, bare_routes, domains, neighbours
from mizzen.resolve.listeners import is_seen, is_shared, own_table
from mizzen.resolve.matching import Place, default_route, routes_of
from mizzen.resolve.places import is_elsewhere, sockets_for
from mizzen.resolve.rules import client_labels, has_own_rules, rule_for, uses_credentials
from mizzen.resolve.services import (
    MeshService,
    candidates,
    imported,
    is_public,
    seen_from,
    service_at,
    written,
)
from mizzen.resolve.sidecars import Reach, imports, is_sent_to, seeing_everything

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.kube import ServicePort


@query
def viewer(db: Database, key: tuple[Scope, str]) -> Scope:
    """Return the scope that stands for all those who see a host's clusters and routes alike.

    It is the public scope (no namespace) unless something is written for, or in, the viewer's own
    namespace; so namespaces that see the same share every byte of it.
    """
    scope, host = key
    dns = scope.dns and bool(allocated(db, host))
    credentials = scope.credentials and uses_credentials(db, key)
    labels = client_labels(db, key)
    own = replace(scope, labels=labels, dns=dns, credentials=credentials, captured=True)
    if scope.sidecar is not None:
        if _sees_clusters_as_others(db, scope, host):
            return viewer(db, (seeing_everything(scope), host))
        return own
    public = Scope(namespace="", gateway=scope.gateway, dns=dns, families=scope.families)
    owners = {service.namespace for service in written(db, host)}
    if own.credentials or not is_public(db, host) or has_own_rules(db, (scope.namespace, host)):
        return own
    return own if scope.namespace in owners else public


@query
def route_viewer(db: Database, key: tuple[Scope, str]) -> Scope:
    """Return the scope that stands for all those who see a host's virtual hosts alike.

    What a VirtualService sends to counts as well as the host itself, and so do the hosts with which it
    may have to share its names; ``sourceLabels`` make the viewer's labels matter.
    """
    scope, host = key
    near = neighbours(db, host)
    ahead = {d for item in contenders(db, host) for d in destinations(db, item)}
    told_apart = any(tells_apart(db, one) for one in (host, *near))
    if scope.sidecar is not None:
        whole = all(sees_as_others(db, (scope, one)) for one in (host, *sorted(near)))
        if whole and all(_sees_clusters_as_others(db, scope, one) for one in sorted(ahead)):
            return route_viewer(db, (seeing_everything(scope), host))
        return scope if told_apart else _for_rules(db, scope, {host, *near, *ahead})
    if told_apart:
        return scope
    hosts = {host, *near, *ahead}
    viewers = [viewer(db, (scope, one)) for one in sorted(hosts)]
    dns = any(one.dns for one in viewers)
    if scope.namespace in {one.namespace for one in viewers}:
        return replace(_for_rules(db, scope, hosts), dns=dns)
    return replace(viewer(db, key), dns=dns)


def _for_rules(db: Database, scope: Scope, hosts: set[str]) -> Scope:
    """Return a scope with the labels alone by which rules for some hosts choose clients."""
    if not scope.labels:
        return scope
    asked_for = {pair for host in sorted(hosts) for pair in client_labels(db, (scope, host))}
    return replace(scope, labels=Labels(tuple(p for p in scope.labels if p in asked_for)))


def _sees_clusters_as_others(db: Database, scope: Scope, host: str) -> bool:
    """Tell whether a Sidecar leaves a host what it is for those who see everything."""
    seen = imported(db, scope, host)
    return not seen or seen == seen_from(scope, candidates(db, host))


@query
def sees_as_others(db: Database, key: tuple[Scope, str]) -> bool:
    """Tell whether a Sidecar takes nothing from a host: no service, no port, no VirtualService, no name."""
    scope, host = key
    services = seen_from(scope, candidates(db, host))
    names = [one for one in seen_from(scope, written(db, host)) if not one.resolved]
    if not all(imports(db, scope, one.namespace, host) for one in names):
        return False
    ports = all(is_seen(db, scope, one, port) for one in services for port in one.ports)
    if any(is_elsewhere(db, scope, one) for one in services):
        return False
    open_to_all = seeing_everything(scope)
    routes = (item for item in contenders(db, host) if is_visible(db, item, open_to_all))
    return ports and all(is_visible(db, item, scope) for item in routes)


def reach(db: Database, key: tuple[Scope, str]) -> Reach:
    """Tell how much of a host is there for the proxies of a scope."""
    scope, host = key
    if scope.sidecar is None or imported(db, scope, host):
        return Reach.EVERYTHING
    if not seen_from(scope, candidates(db, host)) and any(
        is_visible(db, item, scope) for item in contenders(db, host)
    ):
        return Reach.EVERYTHING
    called = (host, *(alias.host for alias in aliases(db, host)))
    sent_to = any(is_sent_to(db, scope, name) for name in called)
    return Reach.CLUSTERS if sent_to else Reach.NOTHING


@query
def listener_viewer(db: Database, key: tuple[Scope, str]) -> Scope:
    """Return the scope that stands for all those who see a host's listeners alike."""
    scope, host = key
    if scope.sidecar is not None and not sees_as_others(db, key):
        return scope
    rules = any(item.tls or item.tcp for item in contenders(db, host))
    return route_viewer(db, key) if rules or aliases(db, host) else viewer(db, key)


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
    spoken = [p for p in service.ports if p.protocol.is_http or p.protocol is Protocol.UNSET]
    own = (
        _virtual_host(db, scope, service, port)
        for port in spoken
        if is_seen(db, scope, service, port)
    )
    shared = [port for port in spoken if is_shared(service, port)]
    behind = (
        _behind_socket(host, entry.bind, port.number, bare=port is shared[0])
        for entry in sockets_for(db, scope, service)
        for port in shared
        for host in (_virtual_host(db, scope, service, port),)
    )
    return (*own, *behind)


def _behind_socket(host: VirtualHost, socket: str, port: int, *, bare: bool) -> VirtualHost:
    """Return a virtual host as it stands behind a Unix socket, where the Host header says the port.

    ``bare`` has the names without a port too.
    """
    with_port = tuple(f"{name}:{port}" for name in host.domains)
    return replace(
        host,
        route_configuration=socket,
        host=f"{host.host}:{port}",
        domains=(*with_port, *host.domains) if bare else with_port,
    )


def _virtual_host(
    db: Database, scope: Scope, service: MeshService, port: ServicePort
) -> VirtualHost:
    item = virtual_service_for(db, scope, service.host)
    place = Place(scope=scope, port=port.number, labels=scope.labels)
    routes = routes_of(db, place, item) if item else ()
    if not routes:
        # None of the rules is for this port or these clients, or they are not about HTTP.
        routes = (default_route(db, (scope, service.host, port.number)),)
    rules = rule_for(db, (scope, service.host)).origins
    shared = is_shared(service, port)
    return VirtualHost(
        route_configuration=str(port.number) if shared else own_table(service, port),
        host=service.host,
        domains=domains(db, scope, service, port.number) if shared else ("*",),
        routes=routes,
        origins=(service.key, *(keys_of(db, item) if item else ()), *rules),
    )


def _without_service(db: Database, scope: Scope, host: str) -> tuple[VirtualHost, ...]:
    """Return the virtual host of a VirtualService's host that no service has."""
    routes = bare_routes(db, (scope, host))
    item = virtual_service_for(db, scope, host)
    if not routes or item is None:
        return ()
    return (
        VirtualHost(
            route_configuration=str(BARE_PORT),
            host=host,
            domains=(host,),
            routes=routes,
            origins=keys_of(db, item),
        ),
    )


def required_clusters(routes: tuple[Route, ...]) -> frozenset[str]:
    """Return the clusters that routes send to, copies included."""
    forwards = [route.action for route in routes if isinstance(route.action, Forward)]
    targets = {target.cluster for forward in forwards for target in forward.targets}
    return frozenset(targets | {copy.cluster for forward in forwards for copy in forward.copies})
