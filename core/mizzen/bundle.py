"""What a class of proxies is to have: for each type, a read-only table from name to entry.

A :class:`Table` is immutable. Tables that grew out of one another share a *lineage*, a short memory of
which names changed at each step, so that the difference between what a stream was sent and what is now
offered costs what changed, not the size of the mesh. Without a common lineage (or where the memory is
too short) the tables are compared name by name; the answer is the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar, overload

from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from mizzen.names import ObjectKey
    from mizzen.wire import Resource

T = TypeVar("T")

# How many steps back a table can say what changed. A stream is at most one push behind; a proxy that
# slept through more is compared name by name once.
_MEMORY: Final = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """A resource with where it came from and what must be there before it.

    Attributes:
        resource: The encoded resource.
        origins: The objects that shaped it, for blame and for status.
        requires: Names of the clusters that a virtual host or listener routes to; a proxy is sent the
            entry only once it has acknowledged these (make before break). What is not there is waited for
            a while where it is new in the entry: so a listener also names secrets that it lacks.
    """

    resource: Resource
    origins: tuple[ObjectKey, ...] = ()
    requires: frozenset[str] = frozenset()


class _Lineage:
    """The names changed at each of the last steps of a family of tables."""

    __slots__ = ("first", "steps")

    def __init__(self) -> None:
        self.first = 0
        self.steps: deque[frozenset[str]] = deque()

    @property
    def next(self) -> int:
        """The number of the step that comes next."""
        return self.first + len(self.steps)

    def record(self, names: frozenset[str]) -> None:
        """Add a step, forgetting the oldest one where there are too many."""
        self.steps.append(names)
        if len(self.steps) > _MEMORY:
            self.steps.popleft()
            self.first += 1

    def between(self, older: int, newer: int) -> frozenset[str] | None:
        """Return the names changed from one step to another, ``None`` where that is forgotten."""
        if not self.first <= older <= newer:
            return None
        return frozenset().union(*islice(self.steps, older - self.first, newer - self.first))


class Table(Mapping[str, Entry]):
    """An immutable mapping from resource name to entry that can tell what changed since another one."""

    __slots__ = ("_entries", "_lineage", "_step")

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        """Start a lineage of its own with these entries, in sorted order of names."""
        source = entries or {}
        self._entries: dict[str, Entry] = {name: source[name] for name in sorted(source)}
        self._lineage = _Lineage()
        self._step = 0

    @property
    def family(self) -> object:
        """What this table has in common with those that it tells its changes from without comparing."""
        return self._lineage

    def updated(self, changes: Mapping[str, Entry | None]) -> Table:
        """Return the table with entries set, or removed where ``None``; itself when nothing differs."""
        real = {name: entry for name, entry in changes.items() if self._entries.get(name) != entry}
        if not real:
            return self
        table = object.__new__(Table)
        table._entries = _merged(self._entries, real)
        if self._entries and self._step == self._lineage.next:
            self._lineage.record(frozenset(real))
            table._lineage, table._step = self._lineage, self._step + 1
        else:
            # A second branch from an old table starts a lineage of its own, and so does whatever comes
            # of an empty one: strangers have it in common, and there is nothing to compare with.
            table._lineage, table._step = _Lineage(), 0
        return table

    def changed_since(self, older: Table) -> frozenset[str]:
        """Return the names that were added, changed or removed between ``older`` and this table."""
        if older is self:
            return frozenset()
        if older._lineage is self._lineage:
            known = self._lineage.between(older._step, self._step)
            if known is not None:
                return known
        mine, theirs = self._entries, older._entries
        differing = {name for name, entry in mine.items() if theirs.get(name) != entry}
        return frozenset(differing | (theirs.keys() - mine.keys()))

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    @overload
    def get(self, key: str, /) -> Entry | None: ...

    @overload
    def get(self, key: str, default: Entry | T, /) -> Entry | T: ...

    def get(self, key: str, default: Entry | T | None = None, /) -> Entry | T | None:
        """Return the entry of a name; as a mapping's, but without an exception for what is missing."""
        return self._entries.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Table):
            return self is other
        if self._lineage is other._lineage:
            # Every step of a lineage changed something; two that came round to the same content are
            # still told apart, which costs a comparison of names later and saves it here.
            return self._step == other._step
        return self._entries == other._entries

    # By identity, and in C: tables are keys of what is remembered of them.
    __hash__ = object.__hash__


def _merged(entries: dict[str, Entry], changes: Mapping[str, Entry | None]) -> dict[str, Entry]:
    """Return a sorted copy with the changes in it; the order is kept for free where no name is new."""
    merged = entries.copy()
    for name, entry in changes.items():
        if entry is None:
            merged.pop(name, None)
        else:
            merged[name] = entry
    if all(name in entries for name in changes):
        return merged
    return {name: merged[name] for name in sorted(merged)}


EMPTY_TABLE: Final = Table()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The whole configuration of one class of proxies at one revision of the world.

    Of secrets it has those that users wrote, for a class that may have them. The workload's own are not in
    it: they belong to an identity, not to a class, and come from the CA.
    """

    revision: int
    tables: Mapping[TypeUrl, tuple[Table, ...]] = field(default_factory=dict)

    def layers(self, type_url: TypeUrl) -> tuple[Table, ...]:
        """Return the tables of a type; no name stands in two of them."""
        return self.tables.get(type_url, ())

    def get(self, type_url: TypeUrl, name: str) -> Entry | None:
        """Return the entry of a name, or ``None``."""
        for table in self.layers(type_url):
            if (entry := table.get(name)) is not None:
                return entry
        return None
