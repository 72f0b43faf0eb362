"""DestinationRule: hosts nobody has, subsets that are empty or defined twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks import mutual_tls
from mizzen.checks.findings import Found, finding, pairs, why_unknown
from mizzen.checks.workloads import routers_of, selected
from mizzen.engine import query
from mizzen.model.destination import (
    ClientTls,
    DestinationRule,
    LocalityLb,
    PortPolicy,
    Subset,
)
from mizzen.model.gateway import Gateway
from mizzen.model.meta import selects
from mizzen.model.proxy import Scope
from mizzen.model.traffic import Resolution
from mizzen.names import is_wildcard, resolve_host
from mizzen.resolve.client_tls import lacking
from mizzen.resolve.domains import hosts_under
from mizzen.resolve.instances import instances
from mizzen.resolve.services import service_at
from mizzen.resolve.world import GATEWAYS, OBJECT, RULES_AT_HOST, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.resolve.services import MeshService

_BY_NAME: Final = (Resolution.DNS, Resolution.DNS_ROUND_ROBIN, Resolution.DYNAMIC_DNS)
# Whose endpoints are not known: whatever a client asks for is of every subset.
_ANYBODYS: Final = (Resolution.NONE, Resolution.DYNAMIC_DNS)


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
    yield from _without_credential(db, item)
    if service is not None:
        yield from _without_places(item, service)
        yield from mutual_tls.check(db, item, service)
    for number, subset in enumerate(item.subsets):
        path = f"spec.subsets[{number}]"
        if service is not None and service.resolution not in _ANYBODYS:
            yield from _empty(db, item, service, subset, path)
        yield from _defined_twice(db, item, host, subset.name, path)


def _without_credential(db: Database, item: DestinationRule) -> Found:
    """Yield where clients lack what their TLS takes: those that are selected, or else all gateways."""
    own = item.meta.namespace
    namespaces = (own,) if item.selector is not None else gateway_namespaces(db, own)
    remedy = f"Create the Secret in {' or '.join(namespaces)}, with tls.crt, tls.key and ca.crt."
    for path, tls in _written_tls(item):
        where = f"{path}.credentialName"
        if tls.credential_name and not namespaces:
            message = "no sidecar has a Secret by it, and there is no gateway: TLS is not begun"
            more = "Select the clients by workloadSelector, or write files of theirs."
            yield finding(codes.NO_EFFECT, item.meta, where, message, more)
            continue
        scopes = (Scope(namespace=one, credentials=True) for one in namespaces)
        lost = [next(lacking(db, scope, tls), "") for scope in scopes]
        if lost and all(lost):
            yield finding(codes.UNKNOWN_CREDENTIAL, item.meta, where, lost[0], remedy)


@query
def gateways_anywhere(db: Database, _key: str) -> tuple[str, ...]:
    """Return the namespaces in which some Gateway selects pods, sorted."""
    found = (OBJECT(db, key) for key in GATEWAYS(db, ""))
    selectors = {item.selector for item in found if isinstance(item, Gateway) and item.selector}
    return tuple(sorted({ns for one in selectors for ns, _ in routers_of(db, one)}))


def gateway_namespaces(db: Database, first: str) -> tuple[str, ...]:
    """Return the namespaces of gateways, one before all others if it has any."""
    found = gateways_anywhere(db, "")
    return tuple(sorted(found, key=lambda namespace: (namespace != first, namespace)))


def _without_places(item: DestinationRule, service: MeshService) -> Found:
    """Yield where places are written of for endpoints that name servers find, all clients alike."""
    if service.resolution not in _BY_NAME:
        return
    for path, blocks in _written(item):
        locality = blocks.load_balancer.locality if blocks.load_balancer else None
        if locality is not None and locality.enabled and locality != LocalityLb():
            message = (
                f"the endpoints of {service.host} come from name servers, the same for all places"
            )
            remedy = "Remove it, or write the endpoints with their localities (resolution STATIC)."
            where = f"{path}.loadBalancer.localityLbSetting"
            yield finding(codes.NO_EFFECT, item.meta, where, message, remedy)


def _written_tls(item: DestinationRule) -> Iterator[tuple[str, ClientTls]]:
    return ((f"{path}.tls", blocks.tls) for path, blocks in _written(item) if blocks.tls)


def _written(item: DestinationRule) -> Iterator[tuple[str, PortPolicy]]:
    """Yield path and blocks of all policies, those of ports and of subsets too."""
    policies = [("spec.trafficPolicy", item.policy)]
    policies += [(f"spec.subsets[{n}].trafficPolicy", s.policy) for n, s in enumerate(item.subsets)]
    for path, policy in policies:
        ports = policy.ports if policy else ()
        blocks = [(path, policy.base)] if policy else []
        blocks += [(f"{path}.portLevelSettings[{n}]", one) for n, (_, one) in enumerate(ports)]
        yield from blocks


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
