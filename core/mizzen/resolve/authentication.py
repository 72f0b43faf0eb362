"""RequestAuthentication: which tokens are valid for a workload.

All policies that select a workload hold together: those of the mesh and those of its namespace. A token
has to be of one of the issuers; a request without one passes (Istio, RequestAuthentication).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import TokenIssuers
from mizzen.model.meta import selects
from mizzen.model.security import RequestAuthentication
from mizzen.resolve.world import OBJECT, TOKEN_POLICIES_IN, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Workload


@query
def policies_in(db: Database, namespace: str) -> tuple[RequestAuthentication, ...]:
    """Return the policies of a namespace that are in force, sorted by name."""
    found = (OBJECT(db, key) for key in TOKEN_POLICIES_IN(db, namespace))
    return tuple(i for i in found if isinstance(i, RequestAuthentication) and i.enforced)


def tokens_for(db: Database, workload: Workload) -> TokenIssuers:
    """Return whose tokens are valid for a workload, sorted by issuer as Istio does."""
    namespaces = dict.fromkeys((settings(db).root_namespace, workload.namespace))
    policies = [
        policy
        for namespace in namespaces
        for policy in policies_in(db, namespace)
        if selects(policy.selector, workload.labels)
    ]
    rules = [rule for policy in policies for rule in policy.rules]
    return TokenIssuers(
        rules=tuple(sorted(rules, key=lambda rule: rule.issuer)),
        origins=tuple(policy.meta.key for policy in policies if policy.rules),
    )
