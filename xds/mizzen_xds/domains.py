"""Which virtual hosts have to travel together: those that exchange domains.

Envoy refuses a virtual host one of whose domains another one of the route configuration has, so a
domain that moves has to leave and arrive in one response. Bodies are decoded only where hosts of one
route configuration must be told apart, which is rare: some of them wait for a cluster, or one of them
was rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.names import route_configuration_of
from mizzen.render.discovery import domains_of
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mizzen.wire import Resource
    from mizzen_xds.change import Change, Part
    from mizzen_xds.channel import Had


def exchanging(change: Change, had: Had, waiting: frozenset[str]) -> frozenset[str]:
    """Return the hosts that wait, and those that exchange domains with them."""
    routes = {route_configuration_of(name) for name in waiting}
    near = [name for name in change.names if route_configuration_of(name) in routes]
    if len(near) == len(waiting):
        return waiting
    return waiting | _closure(waiting, _claims(near, change, had))


def units(type_url: TypeUrl, part: Part, before: Had) -> tuple[frozenset[str], ...]:
    """Return the names of a part in the smallest groups that can be sent alone."""
    names = sorted(part.names)
    if type_url is not TypeUrl.VIRTUAL_HOST:
        return tuple(frozenset((name,)) for name in names)
    claims = _claims(names, part, before)
    groups: list[frozenset[str]] = []
    done: set[str] = set()
    for name in names:
        if name not in done:
            group = _closure(frozenset((name,)), claims)
            done |= group
            groups.append(group)
    return tuple(groups)


def _claims(
    names: Iterable[str], change: Change | Part, had: Had
) -> Mapping[str, frozenset[tuple[str, str]]]:
    """Return the domains of each host before and after the change, with their route configuration."""
    after = {entry.resource.name: entry.resource for entry in change.entries}
    return {
        name: frozenset(
            (route_configuration_of(name), domain)
            for resource in (had.get(name), after.get(name))
            for domain in _domains(resource)
        )
        for name in names
    }


def _domains(resource: Resource | None) -> frozenset[str]:
    """Return a host's domains; of one from an earlier stream nothing is known, and ``*`` stands for it."""
    if resource is None:
        return frozenset()
    return domains_of(resource) if resource.body else frozenset("*")


def _closure(
    start: frozenset[str], claims: Mapping[str, frozenset[tuple[str, str]]]
) -> frozenset[str]:
    group = start
    while True:
        taken = frozenset().union(*(claims[name] for name in group))
        grown = frozenset(name for name, mine in claims.items() if not mine.isdisjoint(taken))
        if grown <= group:
            return group
        group |= grown
