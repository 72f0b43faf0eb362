"""The names by which clients may call a service, and who has a name that several could have.

Envoy takes each domain once in a route configuration, and refuses all of it otherwise. A host's own name
is always its own; of the names that are made up for it (the short forms, the addresses) each goes to
whoever is really called so, and an address that services share on a port goes to the oldest of them
(Istio: ``dedupeDomains``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.model.kube import Service
from mizzen.model.traffic import ServiceEntry
from mizzen.names import host_matches, is_wildcard
from mizzen.resolve.aliases import aliases, aliases_seen
from mizzen.resolve.choice import virtual_service_for
from mizzen.resolve.listeners import http_ports
from mizzen.resolve.matching import Place, routes_of
from mizzen.resolve.services import MeshService, candidates, seen_from, service_at, written
from mizzen.resolve.world import (
    HOSTS,
    OBJECT,
    ROUTES_AT_HOST,
    SERVICES_AT_ADDRESS,
    SERVICES_AT_HOST,
    hosts_of,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.ir import Route
    from mizzen.model.proxy import Scope

BARE_PORT: Final = 80
"""Istio's one port for virtual hosts of VirtualServices that no service stands behind."""


def domains(db: Database, scope: Scope, service: MeshService, port: int) -> tuple[str, ...]:
    """Return the names by which clients of a scope may call a service on a port, the full one first.

    A Kubernetes Service has its short forms, the shortest only in its own namespace; every service has
    its addresses. A headless one also answers for its pods' names, and all for what ExternalName calls them.
    """
    own = [service.host] if is_wildcard(service.host) else [service.host, f"{service.host}."]
    near = neighbours(db, service.host)
    called = [
        *_short_forms(db, scope.namespace, service),
        *_names_of_aliases(db, scope.namespace, aliases_seen(db, scope, service.host)),
    ]
    made_up = [name for name in called if name not in near or not _is_called(db, scope, name, port)]
    addresses = [
        _literal(address)
        for address in service.virtual_addresses
        if not near or not hosts_at(db, address) or _owner(db, scope, address, port) == service.host
    ]
    return tuple(dict.fromkeys((*own, *made_up, *addresses)))


def _short_forms(db: Database, namespace: str, service: MeshService) -> list[str]:
    suffix = f".svc.{settings(db).domain}"
    names: list[str] = []
    if service.key.kind == "Service" and service.host.endswith(suffix):
        short = service.host.removesuffix(suffix)
        names = [f"{short}.svc", short]
        if namespace == service.namespace:
            names.append(service.meta.name)
    if service.headless:
        names += [f"*.{name}" for name in (service.host, *names)]
    return names


def _names_of_aliases(db: Database, namespace: str, found: Iterable[MeshService]) -> list[str]:
    return [
        name
        for alias in found
        for name in (alias.host, f"{alias.host}.", *_short_forms(db, namespace, alias))
    ]


def _literal(address: str) -> str:
    """Return an address as it stands in a Host header; IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _is_called(db: Database, scope: Scope, name: str, port: int) -> bool:
    """Tell whether a made-up name is the real one of something else on the port."""
    if port in http_ports(db, (scope, name)):
        return True
    return port == BARE_PORT and bool(bare_routes(db, (scope, name)))


def _owner(db: Database, scope: Scope, address: str, port: int) -> str:
    """Return the host that an address means on a port: the oldest of those that share it.

    On a port on which a Sidecar imports none of them they may be behind a socket, all alike.
    """
    if _is_called(db, scope, address, port):
        return address
    sharing = (service_at(db, scope, host) for host in hosts_at(db, address))
    ranked = [
        (port not in http_ports(db, (scope, service.host)), service.meta.age_rank, service.host)
        for service in sharing
        if service is not None and address in service.addresses and service.port(port) is not None
    ]
    return min(ranked)[2]


@query
def hosts_at(db: Database, address: str) -> tuple[str, ...]:
    """Return the hosts that have a virtual address, sorted."""
    found = (OBJECT(db, key) for key in SERVICES_AT_ADDRESS(db, address))
    return tuple(
        sorted(
            {
                host
                for item in found
                if isinstance(item, Service | ServiceEntry)
                for host in hosts_of(item, settings(db))
            }
        )
    )


@query
def neighbours(db: Database, host: str) -> frozenset[str]:
    """Return the other hosts on which it depends what domains a host has; mostly there are none."""
    found: set[str] = set()
    for alias in aliases(db, host):
        names = _names_of_aliases(db, alias.namespace, (alias,))
        found |= {name for name in names if HOSTS(db, name)}
    for service in candidates(db, host):
        names = [*_short_forms(db, service.namespace, service), *service.virtual_addresses]
        found |= {name for name in names if HOSTS(db, name)}
        for address in service.virtual_addresses:
            found |= set(hosts_at(db, address))
    if is_wildcard(host):
        found |= hosts_under(db, host)
    return frozenset(found - {host})


@query
def hosts_under(db: Database, pattern: str) -> frozenset[str]:
    """Return the hosts of services that a wildcard covers."""
    return frozenset(h for h in SERVICES_AT_HOST.all_keys(db) if host_matches(pattern, h))


@query
def bare_routes(db: Database, key: tuple[Scope, str]) -> tuple[Route, ...]:
    """Return the routes of a VirtualService's host that no service has, on the one port for such hosts.

    A wildcard that covers services is there for these alone.
    """
    scope, host = key
    if not ROUTES_AT_HOST(db, host) or seen_from(scope, written(db, host)):
        return ()
    if is_wildcard(host) and any(service_at(db, scope, one) for one in hosts_under(db, host)):
        return ()
    item = virtual_service_for(db, scope, host)
    place = Place(scope=scope, port=BARE_PORT, labels=scope.labels)
    return routes_of(db, place, item) if item else ()
