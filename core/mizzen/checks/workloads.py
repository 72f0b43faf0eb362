"""What selects workloads: Gateways and PeerAuthentications that select none, or contend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks import gateway_ports, gateway_tls
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.engine import query
from mizzen.model.meta import NO_LABELS, Labels, selects
from mizzen.resolve import peers
from mizzen.resolve.world import LABELS_IN, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.gateway import Gateway
    from mizzen.model.security import PeerAuthentication

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


@query
def routers_of(db: Database, selector: Labels) -> tuple[tuple[str, Labels], ...]:
    """Return what a Gateway's selector selects, in all namespaces: most Gateways have the same."""
    return tuple(
        (namespace, labels)
        for namespace in namespaces(db, "")
        for labels in selected(db, namespace, selector)
    )


def check_gateway(db: Database, item: Gateway) -> Found:
    """Yield what a Gateway gets wrong: it may select routers of every namespace."""
    routers = routers_of(db, item.selector)
    if not routers:
        message = f"no workload has {pairs(item.selector)}"
        yield finding(codes.SELECTS_NOTHING, item.meta, "spec.selector", message)
    yield from gateway_ports.check(db, item, routers)
    # Without a selector it would be every namespace, of which hardly any has a gateway.
    where = [ns for ns, _ in routers if item.selector or ns == item.meta.namespace]
    yield from gateway_tls.check(db, item, dict.fromkeys(where))


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
