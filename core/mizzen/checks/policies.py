"""AuthorizationPolicies and RequestAuthentications: for whom they are, whom they ask, what they lose on TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks import grants, providers
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.checks.workloads import namespaces, selected, workloads_in
from mizzen.model.kube import Service
from mizzen.model.meta import Labels
from mizzen.model.proxy import Scope, Workload
from mizzen.model.security import IssuerKeys, issuer_meta
from mizzen.model.traffic import ServiceEntry
from mizzen.resolve import authentication, authorization
from mizzen.resolve.inbound import served_ports
from mizzen.resolve.key_servers import host_and_port, key_server
from mizzen.resolve.targets import SERVICES, is_of_gateway, key_of
from mizzen.resolve.world import OBJECT, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.model.security import (
        AuthorizationPolicy,
        JwtRule,
        RequestAuthentication,
        Rule,
        Target,
    )
    from mizzen.names import ObjectKey

_SELECTOR: Final = "spec.selector.matchLabels"


def check_request_authentication(db: Database, item: RequestAuthentication) -> Found:
    """Yield what a RequestAuthentication gets wrong."""
    yield from _check_reach(db, item)
    scope = Scope(namespace=item.meta.namespace)
    for number, written in enumerate(item.rules):
        yield from _untold(db, item, written, f"spec.jwtRules[{number}].issuer")
        rule = authentication.told(db, written)
        place = "" if rule.jwks else rule.jwks_uri
        if place and not key_server(db, scope, place)[0]:
            host, port = host_and_port(place)
            message = (
                f"no service is {host}:{port}: no keys are had, and the issuer's tokens refused"
            )
            remedy = "Correct the host and port, or write the keys in jwks."
            path = f"spec.jwtRules[{number}].jwksUri"
            yield finding(codes.UNKNOWN_HOST, item.meta, path, message, remedy)


def _untold(db: Database, item: RequestAuthentication, rule: JwtRule, path: str) -> Found:
    """Yield why it is not known where an issuer's keys are, once it has been asked."""
    found = OBJECT(db, issuer_meta(rule.issuer).key) if rule.is_to_be_asked else None
    if isinstance(found, IssuerKeys) and found.failure:
        message = f"{found.failure}: the issuer's tokens are refused"
        yield finding(codes.SILENT_ISSUER, item.meta, path, message)


def check_authorization_policy(db: Database, item: AuthorizationPolicy) -> Found:
    """Yield what an AuthorizationPolicy gets wrong."""
    yield from _check_reach(db, item)
    chosen = _reached(db, item)
    services = {key_of(t, item.meta) for t in item.targets if t.kind in SERVICES}
    tcp = {port for ns, one in chosen for port in _tcp_ports(db, ns, one, services)}
    yield from providers.check(db, item, chosen, tcp)
    yield from grants.check(db, item, chosen)
    for number, rule in enumerate(item.rules):
        asked = sorted(tcp & _ports_of(rule, tcp))
        if asked and authorization.asks_for_request(rule):
            message = (
                f"port {listed(asked)} of the selected workloads is TCP, which has no requests"
            )
            yield finding(codes.LOST_ON_TCP, item.meta, f"spec.rules[{number}]", message)


def _check_reach(db: Database, item: AuthorizationPolicy | RequestAuthentication) -> Found:
    """Yield what a policy is for and is not there, or has no workloads."""
    for number, target in enumerate(item.targets):
        if missing := _missing(db, item, target):
            path = f"spec.targetRefs[{number}]"
            yield finding(codes.UNKNOWN_TARGET, item.meta, path, missing)
    if item.selector and not _reached(db, item):
        everywhere = item.meta.namespace == settings(db).root_namespace
        where = "" if everywhere else f" of {item.meta.namespace}"
        message = f"no workload{where} has {pairs(item.selector)}"
        yield finding(codes.SELECTS_NOTHING, item.meta, _SELECTOR, message)


def _missing(
    db: Database, item: AuthorizationPolicy | RequestAuthentication, target: Target
) -> str:
    """Return why nobody enforces a policy for a target; empty where somebody does."""
    namespace, name = item.meta.namespace, target.name
    if target.kind == "GatewayClass":
        return f"no proxy is of a GatewayClass such as {name}: there are no waypoints"
    if target.kind in SERVICES and _selector(db, item, target) is None:
        return f"{target.kind} {namespace}/{name} is not there, or selects no workloads"
    if not _workloads_of(db, item, target):
        return f"no workload of {namespace} is of {target.kind} {name}"
    return ""


def _selector(
    db: Database, item: AuthorizationPolicy | RequestAuthentication, target: Target
) -> Labels | None:
    """Return the selector of a service; None where it is not there, or has none."""
    found = OBJECT(db, key_of(target, item.meta))
    return found.selector or None if isinstance(found, Service | ServiceEntry) else None


def _workloads_of(
    db: Database, item: AuthorizationPolicy | RequestAuthentication, target: Target
) -> list[Labels]:
    namespace = item.meta.namespace
    if target.kind == "Gateway":
        return [one for one in workloads_in(db, namespace) if is_of_gateway(one, target.name)]
    selector = _selector(db, item, target)
    return selected(db, namespace, selector) if selector is not None else []


def _reached(
    db: Database, item: AuthorizationPolicy | RequestAuthentication
) -> list[tuple[str, Labels]]:
    """Return namespace and labels of the workloads that a policy is for; the root's are everywhere."""
    namespace = item.meta.namespace
    if item.targets:
        found = (one for target in item.targets for one in _workloads_of(db, item, target))
        return [(namespace, one) for one in dict.fromkeys(found)]
    everywhere = namespace == settings(db).root_namespace
    reach = namespaces(db, "") if everywhere else (namespace,)
    return [(ns, one) for ns in reach for one in selected(db, ns, item.selector)]


def _tcp_ports(
    db: Database, namespace: str, labels: Labels, services: Iterable[ObjectKey]
) -> set[int]:
    """Return the ports of a workload that are TCP; with services only those that they give."""
    served = served_ports(db, Workload(namespace=namespace, labels=labels))
    return {
        one.port
        for one in served
        if one.service_port.protocol.is_tcp and (not services or one.service.meta.key in services)
    }


def _ports_of(rule: Rule, every: set[int]) -> set[int]:
    """Return the ports that a rule is about; all of them where an operation names none."""
    named = {int(p) for op in rule.operations for p in op.ports if p.isdecimal()}
    unbound = not rule.operations or any(not op.ports for op in rule.operations)
    return every if unbound else named
