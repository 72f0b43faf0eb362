"""The whole-world lint: what each object gets wrong about the others.

Findings are kept per object and follow changes like everything else: an object is looked at again only
when something that it refers to has changed. What is checked, kind by kind, stands in ``mizzen.checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mizzen.checks import destination_rule, policies, services, sidecars, virtual_service, workloads
from mizzen.diagnostics import Diagnostic
from mizzen.engine import Fold, query
from mizzen.model.gateway import Gateway
from mizzen.model.kube import Service
from mizzen.model.routing import VirtualService
from mizzen.model.security import (
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
)
from mizzen.model.sidecar import Sidecar
from mizzen.model.traffic import DestinationRule, ServiceEntry
from mizzen.names import ObjectKey
from mizzen.resolve.world import ANALYSED, OBJECT

if TYPE_CHECKING:
    from mizzen.checks.findings import Found
    from mizzen.engine import Database

# Each kind's checks; a literal tuple, so that what is checked can be read here.
_CHECKS: Final[tuple[tuple[type[Any], Callable[[Database, Any], Found]], ...]] = (
    (VirtualService, virtual_service.check),
    (DestinationRule, destination_rule.check),
    (Gateway, workloads.check_gateway),
    (Service, services.check),
    (ServiceEntry, services.check),
    (PeerAuthentication, workloads.check_peer_authentication),
    (AuthorizationPolicy, policies.check_authorization_policy),
    (RequestAuthentication, policies.check_request_authentication),
    (Sidecar, sidecars.check),
)


@query
def findings(db: Database, key: tuple[str, ObjectKey]) -> tuple[Diagnostic, ...]:
    """Return what is wrong between an object and the rest of the World; nothing once it is gone."""
    item = OBJECT(db, key[1])
    check = next((check for kind, check in _CHECKS if isinstance(item, kind)), None)
    return tuple(check(db, item)) if check else ()


@query
def analysed(db: Database, _key: str) -> frozenset[ObjectKey]:
    """Return the keys of all objects that have checks."""
    return ANALYSED.all_keys(db)


Analysis = Mapping[ObjectKey, tuple[Diagnostic, ...]]


def _apply(
    known: Analysis,
    changes: Mapping[
        ObjectKey, tuple[tuple[Diagnostic, ...] | None, tuple[Diagnostic, ...] | None]
    ],
) -> Analysis:
    updated = dict(known)
    for key, (_, new) in changes.items():
        if new:
            updated[key] = new
        else:
            updated.pop(key, None)
    return known if updated == known else updated


ANALYSIS: Final[Fold[str, ObjectKey, tuple[Diagnostic, ...], Analysis]] = Fold(
    "analysis", analysed, findings, {}, _apply
)


def analysis(db: Database) -> Analysis:
    """Return the findings of every object that has any, sorted by object."""
    found = ANALYSIS(db, "")
    return {key: found[key] for key in sorted(found)}
