"""RequestAuthentication: which tokens are valid for a workload.

All policies that select a workload hold together: those of the mesh and those of its namespace. A token
has to be of one of the issuers; a request without one passes (Istio, RequestAuthentication).
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mizzen.engine import query
from mizzen.ir import TokenIssuers
from mizzen.model.security import RequestAuthentication
from mizzen.resolve.asked import cluster_at, scope_of_workload
from mizzen.resolve.targets import NO_SERVICES, holds
from mizzen.resolve.world import OBJECT, TOKEN_POLICIES_IN, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.model.proxy import Scope, Workload
    from mizzen.resolve.targets import Services


@query
def policies_in(db: Database, namespace: str) -> tuple[RequestAuthentication, ...]:
    """Return the policies of a namespace, sorted by name."""
    found = (OBJECT(db, key) for key in TOKEN_POLICIES_IN(db, namespace))
    return tuple(item for item in found if isinstance(item, RequestAuthentication))


def tokens_for(
    db: Database, workload: Workload, services: Services = NO_SERVICES, *, gateway: bool = False
) -> TokenIssuers:
    """Return whose tokens are valid for a workload, sorted by issuer as Istio does.

    On ports that services give, their policies hold too.
    """
    namespaces = dict.fromkeys((settings(db).root_namespace, workload.namespace))
    policies = [
        policy
        for namespace in namespaces
        for policy in policies_in(db, namespace)
        if holds(policy, workload, services)
    ]
    rules = [rule for policy in policies for rule in policy.rules]
    places = dict.fromkeys(rule.jwks_uri for rule in rules if rule.jwks_uri and not rule.jwks)
    return TokenIssuers(
        rules=tuple(sorted(rules, key=lambda rule: rule.issuer)),
        sources=_sources(db, places, workload, gateway=gateway) if places else (),
        origins=tuple(policy.meta.key for policy in policies if policy.rules),
    )


def _sources(
    db: Database, places: Iterable[str], workload: Workload, *, gateway: bool
) -> tuple[tuple[str, str], ...]:
    scope = scope_of_workload(db, workload, gateway=gateway)
    found = ((place, key_cluster(db, scope, place)) for place in places)
    return tuple(sorted((place, cluster) for place, cluster in found if cluster))


def key_cluster(db: Database, scope: Scope, place: str) -> str:
    """Return the cluster through which keys are fetched; empty where their host or port is not known."""
    return cluster_at(db, scope, *host_and_port(place))


def host_and_port(place: str) -> tuple[str, int]:
    """Return the host and port of an http or https URL."""
    found = urlsplit(place)
    return found.hostname or "", found.port or (443 if found.scheme == "https" else 80)
