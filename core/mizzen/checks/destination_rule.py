"""DestinationRule: hosts nobody has, subsets that are empty or defined twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, pairs, why_unknown
from mizzen.checks.workloads import selected
from mizzen.model.destination import DestinationRule, PortPolicy, Subset, TrafficPolicy
from mizzen.model.meta import selects
from mizzen.model.proxy import Scope
from mizzen.names import is_wildcard, resolve_host
from mizzen.resolve.domains import hosts_under
from mizzen.resolve.instances import instances
from mizzen.resolve.localities import locality_setting
from mizzen.resolve.rules import EffectiveRule, policy_for
from mizzen.resolve.services import service_at
from mizzen.resolve.world import OBJECT, RULES_AT_HOST, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.resolve.services import MeshService

# A port that no policy is written for.
_NO_PORT: Final = 0


def check(db: Database, item: DestinationRule) -> Found:
    """Yield what a DestinationRule gets wrong."""
    scope = Scope(namespace=item.meta.namespace)
    host = resolve_host(item.host, item.meta.namespace, settings(db).domain)
    service = service_at(db, scope, host)
    if service is None and not (is_wildcard(host) and hosts_under(db, host)):
        message = why_unknown(db, scope, host)
        yield finding(codes.RULE_WITHOUT_HOST, item.meta, "spec.host", message)
    if item.selector and not selected(db, item.meta.namespace, item.selector):
        message = f"no workload of {item.meta.namespace} has {pairs(item.selector)}"
        path = "spec.workloadSelector.matchLabels"
        yield finding(codes.SELECTS_NOTHING, item.meta, path, message)
    yield from _without_detection(db, item)
    for number, subset in enumerate(item.subsets):
        path = f"spec.subsets[{number}]"
        if service is not None:
            yield from _empty(db, item, service, subset, path)
        yield from _defined_twice(db, item, host, subset.name, path)


def _without_detection(db: Database, item: DestinationRule) -> Found:
    """Yield where failover is written, and nothing ever fails over."""
    for path, written, effective in _policies(item):
        locality = written.load_balancer.locality if written.load_balancer else None
        wanted = locality and locality.enabled and (locality.failover or locality.failover_priority)
        if wanted and locality_setting(db, effective) is None:
            message = "nothing fails over unless failing endpoints are detected"
            remedy = "Write outlierDetection beside the load balancer."
            where = f"{path}.loadBalancer.localityLbSetting"
            yield finding(codes.NO_EFFECT, item.meta, where, message, remedy)


def _policies(item: DestinationRule) -> Iterator[tuple[str, PortPolicy, PortPolicy]]:
    """Yield path, what is written there, and what is in force by it: blocks, of ports and of subsets too."""
    whole = EffectiveRule(policy=item.policy, subsets=item.subsets)
    if item.policy is not None:
        yield from _of_policy("spec.trafficPolicy", item.policy, whole, None)
    for number, subset in enumerate(item.subsets):
        if subset.policy is not None:
            path = f"spec.subsets[{number}].trafficPolicy"
            yield from _of_policy(path, subset.policy, whole, subset)


def _of_policy(
    path: str, policy: TrafficPolicy, whole: EffectiveRule, subset: Subset | None
) -> Iterator[tuple[str, PortPolicy, PortPolicy]]:
    yield path, policy.base, policy_for(whole, _NO_PORT, subset)
    for number, (_, blocks) in enumerate(policy.ports):
        yield f"{path}.portLevelSettings[{number}]", blocks, blocks


def _empty(
    db: Database, item: DestinationRule, service: MeshService, subset: Subset, path: str
) -> Found:
    known = instances(db, (service.key, service.host))
    if any(selects(subset.labels, instance.labels) for instance in known):
        return
    wanted = f" has {pairs(subset.labels)}" if known else ": there is none at all"
    message = f"no endpoint of {service.host}{wanted}"
    yield finding(codes.EMPTY_SUBSET, item.meta, f"{path}.labels", message)


def _defined_twice(db: Database, item: DestinationRule, host: str, subset: str, path: str) -> Found:
    for key in RULES_AT_HOST(db, (item.meta.namespace, host)):
        other = OBJECT(db, key)
        if not isinstance(other, DestinationRule) or key == item.meta.key:
            continue
        if other.selector == item.selector and any(s.name == subset for s in other.subsets):
            older = min(item, other, key=lambda rule: rule.meta.age_rank)
            message = (
                f"subset {subset!r} of {host} is in {other.meta.key} too; {older.meta.key} wins"
            )
            yield finding(codes.DUPLICATE_SUBSET, item.meta, f"{path}.name", message)
