"""RequestAuthentication: which tokens are valid for a workload.

All policies that select a workload hold together: those of the mesh and those of its namespace. A token
has to be of one of the issuers; a request without one passes (Istio, RequestAuthentication).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import TokenIssuers
from mizzen.model.security import IssuerKeys, RequestAuthentication, issuer_meta
from mizzen.resolve.asked import scope_of_workload
from mizzen.resolve.key_servers import key_server
from mizzen.resolve.targets import NO_SERVICES, holds
from mizzen.resolve.world import OBJECT, TOKEN_POLICIES_IN, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.ir import Upstream
    from mizzen.model.proxy import Workload
    from mizzen.model.security import JwtRule
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
    rules = [told(db, rule) for policy in policies for rule in policy.rules]
    places = dict.fromkeys(rule.jwks_uri for rule in rules if rule.jwks_uri and not rule.jwks)
    servers = _servers(db, places, workload, gateway=gateway) if places else {}
    own = {one.name: one for _, one in servers.values() if one is not None}
    return TokenIssuers(
        rules=tuple(sorted(rules, key=lambda rule: rule.issuer)),
        sources=tuple(sorted((place, cluster) for place, (cluster, _) in servers.items())),
        servers=tuple(own[name] for name in sorted(own)),
        origins=tuple(policy.meta.key for policy in policies if policy.rules),
    )


def told(db: Database, rule: JwtRule) -> JwtRule:
    """Return a rule with the place of the keys that its issuer tells, where nothing else is written."""
    if not rule.is_to_be_asked:
        return rule
    found = OBJECT(db, issuer_meta(rule.issuer).key)
    return replace(rule, jwks_uri=found.jwks_uri) if isinstance(found, IssuerKeys) else rule


def _servers(
    db: Database, places: Iterable[str], workload: Workload, *, gateway: bool
) -> dict[str, tuple[str, Upstream | None]]:
    """Return, by place of keys, the cluster that leads there, and what it is if it is of their own."""
    scope = scope_of_workload(db, workload, gateway=gateway)
    found = {place: key_server(db, scope, place) for place in places}
    return {place: server for place, server in found.items() if server[0]}
