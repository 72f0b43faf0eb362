"""What selects workloads: Gateways and policies that select none, contend, or ask TCP about requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks import gateway_ports, gateway_tls, providers
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.engine import query
from mizzen.model.meta import NO_LABELS, Labels, selects
from mizzen.model.proxy import Scope, Workload
from mizzen.resolve import authentication, authorization, peers
from mizzen.resolve.inbound import served_ports
from mizzen.resolve.world import LABELS_IN, settings

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic
    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway
    from mizzen.model.security import (
        AuthorizationPolicy,
        PeerAuthentication,
        RequestAuthentication,
        Rule,
    )

_SELECTOR = "spec.selector.matchLabels"


@query
def namespaces(db: Database, _key: str) -> tuple[str, ...]:
    """Return the namespaces that have workloads, sorted."""
    return tuple(sorted({namespace for namespace, _ in LABELS_IN.all_keys(db)}))


@query
def workloads_in(db: Database, namespace: str) -> tuple[Labels, ...]:
    """Return the sets of labels that a namespace's pods and WorkloadEntries have, each once."""
    return tuple(sorted(labels for where, labels in LABELS_IN.all_keys(db) if where == namespace))


def selected(db: Database, namespace: str, selector: Labels) -> list[Labels]:
    """Return the labels of a namespace's workloads that a selector selects, each set once."""
    return [one for one in workloads_in(db, namespace) if selects(selector, one)]


def check_gateway(db: Database, item: Gateway) -> Found:
    """Yield what a Gateway gets wrong: it may select routers of every namespace."""
    routers = [
        (namespace, labels)
        for namespace in namespaces(db, "")
        for labels in selected(db, namespace, item.selector)
    ]
    if not routers:
        message = f"no workload has {pairs(item.selector)}"
        yield finding(codes.SELECTS_NOTHING, item.meta, "spec.selector", message)
    yield from gateway_ports.check(db, item, routers)
    yield from gateway_tls.check(db, item, routers)


def check_peer_authentication(db: Database, item: PeerAuthentication) -> Found:
    """Yield what a PeerAuthentication gets wrong."""
    namespace = item.meta.namespace
    if item.selector and namespace == settings(db).root_namespace:
        message = f"a selector has no effect in the root namespace {namespace}"
        remedy = "Remove the selector, or move the policy to the namespace of its workloads."
        yield finding(codes.SELECTS_NOTHING, item.meta, _SELECTOR, message, remedy)
        return
    if item.selector and not selected(db, namespace, item.selector):
        message = f"no workload of {namespace} has {pairs(item.selector)}"
        yield finding(codes.SELECTS_NOTHING, item.meta, _SELECTOR, message)
    alike = [p for p in peers.policies_in(db, namespace) if _reach(p) == _reach(item)]
    winner, *losers = alike
    if winner.meta.key != item.meta.key:
        message = f"{winner.meta.key} holds for the same workloads, which goes first by age"
        yield finding(codes.SHADOWED_POLICY, item.meta, "spec.selector", message)
    elif losers:
        others = listed(policy.meta.key for policy in losers)
        message = f"this one holds; {others} for the same workloads has no effect"
        yield finding(codes.SHADOWED_POLICY, item.meta, "spec.selector", message)


def _reach(item: PeerAuthentication) -> Labels:
    return item.selector or NO_LABELS


def check_request_authentication(db: Database, item: RequestAuthentication) -> Found:
    """Yield what a RequestAuthentication gets wrong."""
    if item.selector and not _reached(db, item):
        yield _selects_nothing(db, item)
    for number, rule in enumerate(item.rules):
        place = "" if rule.jwks else rule.jwks_uri
        scope = Scope(namespace=item.meta.namespace)
        if place and not authentication.key_cluster(db, scope, place):
            host, port = authentication.host_and_port(place)
            message = (
                f"no service is {host}:{port}: no keys are had, and the issuer's tokens refused"
            )
            remedy = f"Create a ServiceEntry for {host}, or write the keys in jwks."
            path = f"spec.jwtRules[{number}].jwksUri"
            yield finding(codes.UNKNOWN_HOST, item.meta, path, message, remedy)


def _reached(
    db: Database, item: AuthorizationPolicy | RequestAuthentication
) -> list[tuple[str, Labels]]:
    """Return namespace and labels of the workloads that a policy selects; the root's are everywhere."""
    everywhere = item.meta.namespace == settings(db).root_namespace
    reach = namespaces(db, "") if everywhere else (item.meta.namespace,)
    return [(ns, one) for ns in reach for one in selected(db, ns, item.selector)]


def _selects_nothing(db: Database, item: AuthorizationPolicy | RequestAuthentication) -> Diagnostic:
    everywhere = item.meta.namespace == settings(db).root_namespace
    where = "" if everywhere else f" of {item.meta.namespace}"
    message = f"no workload{where} has {pairs(item.selector)}"
    return finding(codes.SELECTS_NOTHING, item.meta, _SELECTOR, message)


def check_authorization_policy(db: Database, item: AuthorizationPolicy) -> Found:
    """Yield what an AuthorizationPolicy gets wrong."""
    chosen = _reached(db, item)
    if item.selector and not chosen:
        yield _selects_nothing(db, item)
    tcp = {port for ns, one in chosen for port in _tcp_ports(db, ns, one)}
    yield from providers.check(db, item, chosen, tcp)
    for number, rule in enumerate(item.rules):
        asked = sorted(tcp & _ports_of(rule, tcp))
        if asked and authorization.asks_for_request(rule):
            message = (
                f"port {listed(asked)} of the selected workloads is TCP, which has no requests"
            )
            yield finding(codes.LOST_ON_TCP, item.meta, f"spec.rules[{number}]", message)


def _tcp_ports(db: Database, namespace: str, labels: Labels) -> set[int]:
    served = served_ports(db, Workload(namespace=namespace, labels=labels))
    return {one.port for one in served if one.service_port.protocol.is_tcp}


def _ports_of(rule: Rule, every: set[int]) -> set[int]:
    """Return the ports that a rule is about; all of them where an operation names none."""
    named = {int(p) for op in rule.operations for p in op.ports if p.isdigit()}
    unbound = not rule.operations or any(not op.ports for op in rule.operations)
    return every if unbound else named
