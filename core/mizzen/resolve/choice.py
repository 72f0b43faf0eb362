"""Which VirtualService routes a host of the mesh.

It is one alone: the one with the most specific host pattern, and of those the most private, then the
oldest; several are never merged (Istio: ``MostSpecificHostMatch`` over the sidecar's VirtualServices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.meta import visible_from
from mizzen.model.routing import ConnectionMatch, HttpMatch, Part, VirtualService
from mizzen.names import covering_hosts
from mizzen.resolve.aliases import destination_host
from mizzen.resolve.delegates import http_rules
from mizzen.resolve.sidecars import imports_route
from mizzen.resolve.world import OBJECT, ROUTES_AT_HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.model.proxy import Scope


@query
def contenders_by_pattern(db: Database, host: str) -> tuple[tuple[VirtualService, ...], ...]:
    """Return the VirtualServices that could route a mesh host: by pattern, the most specific first.

    Those of one pattern stand the oldest first.
    """
    levels: list[tuple[VirtualService, ...]] = []
    for pattern in covering_hosts(host):
        items = (OBJECT(db, key) for key in ROUTES_AT_HOST(db, pattern))
        found = [item for item in items if isinstance(item, VirtualService)]
        if found:
            levels.append(tuple(sorted(found, key=lambda item: item.meta.age_rank)))
    return tuple(levels)


def contenders(db: Database, host: str) -> tuple[VirtualService, ...]:
    """Return the VirtualServices that could route a mesh host, each once."""
    levels = contenders_by_pattern(db, host)
    return tuple({item.meta.key: item for level in levels for item in level}.values())


def virtual_service_for(
    db: Database, scope: Scope, host: str, part: Part = Part.HTTP
) -> VirtualService | None:
    """Return the one VirtualService whose rules of a part route a mesh host, when seen from a scope."""
    for level in contenders_by_pattern(db, host):
        visible = [i for i in level if i.has(part) and is_visible(db, i, scope)]
        if visible:
            return min(visible, key=lambda item: _publicity(item, scope))
    return None


def is_visible(db: Database, item: VirtualService, scope: Scope) -> bool:
    """Tell whether a VirtualService is there for the proxies of a scope."""
    owner = item.meta.namespace
    exported = visible_from(scope.namespace, owner=owner, export_to=item.export_to)
    return exported and imports_route(db, scope, item)


def _publicity(item: VirtualService, scope: Scope) -> int:
    """Return how widely known a VirtualService is: in its namespace, to some others, to everyone."""
    if "*" in item.export_to:
        return 2
    return 0 if item.meta.namespace == scope.namespace else 1


@query
def tells_apart(db: Database, host: str) -> bool:
    """Tell whether a host's VirtualServices treat some clients differently from others."""
    return any(
        item.export_to != ("*",)
        or any(match.source_labels or match.source_namespace for match in _matches(db, item))
        for item in contenders(db, host)
    )


def _matches(db: Database, item: VirtualService) -> Iterator[HttpMatch | ConnectionMatch]:
    for rule in http_rules(db, item):
        yield from rule.match
    for connections in (*item.tls, *item.tcp):
        yield from connections.match


def destinations(db: Database, item: VirtualService) -> Iterator[str]:
    """Return the hosts that a VirtualService sends to."""
    for rule in http_rules(db, item):
        ahead = (*(one.destination for one in rule.route), *(m.destination for m in rule.mirrors))
        for destination in ahead:
            yield destination_host(db, destination.host, item.meta.namespace)
    for connections in (*item.tls, *item.tcp):
        for share in connections.route:
            yield destination_host(db, share.destination.host, item.meta.namespace)
