"""CUSTOM policies whose provider cannot be asked: because nobody is called so, or from where it is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.proxy import Scope
from mizzen.model.security import PolicyAction
from mizzen.resolve.asked import cluster_of
from mizzen.resolve.sidecars import scope_of
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.model.meta import Labels
    from mizzen.model.providers import Authorizer
    from mizzen.model.security import AuthorizationPolicy

_PATH = "spec.provider.name"


def check(
    db: Database,
    item: AuthorizationPolicy,
    workloads: Iterable[tuple[str, Labels]],
    tcp_ports: Iterable[int],
) -> Found:
    """Yield what keeps a policy's provider from being asked; for workloads by namespace and labels."""
    if item.action is not PolicyAction.CUSTOM:
        return
    authorizer = next((a for a in settings(db).authorizers if a.name == item.provider), None)
    if authorizer is None:
        message = f"the mesh has no provider {item.provider!r}: what the rules match is denied"
        yield finding(codes.UNKNOWN_PROVIDER, item.meta, _PATH, message)
        return
    if blind := _blind(db, authorizer, item, workloads):
        message = (
            f"{authorizer.host}:{authorizer.port} is no service that {listed(blind)} can reach: "
            "what the rules match is denied"
        )
        yield finding(codes.UNKNOWN_PROVIDER, item.meta, _PATH, message)
    elif authorizer.http is not None and (ports := sorted(tcp_ports)):
        message = (
            f"{authorizer.name} is asked over HTTP, and not of connections to port {listed(ports)}"
        )
        remedy = "Use a provider that is asked over gRPC, or deny the port by a DENY policy."
        yield finding(codes.LOST_ON_TCP, item.meta, _PATH, message, remedy)


def _blind(
    db: Database,
    authorizer: Authorizer,
    item: AuthorizationPolicy,
    workloads: Iterable[tuple[str, Labels]],
) -> list[str]:
    """Return the namespaces of workloads that cannot ask; without workloads the policy's own counts."""
    scopes = {scope_of(db, one) for one in workloads} or {Scope(namespace=item.meta.namespace)}
    return sorted({s.namespace for s in scopes if not cluster_of(db, s, authorizer)})
