"""The whole-world lint: what each object gets wrong about the others.

Findings are kept per object and follow changes like everything else: an object is looked at again only
when something that it refers to has changed. Each kind has its own checks, plain functions from the
object to diagnostics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from mizzen import diagnostics as codes
from mizzen.diagnostics import Code, Diagnostic
from mizzen.engine import Fold, query
from mizzen.model.kube import Service
from mizzen.model.meta import NO_LABELS, Labels, Meta, selects
from mizzen.model.proxy import Scope, Workload
from mizzen.model.security import (
    AuthorizationPolicy,
    PeerAuthentication,
    Rule,
)
from mizzen.model.traffic import (
    Destination,
    DestinationRule,
    Gateway,
    ServiceEntry,
    VirtualService,
)
from mizzen.names import (
    MESH_GATEWAY,
    ObjectKey,
    host_matches,
    is_wildcard,
    resolve_host,
)
from mizzen.resolve import authorization, peers
from mizzen.resolve.choice import contenders, virtual_service_for
from mizzen.resolve.endpoints import instances
from mizzen.resolve.inbound import served_ports
from mizzen.resolve.rules import rule_for
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.world import (
    ANALYSED,
    ENTRIES_IN,
    LABELS_IN,
    OBJECT,
    PODS_IN,
    RULES_AT_HOST,
    SERVICES_AT_HOST,
    gateway_name,
    hosts_of,
    settings,
)

if TYPE_CHECKING:
    from mizzen.engine import Database

Found = Iterator[Diagnostic]


def _diagnostic(code: Code, meta: Meta, path: str, message: str) -> Diagnostic:
    return Diagnostic(code=code, object=meta.key, path=path, message=message)


@query
def findings(db: Database, key: tuple[str, ObjectKey]) -> tuple[Diagnostic, ...]:
    """Return what is wrong between an object and the rest of the World."""
    item = OBJECT(db, key[1])
    for kind, check in _CHECKS:
        if isinstance(item, kind):
            return tuple(check(db, item))
    return ()


def _virtual_service(db: Database, item: VirtualService) -> Found:
    yield from _gateways(db, item)
    for number, rule in enumerate(item.http):
        for place, weighted in enumerate(rule.route):
            path = f"spec.http[{number}].route[{place}].destination"
            yield from _destination(db, item, weighted.destination, path)
    yield from _unreachable(item)
    if MESH_GATEWAY in item.gateways:
        yield from _host_conflicts(db, item)


def _gateways(db: Database, item: VirtualService) -> Found:
    for number, name in enumerate(item.gateways):
        if name == MESH_GATEWAY:
            continue
        namespace, _, bare = gateway_name(name, item.meta.namespace).partition("/")
        gateway = OBJECT(db, ObjectKey(item.meta.registry, "Gateway", namespace, bare))
        path = f"spec.gateways[{number}]"
        if not isinstance(gateway, Gateway):
            message = f"there is no Gateway {namespace}/{bare}"
            yield _diagnostic(codes.UNKNOWN_GATEWAY, item.meta, path, message)
        elif gateway.servers and not _meet(item, gateway):
            message = f"no server of Gateway {namespace}/{bare} has a host of {_list(item.hosts)}"
            yield _diagnostic(codes.SERVED_BY_NO_ROUTE, item.meta, path, message)


def _meet(item: VirtualService, gateway: Gateway) -> bool:
    patterns = [h.rpartition("/")[2] for server in gateway.servers for h in server.hosts]
    return any(host_matches(p, h) or host_matches(h, p) for p in patterns for h in item.hosts)


def _destination(db: Database, item: VirtualService, destination: Destination, path: str) -> Found:
    host = resolve_host(destination.host, item.meta.namespace, settings(db).domain)
    scope = Scope(namespace=item.meta.namespace)
    service = service_at(db, scope, host)
    if service is None:
        message = f"{host} is neither a Service nor a ServiceEntry that {item.meta.namespace} sees"
        yield _diagnostic(codes.UNKNOWN_HOST, item.meta, f"{path}.host", message)
        return
    yield from _destination_port(service, item, destination, path)
    rule = rule_for(db, (scope, host))
    if destination.subset and rule.subset(destination.subset) is None:
        known = _list([s.name for s in rule.subsets]) or "none"
        message = f"{host} has no subset {destination.subset!r}; known: {known}"
        yield _diagnostic(codes.UNKNOWN_SUBSET, item.meta, f"{path}.subset", message)


def _destination_port(
    service: MeshService, item: VirtualService, destination: Destination, path: str
) -> Found:
    numbers = [port.number for port in service.ports]
    if destination.port is not None and destination.port not in numbers:
        message = f"{service.host} has no port {destination.port}; known: {_list(numbers)}"
        yield _diagnostic(codes.UNKNOWN_PORT, item.meta, f"{path}.port.number", message)


def _unreachable(item: VirtualService) -> Found:
    taken: int | None = None
    for number, rule in enumerate(item.http):
        if taken is not None:
            message = f"http[{taken}] takes every request before it"
            yield _diagnostic(codes.UNREACHABLE_RULE, item.meta, f"spec.http[{number}]", message)
        elif not rule.match:
            taken = number


def _host_conflicts(db: Database, item: VirtualService) -> Found:
    """Name the winner on the loser, and the loser on the winner."""
    for number, written in enumerate(item.hosts):
        host = resolve_host(written, item.meta.namespace, settings(db).domain)
        others = [o for o in contenders(db, host) if o.meta.key != item.meta.key]
        same = [o for o in others if _names(db, o, host) and _overlap(o, item)]
        if not same:
            continue
        winner = virtual_service_for(db, Scope(namespace=item.meta.namespace), host)
        path = f"spec.hosts[{number}]"
        if winner is not None and winner.meta.key != item.meta.key:
            message = f"{host} is routed by {winner.meta.key}, which is older"
            yield _diagnostic(codes.HOST_CONFLICT, item.meta, path, message)
        elif winner is not None:
            message = (
                f"{host} is routed by this one; {_list([o.meta.key for o in same])} has no effect"
            )
            yield _diagnostic(codes.HOST_CONFLICT, item.meta, path, message)


def _names(db: Database, item: VirtualService, host: str) -> bool:
    domain = settings(db).domain
    return any(host == resolve_host(h, item.meta.namespace, domain) for h in item.hosts)


def _overlap(one: VirtualService, other: VirtualService) -> bool:
    """Tell whether some namespace sees both."""
    if "*" in one.export_to or "*" in other.export_to:
        return True
    return one.meta.namespace == other.meta.namespace


def _destination_rule(db: Database, item: DestinationRule) -> Found:
    host = resolve_host(item.host, item.meta.namespace, settings(db).domain)
    if is_wildcard(host):
        if not any(host_matches(host, known) for known in SERVICES_AT_HOST.all_keys(db)):
            yield _no_such_host(item, host)
        return
    service = service_at(db, Scope(namespace=item.meta.namespace), host)
    if service is None:
        yield _no_such_host(item, host)
        return
    known = instances(db, service.key)
    for number, subset in enumerate(item.subsets):
        path = f"spec.subsets[{number}]"
        if not any(selects(subset.labels, instance.labels) for instance in known):
            wanted = _list([f"{k}={v}" for k, v in subset.labels])
            message = f"no endpoint of {host} has {wanted}"
            yield _diagnostic(codes.EMPTY_SUBSET, item.meta, f"{path}.labels", message)
        yield from _defined_twice(db, item, host, subset.name, path)


def _no_such_host(item: DestinationRule, host: str) -> Diagnostic:
    message = f"{host} is neither a Service nor a ServiceEntry that {item.meta.namespace} sees"
    return _diagnostic(codes.RULE_WITHOUT_HOST, item.meta, "spec.host", message)


def _defined_twice(db: Database, item: DestinationRule, host: str, subset: str, path: str) -> Found:
    for key in RULES_AT_HOST(db, (item.meta.namespace, host)):
        other = OBJECT(db, key)
        if not isinstance(other, DestinationRule) or key == item.meta.key:
            continue
        if any(s.name == subset for s in other.subsets):
            older = min(item, other, key=lambda rule: rule.meta.age_rank)
            message = (
                f"subset {subset!r} of {host} is in {other.meta.key} too; {older.meta.key} wins"
            )
            yield _diagnostic(codes.DUPLICATE_SUBSET, item.meta, f"{path}.name", message)


def _gateway(db: Database, item: Gateway) -> Found:
    if not any(_selected(db, ns, item.selector) for ns in sorted(PODS_IN.all_keys(db))):
        message = f"no workload has {_pairs(item.selector)}"
        yield _diagnostic(codes.SELECTS_NOTHING, item.meta, "spec.selector", message)


def _pairs(selector: Labels) -> str:
    return _list([f"{key}={value}" for key, value in selector])


def _selected(db: Database, namespace: str, selector: Labels) -> list[Labels]:
    """Return the labels of a namespace's workloads that a selector selects, each set once."""
    return [one for one in workloads_in(db, namespace) if selects(selector, one)]


@query
def workloads_in(db: Database, namespace: str) -> tuple[Labels, ...]:
    """Return the sets of labels that a namespace's pods and WorkloadEntries have, each once."""
    return tuple(sorted(labels for where, labels in LABELS_IN.all_keys(db) if where == namespace))


def _service(db: Database, item: Service | ServiceEntry) -> Found:
    for number, host in enumerate(hosts_of(item, settings(db))):
        first = service_at(db, Scope(namespace=item.meta.namespace), host)
        if first is None or first.key == item.meta.key:
            continue
        path = f"spec.hosts[{number}]" if isinstance(item, ServiceEntry) else "metadata.name"
        message = f"{host} is given by {first.key}, which goes first"
        yield _diagnostic(codes.SHADOWED_SERVICE, item.meta, path, message)


def _peer_authentication(db: Database, item: PeerAuthentication) -> Found:
    namespace = item.meta.namespace
    if item.selector and not _selected(db, namespace, item.selector):
        message = f"no workload of {namespace} has {_pairs(item.selector)}"
        path = "spec.selector.matchLabels"
        yield _diagnostic(codes.SELECTS_NOTHING, item.meta, path, message)
    for other in peers.policies_in(db, namespace):
        if other.meta.key == item.meta.key:
            return
        if (other.selector or NO_LABELS) == (item.selector or NO_LABELS):
            message = f"{other.meta.key}, which is older, holds for the same workloads"
            yield _diagnostic(codes.SHADOWED_POLICY, item.meta, "spec.selector", message)


def _authorization_policy(db: Database, item: AuthorizationPolicy) -> Found:
    namespace = item.meta.namespace
    namespaces = [namespace]
    if namespace == settings(db).root_namespace:
        namespaces = sorted(PODS_IN.all_keys(db) | ENTRIES_IN.all_keys(db))
    chosen = [(ns, one) for ns in namespaces for one in _selected(db, ns, item.selector)]
    if item.selector and not chosen:
        message = f"no workload of {namespace} has {_pairs(item.selector)}"
        path = "spec.selector.matchLabels"
        yield _diagnostic(codes.SELECTS_NOTHING, item.meta, path, message)
    tcp = {port for ns, one in chosen for port in _tcp_ports(db, ns, one)}
    for number, rule in enumerate(item.rules):
        if tcp & _ports_of(rule, tcp) and authorization.asks_for_request(rule):
            message = f"{_list(sorted(tcp))} of the selected workloads is TCP, without requests"
            yield _diagnostic(codes.LOST_ON_TCP, item.meta, f"spec.rules[{number}]", message)


def _tcp_ports(db: Database, namespace: str, labels: Labels) -> set[int]:
    served = served_ports(db, Workload(namespace=namespace, labels=labels))
    return {one.port for one in served if one.service_port.protocol.is_tcp}


def _ports_of(rule: Rule, every: set[int]) -> set[int]:
    """Return the ports that a rule is about; all of them where an operation names none."""
    named = {int(p) for op in rule.operations for p in op.ports if p.isdigit()}
    unbound = not rule.operations or any(not op.ports for op in rule.operations)
    return every if unbound else named


def _list(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


# Each kind's checks; a literal tuple, so that what is checked can be read here.
_CHECKS: Final[tuple[tuple[Any, Callable[[Database, Any], Found]], ...]] = (
    (VirtualService, _virtual_service),
    (DestinationRule, _destination_rule),
    (Gateway, _gateway),
    ((Service, ServiceEntry), _service),
    (PeerAuthentication, _peer_authentication),
    (AuthorizationPolicy, _authorization_policy),
)


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
