"""Endpoints that are used by where their clients are: a table for each scope and each place.

They stand apart from what all clients of a scope share, so that a rule about places makes nothing else anew,
and so that clients in many places share everything but these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.bundle import EMPTY_TABLE, Entry, Table
from mizzen.engine import Fold, query
from mizzen.model.place import Whereabouts
from mizzen.model.proxy import NodeInfo, ProxyClass, ProxyKind, Scope
from mizzen.passed import PASSED_TABLES, passed_resources
from mizzen.render.endpoint import render_endpoints
from mizzen.resolve.endpoints import EdsCluster
from mizzen.resolve.localities import placed_group, priority_labels
from mizzen.resolve.passing import Passing, passing_of
from mizzen.resolve.proxies import proxy_class, whereabouts
from mizzen.tables import SCOPE_TABLES, Near, differ, host_resources

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
    near = [*near_hosts(db, proxies.scope).keys.values()]
    if proxies.kind is ProxyKind.ROUTER and (passing := passing_of(db, proxies.workload)):
        near += near_hosts(db, passing).keys.values()
    if not near:
        return proxies
    asked_for: frozenset[str] = frozenset().union(*near)
    return replace(proxies, where=whereabouts(db, node).only(asked_for))


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
        placed_entry(db, (cluster, where.only(priority_labels(cluster.locality))))
        for cluster in _near_clusters(db, scope, host)
        if cluster.locality is not None
    )


def _near_clusters(db: Database, scope: Scope | Passing, host: str) -> tuple[EdsCluster, ...]:
    if isinstance(scope, Passing):
        return passed_resources(db, (scope, host)).near
    return host_resources(db, (scope, host)).near


def _apply_entries(table: Table, changes: NearChanges) -> Table:
    updates: dict[str, Entry | None] = {}
    for old, new in changes.values():
        differ(old or (), new or (), updates)
    return table.updated(updates)


NEAR_ENDPOINTS: Fold[Placed, str, tuple[Entry, ...], Table] = Fold(
    "near endpoints", near_members, near_entries, EMPTY_TABLE, _apply_entries
)
