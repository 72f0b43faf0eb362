"""DestinationRules: which one holds for a host, and what it says for a port and a subset.

Looked up in the client's namespace, then the service's, then the root namespace; the first level that has
any match wins, and within it the most specific host. Rules of one namespace for one host that are
exported alike are merged: the subsets of all, the policy of the oldest that has one (Istio,
DestinationRule). A rule with a workloadSelector is for some clients of its own namespace; the oldest that
is for a client stands alone, before those for everyone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import Origins
from mizzen.model.destination import (
    DestinationRule,
    PortPolicy,
    ProxyProtocol,
    RetryBudget,
    Subset,
    TrafficPolicy,
    Tunnel,
)
from mizzen.model.meta import NO_LABELS, Labels, selects, visible_from
from mizzen.model.proxy import Scope, Workload
from mizzen.names import covering_hosts
from mizzen.resolve.services import MeshService, candidates, service_at
from mizzen.resolve.world import (
    CLIENT_LABELS,
    CREDENTIAL_RULES_IN,
    OBJECT,
    RULES_AT_HOST,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.names import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveRule:
    """What all DestinationRules in force for a host say together; ``selected`` is one for some clients."""

    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    origins: Origins = ()
    selected: bool = False

    def subset(self, name: str) -> Subset | None:
        """Return the subset of a name."""
        return next((subset for subset in self.subsets if subset.name == name), None)


NO_RULE = EffectiveRule()


@query
def rule_for(db: Database, key: tuple[Scope, str]) -> EffectiveRule:
    """Return the rule for a host when seen from a scope; an empty one where there is none."""
    scope, host = key
    service = service_at(db, scope, host)
    for namespace in _levels(db, scope, service):
        rules = _most_specific(db, namespace, host, scope)
        if rules:
            return _merge(rules)
    return NO_RULE


def _levels(db: Database, scope: Scope, service: MeshService | None) -> Iterator[str]:
    owner = (service.namespace,) if service else ()
    yield from dict.fromkeys((scope.namespace, *owner, settings(db).root_namespace))


def _most_specific(db: Database, namespace: str, host: str, scope: Scope) -> list[DestinationRule]:
    for pattern in covering_hosts(host):
        found = (OBJECT(db, key) for key in RULES_AT_HOST(db, (namespace, pattern)))
        rules = sorted(
            (
                rule
                for rule in found
                if isinstance(rule, DestinationRule)
                and visible_from(scope.namespace, owner=namespace, export_to=rule.export_to)
            ),
            key=lambda rule: rule.meta.age_rank,
        )
        chosen = [rule for rule in rules if _chooses(rule, scope)]
        if chosen:
            return chosen[:1]
        plain = [rule for rule in rules if rule.selector is None]
        if plain:
            return [rule for rule in plain if set(rule.export_to) >= set(plain[0].export_to)]
    return []


def _chooses(rule: DestinationRule, scope: Scope) -> bool:
    """Tell whether a rule is for some clients, and those of a scope among them."""
    return rule.selector is not None and selects(rule.selector, scope.labels)


def _merge(rules: list[DestinationRule]) -> EffectiveRule:
    subsets: dict[str, Subset] = {}
    for rule in rules:
        for subset in rule.subsets:
            subsets.setdefault(subset.name, subset)
    return EffectiveRule(
        policy=next((rule.policy for rule in rules if rule.policy is not None), None),
        subsets=tuple(subsets.values()),
        origins=tuple(sorted(rule.meta.key for rule in rules)),
        selected=rules[0].selector is not None,
    )


@query
def has_own_rules(db: Database, key: tuple[str, str]) -> bool:
    """Tell whether a namespace may see a host's rules differently from everybody else: (namespace, host).

    True where it has rules of its own for the host, or where some rule is not for everyone.
    """
    namespace, host = key
    owners = {service.namespace for service in candidates(db, host)}
    if namespace not in owners and _rule_keys(db, namespace, host):
        return True
    return has_rules_for_some(db, host)


@query
def has_rules_for_some(db: Database, host: str) -> bool:
    """Tell whether some rule for a host, of its own namespaces or the root namespace, is not exported to all."""
    owners = {service.namespace for service in candidates(db, host)}
    levels = (*sorted(owners), settings(db).root_namespace)
    found = (OBJECT(db, rule) for level in levels for rule in _rule_keys(db, level, host))
    return any(
        isinstance(rule, DestinationRule) and rule.selector is None and rule.export_to != ("*",)
        for rule in found
    )


@query
def client_labels(db: Database, key: tuple[Scope, str]) -> Labels:
    """Return those of a scope's labels by which its namespace's rules for a host choose clients."""
    scope, host = key
    if not scope.labels:
        return NO_LABELS
    found = (OBJECT(db, rule) for rule in _rule_keys(db, scope.namespace, host))
    selectors = (rule.selector for rule in found if isinstance(rule, DestinationRule))
    asked_for = {pair for selector in selectors for pair in selector or ()}
    return Labels(tuple(pair for pair in scope.labels if pair in asked_for))


def is_subset_of_some(db: Database, namespace: str, host: str, name: str) -> bool:
    """Tell whether a rule for some clients of a namespace defines a subset of a host."""
    found = (OBJECT(db, key) for key in _rule_keys(db, namespace, host))
    return any(
        subset.name == name
        for rule in found
        if isinstance(rule, DestinationRule) and rule.selector is not None
        for subset in rule.subsets
    )


def gateway_scope(db: Database, workload: Workload) -> Scope:
    """Return how a router sees the mesh: no Sidecar is for it, and its routes are made for it alone anyway."""
    asked_for = CLIENT_LABELS.all_keys(db)
    labels = Labels(tuple(pair for pair in workload.labels if pair in asked_for))
    return Scope(
        namespace=workload.namespace,
        labels=labels,
        gateway=True,
        families=workload.families,
        credentials=workload.is_known and bool(CREDENTIAL_RULES_IN.all_keys(db)),
    )


def is_given_secrets(db: Database, workload: Workload) -> bool:
    """Tell whether a rule for some clients of a namespace names Secrets, and selects a workload."""
    found = (OBJECT(db, key) for key in CREDENTIAL_RULES_IN(db, workload.namespace))
    rules = (rule for rule in found if isinstance(rule, DestinationRule))
    return any(r.selector is not None and selects(r.selector, workload.labels) for r in rules)


@query
def uses_credentials(db: Database, key: tuple[Scope, str]) -> bool:
    """Tell whether some rule that may hold for a host, as seen from a scope, names Secrets."""
    scope, host = key
    levels: tuple[str, ...] = (scope.namespace,)
    if scope.gateway:
        owners = sorted({service.namespace for service in candidates(db, host)})
        levels = (*levels, *owners, settings(db).root_namespace)
    named = {key for level in dict.fromkeys(levels) for key in CREDENTIAL_RULES_IN(db, level)}
    return any(key in named for level in levels for key in _rule_keys(db, level, host))


def _rule_keys(db: Database, namespace: str, host: str) -> list[ObjectKey]:
    return [
        key for pattern in covering_hosts(host) for key in RULES_AT_HOST(db, (namespace, pattern))
    ]


def policy_for(rule: EffectiveRule, port: int, subset: Subset | None = None) -> PortPolicy:
    """Return the policy of one port, as a whole or for a subset.

    What is written for a port stands alone: blocks that it leaves out have their defaults, whatever the
    rule or the subset says for all ports. Else a subset's blocks stand over the rule's (Istio,
    ``TrafficPolicy.portLevelSettings``).
    """
    policy = _for_port(rule.policy, port)
    if subset is None or subset.policy is None:
        return policy
    if port in dict(subset.policy.ports):
        return _for_port(subset.policy, port)
    return _over(subset.policy.base, policy)


def policy_at(
    db: Database, rule: EffectiveRule, port: int, subset: Subset | None = None
) -> PortPolicy:
    """Return the policy of one port, with the mesh's limits and detection where nobody has written any."""
    policy, mesh = policy_for(rule, port, subset), settings(db)
    return replace(
        policy,
        connection_pool=policy.connection_pool or mesh.connection_pool,
        outlier_detection=policy.outlier_detection or mesh.outlier_detection,
    )


def retry_budget_for(rule: EffectiveRule, subset: Subset | None = None) -> RetryBudget | None:
    """Return the budget of retries: the subset's, or else the rule's; a port has none of its own."""
    own = subset.policy.retry_budget if subset and subset.policy else None
    return own or (rule.policy.retry_budget if rule.policy else None)


def proxy_protocol_for(
    rule: EffectiveRule, port: int, subset: Subset | None = None
) -> ProxyProtocol | None:
    """Return the PROXY protocol's version: the subset's, or else the rule's, where no port stands alone.

    What is written for a port has none (Istio: ``MergeSubsetTrafficPolicy``).
    """
    for policy in (subset.policy if subset else None, rule.policy):
        if policy is not None and policy.proxy_protocol and port not in dict(policy.ports):
            return policy.proxy_protocol
    return None


def tunnel_for(rule: EffectiveRule, subset: Subset | None = None) -> Tunnel | None:
    """Return the tunnel: that of the whole host, or, for a subset, its own alone (Istio: tunnelingconfig)."""
    policy = subset.policy if subset else rule.policy
    return policy.tunnel if policy else None


def _for_port(policy: TrafficPolicy | None, port: int) -> PortPolicy:
    if policy is None:
        return PortPolicy()
    return dict(policy.ports).get(port, policy.base)


def _over(upper: PortPolicy, lower: PortPolicy) -> PortPolicy:
    """Return the blocks of ``upper`` where it has them, else those of ``lower``."""
    blocks = {f.name: getattr(upper, f.name) or getattr(lower, f.name) for f in fields(PortPolicy)}
    return PortPolicy(**blocks)
