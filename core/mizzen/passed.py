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
    alike = replace(scope, zones=False) if scope.zones else scope
    seen_by = viewer(db, (alike, host))
    return passed_host(db, (replace(seen_by, zones=True) if scope.zones else seen_by, host))


@query
def passed_host(db: Database, key: tuple[Scope, str]) -> HostResources:
    """Return the clusters to which mutual TLS for a host goes on, with their endpoints."""
    scope, host = key
    alike = (replace(scope, zones=False) if scope.zones else scope), host
    found = passed_eds_clusters(db, alike)
    groups = (endpoint_group(db, one) for one in found if one.locality is None)
    return HostResources(
        clusters=tuple(
            Entry(render_upstream(one, zones=scope.zones), origins=one.origins)
            for one in passed_upstreams(db, alike)
        ),
        endpoints=tuple(Entry(render_endpoints(one), origins=one.origins) for one in groups),
        near=tuple(one for one in found if one.locality is not None),
    )


PASSED_TABLES: Fold[Passing, str, HostResources, ScopeTables] = Fold(
    "passed tables", _all_hosts, passed_resources, ScopeTables(), with_changes
)
