"""Services that a proxy itself calls: those that decide of CUSTOM policies, and those that have keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.model.proxy import Scope
from mizzen.names import outbound_cluster
from mizzen.resolve.routes import reach
from mizzen.resolve.services import service_at
from mizzen.resolve.sidecars import Reach, scope_of

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.providers import Authorizer
    from mizzen.model.proxy import Workload


def scope_of_workload(db: Database, workload: Workload, *, gateway: bool) -> Scope:
    """Return how a workload's proxy sees the mesh, as far as clusters go."""
    if gateway:
        return Scope(namespace=workload.namespace, gateway=True)
    return scope_of(db, (workload.namespace, workload.labels))


def cluster_at(db: Database, scope: Scope, host: str, port: int, namespace: str = "") -> str:
    """Return the cluster through which a host's port is reached; empty where a proxy has none.

    With a namespace, the host has to be of that one's service.
    """
    service = service_at(db, scope, host)
    if service is None or service.port(port) is None:
        return ""
    if namespace not in ("", service.namespace) or reach(db, (scope, host)) is Reach.NOTHING:
        return ""
    return outbound_cluster(port, "", host)


def cluster_of(db: Database, scope: Scope, authorizer: Authorizer) -> str:
    """Return the cluster through which somebody who decides is asked; empty where there is none."""
    return cluster_at(db, scope, authorizer.host, authorizer.port, authorizer.namespace)
