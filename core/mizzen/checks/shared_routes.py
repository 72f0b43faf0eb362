"""Rules of several VirtualServices for one host of a gateway: the older one's come first.

On gateways VirtualServices of one host are merged, and rules for every request go to the end; so a rule is
never reached where an older VirtualService takes all that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.cover import covers, takes_all
from mizzen.checks.destinations import hosts_of
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.meta import visible_from
from mizzen.model.routing import HttpMatch, VirtualService
from mizzen.names import MESH_GATEWAY
from mizzen.resolve.world import OBJECT, ROUTES_AT_GATEWAY, gateway_name

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.routing import HttpRoute


def check(db: Database, item: VirtualService) -> Found:
    """Yield the rules that an older VirtualService takes everything from, and those that take it."""
    told: set[str] = set()
    for other in _neighbours(db, item):
        older, younger = sorted((item, other), key=lambda one: one.meta.age_rank)
        for number, winner in _lost(older, younger):
            mine = number if younger is item else winner
            path = f"spec.http[{mine}]"
            if path in told:
                continue
            told.add(path)
            yield finding(codes.SHADOWED_ROUTE, item.meta, path, _words(item, other, older))


def _words(item: VirtualService, other: VirtualService, older: VirtualService) -> str:
    hosts = listed(sorted(set(item.hosts) & set(other.hosts)) or item.hosts)
    if older is item:
        return f"it takes all requests of a rule of {other.meta.key} for {hosts}, as the older one"
    return f"{other.meta.key} takes all its requests for {hosts}, which goes first by age and name"


def _neighbours(db: Database, item: VirtualService) -> list[VirtualService]:
    """Return the other VirtualServices of the same hosts and gateways, sorted by key."""
    names = {gateway_name(n, item.meta.namespace) for n in item.gateways if n != MESH_GATEWAY}
    hosts = hosts_of(db, item) if names else ()
    keys = {key for name in names for host in hosts for key in ROUTES_AT_GATEWAY(db, (name, host))}
    found = (OBJECT(db, key) for key in sorted(keys - {item.meta.key}))
    return [one for one in found if isinstance(one, VirtualService) and _meet(item, one)]


def _meet(one: VirtualService, other: VirtualService) -> bool:
    """Tell whether some namespace may see both."""
    if "*" in one.export_to or "*" in other.export_to:
        return True
    return visible_from(
        other.meta.namespace, owner=one.meta.namespace, export_to=one.export_to
    ) or visible_from(one.meta.namespace, owner=other.meta.namespace, export_to=other.export_to)


def _lost(older: VirtualService, younger: VirtualService) -> list[tuple[int, int]]:
    """Return the rules of the younger one that are never reached, each with the older's that takes most."""
    found = []
    for number, rule in enumerate(younger.http):
        takers = [_taker(older, match) for match in _alternatives(rule)]
        if takers and all(taker is not None for taker in takers):
            found.append((number, next(t for t in takers if t is not None)))
    return found


def _taker(older: VirtualService, one: HttpMatch) -> int | None:
    for number, rule in enumerate(older.http):
        if rule.delegate is None and any(_takes(wide, one) for wide in _alternatives(rule)):
            return number
    return None


def _takes(wide: HttpMatch, one: HttpMatch) -> bool:
    """Tell whether an alternative comes first on a gateway and takes all of another one."""
    return takes_all(wide) == takes_all(one) and covers(wide, one)


def _alternatives(rule: HttpRoute) -> tuple[HttpMatch, ...]:
    return rule.match or (HttpMatch(),)
