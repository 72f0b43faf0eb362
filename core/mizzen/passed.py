"""The tables of what routers pass mutual TLS on to: one for all routers that see the same and pass on the same.

They stand apart from the tables of a scope, so that a router with a server of AUTO_PASSTHROUGH shares all else
with those that have none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.bundle import Entry
from mizzen.engine import Fold, query
from mizzen.names import host_matches
from mizzen.render.cluster import render_upstream
from mizzen.render.endpoint import render_endpoints
from mizzen.resolve.endpoints import endpoint_group
from mizzen.resolve.passing import Passing, passed_eds_clusters, passed_upstreams
from mizzen.resolve.routes import viewer
from mizzen.resolve.world import SERVICES_AT_HOST
from mizzen.tables import NOTHING, HostResources, ScopeTables, with_changes

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Scope


@query
def _all_hosts(db: Database, _key: Passing) -> frozenset[str]:
    return SERVICES_AT_HOST.all_keys(db)


@query
def passed_resources(db: Database, key: tuple[Passing, str]) -> HostResources:
    """Return what a host adds to what a router passes mutual TLS on to."""
    passing, host = key
    if not any(host_matches(pattern, host) for pattern in passing.hosts):
        return NOTHING
    scope = passing.scope
    seen_by = viewer(db, (replace(scope, zones=False) if scope.zones else scope, host))
    near = (one for one in passed_eds_clusters(db, (seen_by, host)) if one.locality is not None)
    return HostResources(
        clusters=passed_clusters(db, ((seen_by, host), scope.zones)),
        endpoints=passed_endpoints(db, (seen_by, host)),
        near=tuple(near),
    )


@query
def passed_clusters(db: Database, key: tuple[tuple[Scope, str], bool]) -> tuple[Entry, ...]:
    """Return the clusters to which mutual TLS for a host goes on, encoded; true where zones count."""
    seen, zones = key
    return tuple(
        Entry(render_upstream(one, zones=zones), origins=one.origins)
        for one in passed_upstreams(db, seen)
    )


@query
def passed_endpoints(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the load assignments of these clusters that all routers use alike, encoded."""
    alike = (one for one in passed_eds_clusters(db, key) if one.locality is None)
    groups = (endpoint_group(db, cluster) for cluster in alike)
    return tuple(Entry(render_endpoints(group), origins=group.origins) for group in groups)


PASSED_TABLES: Fold[Passing, str, HostResources, ScopeTables] = Fold(
    "passed tables", _all_hosts, passed_resources, ScopeTables(), with_changes
)
