"""Sidecars: which one holds for a workload, and how much of the mesh is seen by it.

The oldest that selects the workload by its labels wins over the oldest of its whole namespace, and that over
the oldest of the root namespace (Istio, Sidecar). What is not imported is not there for its proxies: hosts
by ``namespace/host``, VirtualServices by their own namespace and hosts. Where an imported VirtualService
sends requests, the clusters are there too, and no more of that host.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.meta import Labels, selects, visible_from
from mizzen.model.proxy import Scope
from mizzen.model.routing import VirtualService
from mizzen.model.sidecar import ANY_NAMESPACE, Egress, Import, Sidecar
from mizzen.names import (
    BLACK_HOLE_CLUSTER,
    MESH_GATEWAY,
    PASSTHROUGH_CLUSTER,
    host_matches,
    outbound_cluster,
    resolve_host,
)
from mizzen.resolve.world import OBJECT, ROUTES_TO, SIDECARS_IN, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.names import ObjectKey


class Reach(Enum):
    """How much of a host is there for the proxies of a scope."""

    NOTHING = "nothing"
    CLUSTERS = "clusters"
    EVERYTHING = "everything"


@query
def sidecars_in(db: Database, namespace: str) -> tuple[Sidecar, ...]:
    """Return a namespace's Sidecars, the oldest first."""
    found = (OBJECT(db, key) for key in SIDECARS_IN(db, namespace))
    sidecars = [item for item in found if isinstance(item, Sidecar)]
    return tuple(sorted(sidecars, key=lambda item: item.meta.age_rank))


def sidecar_for(db: Database, namespace: str, labels: Labels) -> Sidecar | None:
    """Return the Sidecar of a workload; None where there is none, and everything is seen."""
    own = sidecars_in(db, namespace)
    chosen = (item for item in own if item.selector and selects(item.selector, labels))
    general = (item for item in own if not item.selector)
    of_mesh = (i for i in sidecars_in(db, settings(db).root_namespace) if not i.selector)
    for found in (chosen, general, of_mesh):
        if (item := next(found, None)) is not None:
            return item
    return None


@query
def scope_of(db: Database, key: tuple[str, Labels]) -> Scope:
    """Return how a workload (namespace, labels) sees the mesh; its own labels are left out."""
    namespace, labels = key
    item = sidecar_for(db, namespace, labels)
    if item is None:
        return Scope(namespace=namespace)
    return Scope(
        namespace=namespace,
        sidecar=item.meta.key if item.egress else None,
        unknown=_unknown(db, item),
    )


def _unknown(db: Database, item: Sidecar) -> str:
    """Return where unknown destinations go; empty where that is as for the whole mesh."""
    policy = item.outbound
    if policy is None:
        return ""
    if (proxy := policy.egress_proxy) is not None:
        return outbound_cluster(proxy.port, proxy.subset, proxy.host)
    if policy.registry_only == settings(db).registry_only:
        return ""
    return BLACK_HOLE_CLUSTER if policy.registry_only else PASSTHROUGH_CLUSTER


def egress(db: Database, scope: Scope) -> tuple[Egress, ...]:
    """Return what a scope's Sidecar says of destinations; nothing where everything is seen."""
    if scope.sidecar is None:
        return ()
    if not scope.captured:
        return uncaptured_egress(db, scope.sidecar)
    item = OBJECT(db, scope.sidecar)
    return item.egress if isinstance(item, Sidecar) else ()


@query
def uncaptured_egress(db: Database, key: ObjectKey) -> tuple[Egress, ...]:
    """Return what a Sidecar says of destinations where nothing is captured: its ``captureMode`` is NONE."""
    item = OBJECT(db, key)
    entries = item.egress if isinstance(item, Sidecar) else ()
    return tuple(replace(entry, captured=False) for entry in entries)


def seeing_everything(scope: Scope) -> Scope:
    """Return a scope as it is without its Sidecar."""
    return replace(scope, sidecar=None, captured=True)


def imports(db: Database, scope: Scope, namespace: str, host: str) -> bool:
    """Tell whether a host of a namespace is imported, on whatever port."""
    if scope.sidecar is None:
        return True
    return any(admits(entry.hosts, namespace, host) for entry in egress(db, scope))


def imports_port(db: Database, scope: Scope, namespace: str, host: str, port: int) -> bool:
    """Tell whether a host of a namespace is imported on a port.

    Entries for the port say it alone; what they do not name is not there on that port.
    """
    if scope.sidecar is None:
        return True
    entries = egress(db, scope)
    named = [entry for entry in entries if entry.port == port]
    entries_for = named or [entry for entry in entries if entry.port is None]
    return any(admits(entry.hosts, namespace, host) for entry in entries_for)


def admits(hosts: tuple[Import, ...], namespace: str, host: str) -> bool:
    """Tell whether a list of imports has a host of a namespace."""
    found = [entry for entry in hosts if _covers(entry, namespace, host)]
    return bool(found) and not any(entry.excluded for entry in found)


def _covers(entry: Import, namespace: str, host: str) -> bool:
    if entry.namespace not in (ANY_NAMESPACE, namespace):
        return False
    return host_matches(entry.host, host) or (not entry.excluded and host_matches(host, entry.host))


def imports_route(db: Database, scope: Scope, item: VirtualService) -> bool:
    """Tell whether a VirtualService is imported: one of its hosts is, of its own namespace."""
    if scope.sidecar is None:
        return True
    namespace, domain = item.meta.namespace, settings(db).domain
    return any(
        imports(db, scope, namespace, resolve_host(host, namespace, domain)) for host in item.hosts
    )


def is_sent_to(db: Database, scope: Scope, host: str) -> bool:
    """Tell whether requests come to a host by an imported VirtualService, or as the egress proxy."""
    item = OBJECT(db, scope.sidecar) if scope.sidecar is not None else None
    policy = item.outbound if isinstance(item, Sidecar) else None
    if policy is not None and policy.egress_proxy and policy.egress_proxy.host == host:
        return True
    return any(_is_imported(db, scope, route) for route in _routes_to(db, scope, host))


def _routes_to(db: Database, scope: Scope, host: str) -> Iterator[VirtualService]:
    for key in ROUTES_TO(db, host):
        item = OBJECT(db, key)
        if isinstance(item, VirtualService) and visible_from(
            scope.namespace, owner=item.meta.namespace, export_to=item.export_to
        ):
            yield item


def _is_imported(db: Database, scope: Scope, item: VirtualService) -> bool:
    """Tell whether a VirtualService is imported; a delegate is by its namespace, having no hosts."""
    if item.hosts:
        return MESH_GATEWAY in item.gateways and imports_route(db, scope, item)
    entries = (entry for listener in egress(db, scope) for entry in listener.hosts)
    wanted = (ANY_NAMESPACE, item.meta.namespace)
    return any(entry.namespace in wanted and not entry.excluded for entry in entries)
