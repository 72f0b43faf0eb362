"""Delegation: a VirtualService's rules, with those of the VirtualServices that it delegates to in place.

A rule that delegates stands for the rules of its delegate, each narrowed by what the root's rule matches
and completed by what else that says. A delegate's rule that could match what its root does not is out of
force, and so are delegates that are missing, hidden or no delegates at all (Istio: ``mergeHTTPRoutes``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from mizzen.engine import query
from mizzen.model.meta import labels, visible_from
from mizzen.model.routing import (
    Destination,
    Headers,
    HttpMatch,
    HttpRoute,
    MatchKind,
    StringMatch,
    VirtualService,
)
from mizzen.names import MESH_GATEWAY, ObjectKey, resolve_host
from mizzen.resolve.world import OBJECT, gateway_name, settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mizzen.engine import Database

Key = TypeVar("Key", str, tuple[str, ...])


def http_rules(db: Database, item: VirtualService) -> tuple[HttpRoute, ...]:
    """Return the rules of a VirtualService, delegates' rules in the places of those that delegate."""
    if any(rule.delegate for rule in item.http):
        return _with_delegates(db, item.meta.key)
    return item.http


@query
def _with_delegates(db: Database, key: ObjectKey) -> tuple[HttpRoute, ...]:
    item = OBJECT(db, key)
    if not isinstance(item, VirtualService):
        return ()
    rules: list[HttpRoute] = []
    for rule in item.http:
        if rule.delegate is None:
            rules.append(rule)
        elif (delegate := delegate_of(db, item, rule)) is not None:
            rules += (merged for _, merged in merged_rules(db, item, rule, delegate) if merged)
    return tuple(rules)


def keys_of(db: Database, item: VirtualService) -> tuple[ObjectKey, ...]:
    """Return the keys of a VirtualService and of the delegates that its rules go on with."""
    found = (delegate_of(db, item, rule) for rule in item.http if rule.delegate)
    return tuple(dict.fromkeys((item.meta.key, *(one.meta.key for one in found if one))))


def delegate_key(item: VirtualService, rule: HttpRoute) -> ObjectKey | None:
    """Return the key of the VirtualService that a rule delegates to; None where it doesn't."""
    if rule.delegate is None:
        return None
    namespace = rule.delegate.namespace or item.meta.namespace
    return ObjectKey(item.meta.registry, "VirtualService", namespace, rule.delegate.name)


def delegate_of(db: Database, item: VirtualService, rule: HttpRoute) -> VirtualService | None:
    """Return the VirtualService that a rule goes on with, if it is one that may be gone on with."""
    key = delegate_key(item, rule)
    found = OBJECT(db, key) if key else None
    if not isinstance(found, VirtualService) or found.hosts:
        return None
    owner = found.meta.namespace
    seen = visible_from(item.meta.namespace, owner=owner, export_to=found.export_to)
    return found if seen else None


def merged_rules(
    db: Database, item: VirtualService, root: HttpRoute, delegate: VirtualService
) -> Iterator[tuple[int, HttpRoute | None]]:
    """Yield what becomes of each rule of a delegate, by its number; None where it is out of force."""
    domain = settings(db).domain
    outer = _in_full(root.match, item.meta.namespace)
    for number, rule in enumerate(delegate.http):
        if rule.delegate is None:
            full = _complete(rule, delegate.meta.namespace, domain)
            yield number, _merge(root, outer, full)


def _complete(rule: HttpRoute, namespace: str, domain: str) -> HttpRoute:
    """Return a rule with all names in full, so that it means the same in another namespace."""

    def full(destination: Destination) -> Destination:
        return replace(destination, host=resolve_host(destination.host, namespace, domain))

    return replace(
        rule,
        match=_in_full(rule.match, namespace),
        route=tuple(replace(one, destination=full(one.destination)) for one in rule.route),
        mirrors=tuple(replace(one, destination=full(one.destination)) for one in rule.mirrors),
    )


def _in_full(matches: tuple[HttpMatch, ...], namespace: str) -> tuple[HttpMatch, ...]:
    return tuple(
        replace(match, gateways=_gateways(match.gateways, namespace)) if match.gateways else match
        for match in matches
    )


def _gateways(names: Iterable[str], namespace: str) -> tuple[str, ...]:
    return tuple(n if n == MESH_GATEWAY else gateway_name(n, namespace) for n in names)


def _merge(root: HttpRoute, outer: tuple[HttpMatch, ...], rule: HttpRoute) -> HttpRoute | None:
    match = _merge_matches(outer, rule.match)
    if match is None:
        return None
    return replace(
        rule,
        name="-".join(filter(None, (root.name, rule.name))),
        match=match,
        rewrite=rule.rewrite or root.rewrite,
        timeout=root.timeout if rule.timeout is None else rule.timeout,
        retries=rule.retries or root.retries,
        headers=root.headers if rule.headers == Headers() else rule.headers,
        mirrors=rule.mirrors or root.mirrors,
        fault=rule.fault or root.fault,
        cors=rule.cors or root.cors,
    )


def _merge_matches(
    outer: tuple[HttpMatch, ...], inner: tuple[HttpMatch, ...]
) -> tuple[HttpMatch, ...] | None:
    """Return every pair of alternatives that go together; None where an inner one is within no outer one."""
    if not outer or not inner:
        return outer or inner
    pairs = [[_narrowed(wide, one) for wide in outer if _within(one, wide)] for one in inner]
    return tuple(match for found in pairs for match in found) if all(pairs) else None


def _narrowed(wide: HttpMatch, one: HttpMatch) -> HttpMatch:
    return HttpMatch(
        name="-".join(filter(None, (wide.name, one.name))),
        uri=one.uri or wide.uri,
        ignore_uri_case=one.ignore_uri_case,
        scheme=one.scheme or wide.scheme,
        method=one.method or wide.method,
        authority=one.authority or wide.authority,
        headers=_joined(wide.headers, one.headers),
        without_headers=_joined(wide.without_headers, one.without_headers),
        query_params=_joined(wide.query_params, one.query_params),
        claims=_joined(wide.claims, one.claims),
        without_claims=_joined(wide.without_claims, one.without_claims),
        port=one.port or wide.port,
        gateways=one.gateways or wide.gateways,
        source_labels=labels(dict(wide.source_labels) | dict(one.source_labels)),
        source_namespace=one.source_namespace or wide.source_namespace,
        stat_prefix=one.stat_prefix or wide.stat_prefix,
    )


def _joined(
    wide: tuple[tuple[Key, StringMatch], ...], one: tuple[tuple[Key, StringMatch], ...]
) -> tuple[tuple[Key, StringMatch], ...]:
    return tuple(sorted((dict(wide) | dict(one)).items()))


def _within(one: HttpMatch, wide: HttpMatch) -> bool:
    """Tell whether all that an inner alternative asks for can hold together with an outer one."""
    singles = (
        (one.uri, wide.uri),
        (one.scheme, wide.scheme),
        (one.method, wide.method),
        (one.authority, wide.authority),
    )
    several = (
        (one.headers, wide.headers),
        (one.without_headers, wide.without_headers),
        (one.query_params, wide.query_params),
    )
    claims = ((one.claims, wide.claims), (one.without_claims, wide.without_claims))
    return (
        all(_narrows(inner, outer) for inner, outer in singles)
        and all(_narrow(inner, outer) for inner, outer in several)
        and all(_narrow(inner, outer) for inner, outer in claims)
        and one.ignore_uri_case == wide.ignore_uri_case
        and _is_same_source(one, wide)
    )


def _is_same_source(one: HttpMatch, wide: HttpMatch) -> bool:
    """Tell whether two alternatives may be for the same clients, ports and gateways."""
    wanted = dict(wide.source_labels)
    return (
        (not one.port or not wide.port or one.port == wide.port)
        and all(wanted.get(name, value) == value for name, value in one.source_labels)
        and wide.source_namespace in ("", one.source_namespace or wide.source_namespace)
        and (not one.gateways or not wide.gateways or set(one.gateways) <= set(wide.gateways))
    )


def _narrow(
    inner: tuple[tuple[Key, StringMatch], ...], outer: tuple[tuple[Key, StringMatch], ...]
) -> bool:
    wide = dict(outer)
    return all(_narrows(match, wide.get(name)) for name, match in inner)


def _narrows(inner: StringMatch | None, outer: StringMatch | None) -> bool:
    """Tell whether whatever an inner comparison takes is taken by the outer one as well."""
    if inner is None or outer is None or inner == outer:
        return True
    if MatchKind.REGEX in (inner.kind, outer.kind):
        return False
    if outer.kind is MatchKind.PREFIX and inner.kind is not MatchKind.PRESENT:
        return inner.value.startswith(outer.value)
    return outer.kind is MatchKind.PRESENT
