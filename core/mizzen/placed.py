"""Endpoints that are used by where their clients are: a table for each scope and each place.

They stand apart from what all clients of a scope share, so that a rule about places makes nothing else anew,
and so that clients in many places share everything but these. Among them are a proxy's fellows, its local
cluster: all of a kind at one place share it, and it is empty for as long as none of their hosts is one that
they keep to zones for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.bundle import EMPTY_TABLE, Entry, Table
from mizzen.engine import Fold, query
from mizzen.ir import EndpointGroup
from mizzen.model.destination import LocalityLb, ZoneLb
from mizzen.model.meta import Labels, shared_labels
from mizzen.model.place import Whereabouts
from mizzen.model.proxy import NodeInfo, ProxyClass, ProxyKind, Scope
from mizzen.names import LOCAL_CLUSTER
from mizzen.near import Near
from mizzen.passed import PASSED_TABLES, passed_resources
from mizzen.render.endpoint import render_endpoints
from mizzen.resolve.endpoints import EdsCluster
from mizzen.resolve.fellows import fellow_group
from mizzen.resolve.localities import placed_group, priority_labels
from mizzen.resolve.passing import Passing, passing_of
from mizzen.resolve.proxies import proxy_class, whereabouts
from mizzen.tables import SCOPE_TABLES, differ, host_resources

if TYPE_CHECKING:
    from mizzen.engine import Database

Placed = tuple[Scope | Passing, Whereabouts]
NearChanges = Mapping[str, tuple[tuple[Entry, ...] | None, tuple[Entry, ...] | None]]


@query
def near_hosts(db: Database, scope: Scope | Passing) -> Near:
    """Return the hosts of a scope whose endpoints depend on the client's place."""
    if isinstance(scope, Passing):
        return PASSED_TABLES(db, scope).near
    return SCOPE_TABLES(db, scope).near


@query
def placed_class(db: Database, node: NodeInfo) -> ProxyClass:
    """Return the class of a proxy, with where it is if that makes a difference to it."""
    proxies = proxy_class(db, node)
    found = (near_hosts(db, view) for view in _views(db, proxies))
    near = [one for one in found if one.keys]
    if not near:
        return proxies
    names = (names for one in near for names in one.keys.values())
    asked_for: frozenset[str] = frozenset().union(*names)
    zones = any(one.zones for one in near)
    return replace(proxies, where=whereabouts(db, node).only(asked_for, zones=zones))


def _views(db: Database, proxies: ProxyClass) -> tuple[Scope | Passing, ...]:
    """Return how a class sees the mesh, and what it passes on, if it does."""
    passing = passing_for(db, proxies)
    return (proxies.scope,) if passing is None else (proxies.scope, passing)


def passing_for(db: Database, proxies: ProxyClass) -> Passing | None:
    """Return what a class of routers passes mutual TLS on to; None where it does not."""
    if proxies.kind is not ProxyKind.ROUTER:
        return None
    found = passing_of(db, proxies.workload)
    if found is None or not proxies.scope.zones:
        return found
    return replace(found, scope=replace(found.scope, zones=True))


@query
def near_members(db: Database, key: Placed) -> frozenset[str]:
    """Return the hosts that a place's table is made of."""
    return frozenset(near_hosts(db, key[0]).keys)


@query
def placed_entry(db: Database, key: tuple[EdsCluster, Whereabouts]) -> Entry:
    """Return the load assignment of a cluster for clients at a place, encoded."""
    group = placed_group(db, key)
    return Entry(render_endpoints(group), origins=group.origins)


@query
def near_entries(db: Database, key: tuple[Placed, str]) -> tuple[Entry, ...]:
    """Return the load assignments of a host for clients at a place, encoded."""
    (scope, where), host = key
    return tuple(
        placed_entry(db, (cluster, _as_asked_by(where, cluster.locality)))
        for cluster in _near_clusters(db, scope, host)
        if cluster.locality is not None
    )


def _near_clusters(db: Database, scope: Scope | Passing, host: str) -> tuple[EdsCluster, ...]:
    if isinstance(scope, Passing):
        return passed_resources(db, (scope, host)).near
    return host_resources(db, (scope, host)).near


def _as_asked_by(where: Whereabouts, setting: LocalityLb | ZoneLb) -> Whereabouts:
    return where.only(priority_labels(setting), zones=isinstance(setting, ZoneLb))


@query
def _nobody(_db: Database, _key: str) -> Table:
    """Return the local cluster of those who do not need it: without endpoints, since Envoy waits for it."""
    return _local_table(EndpointGroup(cluster=LOCAL_CLUSTER))


@query
def _fellows(db: Database, key: tuple[str, Labels, Whereabouts]) -> Table:
    """Return the local cluster of all workloads of a kind that are at one place."""
    return _local_table(fellow_group(db, key))


def _local_table(group: EndpointGroup) -> Table:
    made = render_endpoints(group)
    return Table({made.name: Entry(made)})


def local_tables(db: Database, proxies: ProxyClass) -> tuple[Table, ...]:
    """Return the endpoints of a class's local cluster; nothing where its proxies have none."""
    if not proxies.scope.zones:
        return ()
    if not any(_keeps_to_zones(db, scope) for scope in _views(db, proxies)):
        return (_nobody(db, ""),)
    labels = shared_labels(proxies.workload.labels)
    where = proxies.where.only(frozenset(), zones=True)
    return (_fellows(db, (proxies.workload.namespace, labels, where)),)


@query
def _keeps_to_zones(db: Database, scope: Scope | Passing) -> bool:
    """Tell whether there is a host, seen so, for which proxies keep to their zones."""
    return bool(near_hosts(db, scope).zones)


def _apply_entries(table: Table, changes: NearChanges) -> Table:
    updates: dict[str, Entry | None] = {}
    for old, new in changes.values():
        differ(old or (), new or (), updates)
    return table.updated(updates)


NEAR_ENDPOINTS: Fold[Placed, str, tuple[Entry, ...], Table] = Fold(
    "near endpoints", near_members, near_entries, EMPTY_TABLE, _apply_entries
)
