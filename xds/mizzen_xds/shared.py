"""What streams share: each difference found once, each response made once.

A thousand streams that get the same change get the same bytes object. That follows from three things:
tables are shared between classes, so a difference is found once for a pair of tables and a
subscription; a difference is cut and spliced once; and the nonce is a part of the response, so that even
the acknowledgements are alike. What is remembered is what the last two revisions needed.
"""

from __future__ import annotations

from itertools import count, zip_longest
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from mizzen.bundle import EMPTY_TABLE
from mizzen.names import route_configuration_of, virtual_host_name
from mizzen.render.discovery import delta_trailer, joint_version
from mizzen.wire import TypeUrl
from mizzen_xds.change import NO_CHANGE, Change, Part, Response, find
from mizzen_xds.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.bundle import Entry, Table
    from mizzen.wire import Resource
    from mizzen_xds.change import Layers
    from mizzen_xds.subscription import Step

K = TypeVar("K")
V = TypeVar("V")

# Joint changes above this size are put together for each stream instead of being remembered: first
# configurations of many classes share nearly all their bytes by layer, and must not be kept whole.
_REMEMBERED_BYTES: Final = 64 * 1024
_INTERNED: Final = 8192


class _Memo(Generic[K, V]):
    """Values used in this generation or the one before."""

    __slots__ = ("_old", "_young")

    def __init__(self) -> None:
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what is remembered."""
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self._young[key] = value
        return value

    def put(self, key: K, value: V) -> V:
        """Remember a value and return it."""
        self._young[key] = value
        return value

    def next_generation(self) -> None:
        """Forget what was not used since the last call."""
        self._young, self._old = {}, self._young


class Shared:
    """Differences and responses, each made once. One for a publisher."""

    def __init__(self, *, response_limit_bytes: int) -> None:
        self._limit = response_limit_bytes
        self._nonces = count(1)
        self._subscriptions: dict[Subscription, Subscription] = {}
        self._layered: _Memo[tuple[TypeUrl, Layers, Layers, Subscription], Change] = _Memo()
        self._between: _Memo[tuple[Table, Table, Subscription], Change] = _Memo()
        self._exact: _Memo[tuple[TypeUrl, tuple[Resource, ...], tuple[str, ...]], Change] = _Memo()
        self._picked: _Memo[tuple[TypeUrl, Layers, frozenset[str]], Change] = _Memo()
        self._missing: _Memo[tuple[Layers, frozenset[str]], tuple[str, ...]] = _Memo()
        self._versions: _Memo[tuple[Layers, Subscription], Mapping[str, str]] = _Memo()
        self._uncovered: _Memo[tuple[Layers, Subscription], frozenset[str]] = _Memo()
        self._hosts: _Memo[tuple[Layers, frozenset[str]], frozenset[str]] = _Memo()
        self._hostless: _Memo[tuple[Layers, frozenset[str]], frozenset[str]] = _Memo()

    def next_generation(self) -> None:
        """Forget what was used neither in this generation nor in the one before."""
        self._layered.next_generation()
        self._between.next_generation()
        self._exact.next_generation()
        self._picked.next_generation()
        self._missing.next_generation()
        self._versions.next_generation()
        self._uncovered.next_generation()
        self._hosts.next_generation()
        self._hostless.next_generation()

    def intern(self, step: Step) -> Subscription:
        """Return the one object that stands for equal subscriptions."""
        if len(self._subscriptions) > _INTERNED:
            self._subscriptions.clear()
        return self._subscriptions.setdefault(step.subscription, step.subscription)

    def nonce(self) -> str:
        """Return a nonce that no other response has."""
        return f"{next(self._nonces):x}"

    def parts(self, change: Change) -> tuple[Part, ...]:
        """Return a change cut into responses."""
        return change.parts(self._limit)

    def response(self, type_url: TypeUrl, part: Part) -> Response:
        """Return the delta response of a part."""
        if part.response is not None:
            return part.response
        nonce = self.nonce()
        trailer = delta_trailer(type_url, nonce)
        size = part.size + len(trailer)
        response = Response(type_url, nonce, (*part.payloads, trailer), size)
        # A private key is not kept longer than it takes to send it.
        if type_url is not TypeUrl.SECRET and len(part.payloads) == 1:
            part.response = response
        return response

    def difference(
        self, type_url: TypeUrl, older: Layers, newer: Layers, wanted: Subscription
    ) -> Change:
        """Return what changed from some layers to others, as far as it is subscribed to."""
        if older is newer:
            return NO_CHANGE
        key = (type_url, older, newer, wanted)
        known = self._layered.get(key)
        if known is not None:
            return known
        changes = [
            change
            for old, new in zip_longest(older, newer, fillvalue=EMPTY_TABLE)
            if old is not new and (change := self._table_difference(type_url, old, new, wanted))
        ]
        if len(changes) < 2:
            return self._layered.put(key, changes[0] if changes else NO_CHANGE)
        joint = _joint(type_url, changes, newer)
        if sum(part.size for part in joint.parts(self._limit)) <= _REMEMBERED_BYTES:
            self._layered.put(key, joint)
        return joint

    def _table_difference(
        self, type_url: TypeUrl, old: Table, new: Table, wanted: Subscription
    ) -> Change:
        key = (old, new, wanted)
        known = self._between.get(key)
        if known is not None:
            return known
        names = sorted(name for name in new.changed_since(old) if wanted.matches(name))
        entries = tuple(new[name] for name in names if _is_news(new, old, name))
        removed = tuple(name for name in names if name not in new and name in old)
        return self._between.put(key, Change(type_url, entries, removed))

    def fresh(
        self, type_url: TypeUrl, layers: Layers, wanted: Subscription, asked: frozenset[str]
    ) -> Change:
        """Return all that is subscribed to, and as removed what was asked for and is not there."""
        change = self.difference(type_url, (), layers, wanted)
        missing = self.missing(layers, asked)
        if not missing:
            return change
        gone = self.exactly(type_url, (), missing)
        return Change(type_url, change.entries, missing, (change, gone))

    def missing(self, layers: Layers, asked: frozenset[str]) -> tuple[str, ...]:
        """Return those of the names that no layer has."""
        if not asked:
            return ()
        key = (layers, asked)
        known = self._missing.get(key)
        if known is None:
            absent = sorted(name for name in asked if find(layers, name) is None)
            known = self._missing.put(key, tuple(absent))
        return known

    def pick(self, type_url: TypeUrl, layers: Layers, names: frozenset[str]) -> Change:
        """Return a change that sends these names whatever the client has."""
        key = (type_url, layers, names)
        known = self._picked.get(key)
        if known is None:
            found = (find(layers, name) for name in sorted(names))
            entries = tuple(entry for entry in found if entry is not None)
            change = self.exactly(type_url, entries, self.missing(layers, names))
            known = self._picked.put(key, change)
        return known

    def exactly(
        self, type_url: TypeUrl, entries: tuple[Entry, ...], removed: tuple[str, ...]
    ) -> Change:
        """Return the one change with this content."""
        if not entries and not removed:
            return NO_CHANGE
        key = (type_url, tuple(entry.resource for entry in entries), removed)
        known = self._exact.get(key)
        return known or self._exact.put(key, Change(type_url, entries, removed))

    def versions(self, layers: Layers, wanted: Subscription) -> Mapping[str, str]:
        """Return the version of every name that is subscribed to."""
        key = (layers, wanted)
        known = self._versions.get(key)
        if known is None:
            versions = {
                name: entry.resource.version
                for table in layers
                for name, entry in table.items()
                if wanted.matches(name)
            }
            known = self._versions.put(key, versions)
        return known

    def version(self, layers: Layers, wanted: Subscription) -> str:
        """Return the joint version of everything that is subscribed to."""
        change = self.difference(TypeUrl.CLUSTER, (), layers, wanted)
        return joint_version(sorted((e.resource for e in change.entries), key=_name))

    def uncovered(self, layers: Layers, wanted: Subscription) -> frozenset[str]:
        """Return the names that are not subscribed to."""
        key = (layers, wanted)
        known = self._uncovered.get(key)
        if known is None:
            names = (name for table in layers for name in table if not wanted.matches(name))
            known = self._uncovered.put(key, frozenset(names))
        return known

    def hosts(self, layers: Layers, routes: frozenset[str]) -> frozenset[str]:
        """Return the virtual hosts of some route configurations."""
        key = (layers, routes)
        known = self._hosts.get(key)
        if known is None:
            names = (name for table in layers for name in table)
            mine = frozenset(name for name in names if route_configuration_of(name) in routes)
            known = self._hosts.put(key, mine)
        return known

    def hostless(self, layers: Layers, routes: frozenset[str]) -> frozenset[str]:
        """Return a name within each of the route configurations that have no virtual host."""
        key = (layers, routes)
        known = self._hostless.get(key)
        if known is None:
            peopled = {route_configuration_of(name) for name in self.hosts(layers, routes)}
            names = (virtual_host_name(route, "") for route in routes - peopled)
            known = self._hostless.put(key, frozenset(names))
        return known


def _name(resource: Resource) -> str:
    return resource.name


def _is_news(new: Table, old: Table, name: str) -> bool:
    """Tell whether a name stands in the new table with another version than in the old one."""
    entry, before = new.get(name), old.get(name)
    if entry is None:
        return False
    return before is None or before.resource.version != entry.resource.version


def _joint(type_url: TypeUrl, changes: list[Change], layers: Layers) -> Change:
    """Return the changes of several layers as one; a name that moved between layers is not removed."""
    entries = tuple(entry for change in changes for entry in change.entries)
    removed = tuple(name for change in changes for name in change.removed)
    staying = tuple(name for name in removed if find(layers, name) is None)
    if len(staying) < len(removed):
        return Change(type_url, entries, staying)
    return Change(type_url, entries, removed, tuple(changes))
