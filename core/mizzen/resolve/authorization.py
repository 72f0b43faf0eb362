"""AuthorizationPolicy: which policies hold for a workload, and what their rules ask.

AUDIT only records. DENY is asked before ALLOW. Any ALLOW policy at all turns the default into "no": an
ALLOW set in which no rule matches refuses. A rule is true where one of its sources, one of its operations
and all of its conditions are. Before all these a CUSTOM policy's provider is asked of what the policy matches;
where the proxy cannot ask it, that is denied (Istio, where it does not know the provider). Several
providers of one workload are all asked, and have to agree.

On TCP there are no requests. A rule that asks for a property of one is dropped there from ALLOW (fewer
are let in), while in DENY and AUDIT only the property is dropped and the rest stays (more are refused): both err on
the safe side (Istio, AuthorizationPolicy on TCP). Providers that are asked over HTTP are not asked there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import (
    AllOf,
    AnyOf,
    Anything,
    Authorization,
    Not,
    PolicyRule,
    Predicate,
    Question,
    RequestHeader,
    RequestPath,
    RequestPathTemplate,
    RuleSet,
    TokenClaim,
)
from mizzen.model.security import (
    AuthorizationPolicy,
    Condition,
    Operation,
    PolicyAction,
    Rule,
    Source,
)
from mizzen.names import ObjectKey
from mizzen.resolve import predicates as p
from mizzen.resolve.asked import cluster_of, scope_of_workload
from mizzen.resolve.targets import NO_SERVICES, Keys, choices
from mizzen.resolve.world import OBJECT, settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.engine import Database
    from mizzen.model.providers import Authorizer
    from mizzen.model.proxy import Workload
    from mizzen.resolve.targets import Services

_ORDER: Final = (PolicyAction.AUDIT, PolicyAction.DENY, PolicyAction.ALLOW)
_OF_REQUEST: Final = (RequestHeader, RequestPath, RequestPathTemplate, TokenClaim)


# By namespace: the policies of all workloads, and those besides.
_Held = tuple[tuple[Keys, tuple[ObjectKey, ...]], ...]
_Asked = tuple[tuple["Authorizer", str], ...]


@query
def policies_for(db: Database, key: tuple[Workload, Services]) -> _Held:
    """Return the policies that hold for a workload: the mesh's and its namespace's that are for it.

    Those of services hold for the ports that these give.
    """
    workload, services = key
    found = (choices(db, one) for one in (settings(db).root_namespace, workload.namespace))
    return tuple(dict.fromkeys((one.general, one.of(workload, services)) for one in found))


def authorization_for(
    db: Database, workload: Workload, services: Services = NO_SERVICES, *, gateway: bool = False
) -> Authorization:
    """Return what is asked of those who come to a workload, on ports that services give or on others."""
    held = policies_for(db, (workload, services))
    asked = _asked(db, providers(db, held), workload, gateway=gateway)
    return authorization_by(db, (held, asked))


def _policies(db: Database, held: _Held) -> list[AuthorizationPolicy]:
    keys = (key for general, own in held for key in sorted((*general.keys, *own)))
    return [item for item in (OBJECT(db, k) for k in keys) if isinstance(item, AuthorizationPolicy)]


@query
def providers(db: Database, held: _Held) -> frozenset[str]:
    """Return who is to decide, by name."""
    custom = (item for item in _policies(db, held) if item.action is PolicyAction.CUSTOM)
    return frozenset(policy.provider for policy in custom)


@query
def authorization_by(db: Database, key: tuple[_Held, _Asked]) -> Authorization:
    """Return what policies ask, once for all workloads for which the same ones hold."""
    held, deciding = key
    policies = _policies(db, held)
    asked = {one.name: (one, cluster) for one, cluster in deciding}
    http: list[RuleSet] = []
    tcp: list[RuleSet] = []
    for action, dry_run in product(_ORDER, (False, True)):
        wanted = (action, dry_run)
        chosen = [i for i in policies if (_effect(i, asked), i.dry_run) == wanted]
        if chosen:
            rules = tuple(rule for one in chosen for rule in rules_of(db, one.meta.key))
            on_tcp = tuple(_on_tcp(action, rules))
            http.append(RuleSet(action=action, rules=rules, dry_run=dry_run))
            tcp.append(RuleSet(action=action, rules=on_tcp, dry_run=dry_run))
    questions = tuple(_questions(db, policies, asked))
    return Authorization(
        http=tuple(http),
        tcp=tuple(tcp),
        asked_http=questions,
        asked_tcp=tuple(_question_on_tcp(one) for one in questions if one.authorizer.http is None),
        origins=tuple(policy.meta.key for policy in policies),
    )


def _asked(db: Database, wanted: frozenset[str], workload: Workload, *, gateway: bool) -> _Asked:
    """Return who decides, and the cluster that leads there, of those whom policies name."""
    if not wanted:
        return ()
    scope = scope_of_workload(db, workload, gateway=gateway)
    known = (one for one in settings(db).authorizers if one.name in wanted)
    found = ((one, cluster_of(db, scope, one)) for one in known)
    return tuple((one, cluster) for one, cluster in found if cluster)


def _effect(
    policy: AuthorizationPolicy, asked: Mapping[str, tuple[Authorizer, str]]
) -> PolicyAction:
    """Return what is done with what a policy matches."""
    unknown = policy.action is PolicyAction.CUSTOM and policy.provider not in asked
    return PolicyAction.DENY if unknown else policy.action


def _questions(
    db: Database,
    policies: Iterable[AuthorizationPolicy],
    asked: Mapping[str, tuple[Authorizer, str]],
) -> Iterable[Question]:
    for name in sorted(asked):
        authorizer, cluster = asked[name]
        own = (i for i in policies if i.action is PolicyAction.CUSTOM and i.provider == name)
        rules = tuple(rule for policy in own for rule in rules_of(db, policy.meta.key))
        yield Question(authorizer=authorizer, cluster=cluster, rules=rules)


def _question_on_tcp(question: Question) -> Question:
    return replace(question, rules=tuple(_on_tcp(PolicyAction.CUSTOM, question.rules)))


@query
def rules_of(db: Database, key: ObjectKey) -> tuple[PolicyRule, ...]:
    """Return what the rules of a policy ask."""
    policy, mesh = OBJECT(db, key), settings(db)
    if not isinstance(policy, AuthorizationPolicy):
        return ()
    return tuple(_rules(policy, (mesh.trust_domain, *mesh.trust_domain_aliases)))


def _rules(policy: AuthorizationPolicy, domains: tuple[str, ...]) -> Iterable[PolicyRule]:
    reader = p.Reader(namespace=policy.meta.namespace, trust_domains=domains)
    prefix = f"ns[{policy.meta.namespace}]-policy[{policy.meta.name}]"
    for number, rule in enumerate(policy.rules):
        yield PolicyRule(
            name=f"{prefix}-rule[{number}]",
            operation=_operation_of(rule),
            source=_source_of(rule, reader),
        )


def _operation_of(rule: Rule) -> Predicate:
    terms = [_any(_operation(op) for op in rule.operations)]
    readers = ((c, p.operation_reader(c.key)) for c in rule.conditions)
    terms += [_condition(condition, read) for condition, read in readers if read is not None]
    return _all(terms)


def _source_of(rule: Rule, reader: p.Reader) -> Predicate:
    terms = [_any(_source(source, reader) for source in rule.sources)]
    conditions = (condition for condition in rule.conditions if not _asks_what(condition))
    terms += [_condition(c, p.source_reader(c.key, reader)) for c in conditions]
    return _all(terms)


def _asks_what(condition: Condition) -> bool:
    return p.operation_reader(condition.key) is not None


def _condition(condition: Condition, read: Callable[[str], Predicate]) -> Predicate:
    return _both(condition.values, condition.not_values, read)


def _operation(operation: Operation) -> Predicate:
    return _all(
        (
            _both(operation.hosts, operation.not_hosts, p.host),
            _both(operation.ports, operation.not_ports, p.destination_port),
            _both(operation.methods, operation.not_methods, p.method),
            _both(operation.paths, operation.not_paths, p.path),
        )
    )


def _source(source: Source, read: p.Reader) -> Predicate:
    return _all(
        (
            _both(source.principals, source.not_principals, read.principal),
            _both(source.request_principals, source.not_request_principals, p.request_principal),
            _both(source.namespaces, source.not_namespaces, p.namespace),
            _both(source.service_accounts, source.not_service_accounts, read.service_account),
            _both(source.trust_domains, source.not_trust_domains, p.trust_domain),
            _both(source.ip_blocks, source.not_ip_blocks, p.peer_address),
            _both(source.remote_ip_blocks, source.not_remote_ip_blocks, p.client_address),
        )
    )


def _both(
    wanted: tuple[str, ...], unwanted: tuple[str, ...], read: Callable[[str], Predicate]
) -> Predicate:
    """Return: one of the wanted values, where there are any, and none of the unwanted."""
    terms = [_any(read(value) for value in wanted)]
    if unwanted:
        terms.append(Not(_any(read(value) for value in unwanted)))
    return _all(terms)


def _any(terms: Iterable[Predicate]) -> Predicate:
    """Return "one of these"; no terms ask for nothing."""
    found = tuple(dict.fromkeys(terms))
    if not found or Anything() in found:
        return Anything()
    return found[0] if len(found) == 1 else AnyOf(found)


def _all(terms: Iterable[Predicate]) -> Predicate:
    """Return "all of these"."""
    found = tuple(term for term in dict.fromkeys(terms) if term != Anything())
    if not found:
        return Anything()
    return found[0] if len(found) == 1 else AllOf(found)


def _on_tcp(action: PolicyAction, rules: Iterable[PolicyRule]) -> Iterable[PolicyRule]:
    """Return the rules as they hold where there are no requests."""
    for rule in rules:
        sides = (rule.operation, rule.source)
        if not any(_asks_for_request(side) for side in sides):
            yield rule
        elif action is not PolicyAction.ALLOW:
            yield PolicyRule(
                name=rule.name,
                operation=_without_request(rule.operation),
                source=_without_request(rule.source),
            )


def asks_for_request(rule: Rule) -> bool:
    """Tell whether a rule asks for a property of requests, which TCP does not have."""
    reader = p.Reader(namespace="", trust_domains=())
    return any(_asks_for_request(side) for side in (_operation_of(rule), _source_of(rule, reader)))


def _asks_for_request(term: Predicate) -> bool:
    match term:
        case AllOf(terms) | AnyOf(terms):
            return any(_asks_for_request(one) for one in terms)
        case Not(inner):
            return _asks_for_request(inner)
        case _:
            return isinstance(term, _OF_REQUEST)


def _without_request(term: Predicate) -> Predicate:
    """Return the predicate with everything about requests taken to be true."""
    match term:
        case AllOf(terms):
            return _all(_without_request(one) for one in terms)
        case AnyOf(terms):
            return _any(_without_request(one) for one in terms)
        case Not(inner) if _asks_for_request(inner):
            return Anything()
        case _ if isinstance(term, _OF_REQUEST):
            return Anything()
        case _:
            return term
