"""AuthorizationPolicies that undo others, or ask for what nobody proves: tokens and identities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.engine import query
from mizzen.model.meta import selects
from mizzen.model.security import AuthorizationPolicy, MtlsMode, PolicyAction, Rule
from mizzen.resolve import authentication, peers
from mizzen.resolve.world import OBJECT, POLICIES_IN, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.meta import Labels
    from mizzen.names import ObjectKey

    Reach = Sequence[tuple[str, Labels]]

_SHOWN: Final = 5
_BY_TOKEN: Final = "request.auth."  # noqa: S105 - an attribute's name
_BY_IDENTITY: Final = ("source.namespace", "source.principal", "source.serviceAccount")


def check(db: Database, item: AuthorizationPolicy, reach: Reach) -> Found:
    """Yield what a policy undoes or is undone by, and what it asks for in vain of whom it is for."""
    if _grants(item):
        yield from _undone(db, item)
    for number, rule in enumerate(item.rules):
        path = f"spec.rules[{number}]"
        if reach and _asks_for_tokens(rule) and not any(_verifies(db, *one) for one in reach):
            message = "it asks for tokens, and no RequestAuthentication says which are valid there"
            yield finding(codes.NOBODY_PROVES, item.meta, path, message)
        if reach and _asks_for_identity(rule) and not any(_proves(db, *one) for one in reach):
            message = "it asks who the client is, and the workloads take no mutual TLS"
            remedy = "Let a PeerAuthentication say STRICT or PERMISSIVE, or ask for addresses."
            yield finding(codes.NOBODY_PROVES, item.meta, path, message, remedy)


@query
def allowing(db: Database, namespace: str) -> tuple[tuple[ObjectKey, Labels], ...]:
    """Return the policies of a namespace that allow everything, each with its selector."""
    found = (OBJECT(db, key) for key in POLICIES_IN(db, namespace))
    return tuple(
        (one.meta.key, one.selector)
        for one in found
        if isinstance(one, AuthorizationPolicy) and _allows_everything(one)
    )


def _allows_everything(item: AuthorizationPolicy) -> bool:
    rules = item.rules if _grants(item) else ()
    return any(not (rule.sources or rule.operations or rule.conditions) for rule in rules)


def _undone(db: Database, item: AuthorizationPolicy) -> Found:
    """Name the policy that allows everything on the others, and the others on it."""
    own, root = item.meta.namespace, settings(db).root_namespace
    if _allows_everything(item):
        others = [
            one.meta.key
            for one in _others(db, item)
            if not _allows_everything(one) and _is_beside(one.selector, item.selector)
        ]
        if others:
            rest = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
            said = f"{listed(others[:_SHOWN])}{rest}"
            message = f"it allows everything, so {said} for the same workloads has no effect"
            yield finding(codes.ALLOWS_ALL, item.meta, "spec.rules", message)
        return
    wide = chain.from_iterable(allowing(db, one) for one in dict.fromkeys((root, own)))
    for key, selector in wide:
        if _is_beside(item.selector, selector):
            message = f"{key} allows everything to the same workloads, so this one has no effect"
            yield finding(codes.ALLOWS_ALL, item.meta, "spec", message)
            return


def _is_beside(one: Labels, wide: Labels) -> bool:
    """Tell whether all that a selector selects is selected by a wider one."""
    return not wide or (bool(one) and selects(wide, one))


def _others(db: Database, item: AuthorizationPolicy) -> Iterable[AuthorizationPolicy]:
    """Return the other ALLOW policies of a policy's namespace."""
    found = (OBJECT(db, key) for key in POLICIES_IN(db, item.meta.namespace))
    policies = (one for one in found if isinstance(one, AuthorizationPolicy) and one is not item)
    return (one for one in policies if _grants(one))


def _grants(item: AuthorizationPolicy) -> bool:
    """Tell whether a policy is one of those that allow, in force and for all ports alike."""
    return item.action is PolicyAction.ALLOW and not item.dry_run and not item.targets


def _asks_for_tokens(rule: Rule) -> bool:
    """Tell whether a rule can only hold for requests with a token."""
    sources = rule.sources and all(one.request_principals for one in rule.sources)
    keys = (one for one in rule.conditions if one.key.startswith(_BY_TOKEN))
    return bool(sources) or any(one.values for one in keys)


def _asks_for_identity(rule: Rule) -> bool:
    """Tell whether a rule can only hold for clients whose identity is proved."""
    sources = rule.sources and all(
        one.principals or one.namespaces or one.service_accounts or one.trust_domains
        for one in rule.sources
    )
    keys = (one for one in rule.conditions if one.key in _BY_IDENTITY)
    return bool(sources) or any(one.values for one in keys)


def _verifies(db: Database, namespace: str, labels: Labels) -> bool:
    """Tell whether some RequestAuthentication may be for a workload; those of targets are taken to be."""
    places = dict.fromkeys((settings(db).root_namespace, namespace))
    policies = chain.from_iterable(authentication.policies_in(db, place) for place in places)
    return any(one.rules and (one.targets or selects(one.selector, labels)) for one in policies)


def _proves(db: Database, namespace: str, labels: Labels) -> bool:
    """Tell whether a workload takes mutual TLS on some port."""
    base, ports = peers.workload_modes(db, (namespace, labels))
    return any(mode is not MtlsMode.DISABLE for mode in (base, *dict(ports).values()))
