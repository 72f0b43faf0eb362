"""Whether one alternative of a rule takes everything that another one takes.

An answer of no may mean that it is not known: no two expressions are compared but for being the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from mizzen.model.routing import ConnectionMatch, HttpMatch, MatchKind, StringMatch
from mizzen.resolve.matching import request_match, takes_everything

Key = TypeVar("Key", str, tuple[str, ...])


def covers(wide: HttpMatch, one: HttpMatch) -> bool:
    """Tell whether every request that an alternative takes is taken by a wider one too."""
    singles = (
        (one.scheme, wide.scheme),
        (one.method, wide.method),
        (one.authority, wide.authority),
    )
    return (
        _covers_clients(wide, one)
        and _covers_path(wide, one)
        and all(_implies(inner, outer) for inner, outer in singles)
        and _all_implied(one.headers, wide.headers)
        and _all_implied(one.query_params, wide.query_params)
        and _all_implied(one.claims, wide.claims)
        and _none_implied(one.without_headers, wide.without_headers)
        and _none_implied(one.without_claims, wide.without_claims)
    )


def covers_connections(wide: ConnectionMatch, one: ConnectionMatch) -> bool:
    """Tell whether every connection that an alternative takes is taken by a wider one too."""
    subnets = set(one.destination_subnets) <= set(wide.destination_subnets)
    names = set(one.sni_hosts) <= set(wide.sni_hosts)
    return (
        _covers_clients(wide, one)
        and (not wide.destination_subnets or (bool(one.destination_subnets) and subnets))
        and (not wide.sni_hosts or (bool(one.sni_hosts) and names))
    )


def takes_all(match: HttpMatch) -> bool:
    """Tell whether an alternative takes every request, whoever sends it and wherever it comes."""
    return _covers_clients(match, HttpMatch()) and takes_everything(request_match(match))


def _covers_clients(wide: HttpMatch | ConnectionMatch, one: HttpMatch | ConnectionMatch) -> bool:
    return (
        wide.port in (None, one.port)
        and (not wide.gateways or (bool(one.gateways) and set(one.gateways) <= set(wide.gateways)))
        and set(wide.source_labels) <= set(one.source_labels)
        and wide.source_namespace in ("", one.source_namespace)
    )


def _covers_path(wide: HttpMatch, one: HttpMatch) -> bool:
    outer, inner = wide.uri, one.uri
    if outer is None or (outer.kind is MatchKind.PREFIX and outer.value in ("", "/")):
        return True
    if inner is None or (one.ignore_uri_case and not wide.ignore_uri_case):
        return False
    if wide.ignore_uri_case and MatchKind.REGEX not in (inner.kind, outer.kind):
        inner = StringMatch(inner.kind, inner.value.lower())
        outer = StringMatch(outer.kind, outer.value.lower())
    return _implies(inner, outer)


def _implies(inner: StringMatch | None, outer: StringMatch | None) -> bool:
    """Tell whether what one comparison takes is taken by the other one."""
    if outer is None or inner == outer:
        return True
    if inner is None or MatchKind.REGEX in (inner.kind, outer.kind):
        return inner is not None and outer.kind is MatchKind.PRESENT
    if outer.kind is MatchKind.PREFIX and inner.kind is not MatchKind.PRESENT:
        return inner.value.startswith(outer.value)
    return outer.kind is MatchKind.PRESENT


def _all_implied(
    inner: Iterable[tuple[Key, StringMatch]], outer: Iterable[tuple[Key, StringMatch]]
) -> bool:
    asked = dict(inner)
    return all(_implies(asked.get(name), match) for name, match in outer)


def _none_implied(
    inner: Iterable[tuple[Key, StringMatch]], outer: Iterable[tuple[Key, StringMatch]]
) -> bool:
    """Tell whether what is without the inner ones is without the outer ones."""
    refused = dict(inner)
    return all(name in refused and _implies(match, refused[name]) for name, match in outer)
