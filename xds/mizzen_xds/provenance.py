"""Which resources were made from an object, found without looking at all of them.

An index goes with a family of tables: it takes in what changed from one table to the next, so that a
question after a change costs what the change touched, and not the size of the mesh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.bundle import EMPTY_TABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from mizzen.bundle import Entry, Table
    from mizzen.names import ObjectKey
    from mizzen.wire import TypeUrl
    from mizzen_xds.audience import Audience


class TableIndex:
    """The names of one table by the objects of some kinds that they were made from, and its size."""

    __slots__ = ("_kinds", "_names", "size_bytes", "table", "type")

    def __init__(self, of: TypeUrl, kinds: frozenset[str]) -> None:
        self.type = of
        self.size_bytes = 0
        self._kinds = kinds
        self.table: Table = EMPTY_TABLE
        self._names: dict[ObjectKey, set[str]] = {}

    def follow(self, table: Table) -> None:
        """Be the index of a table from now on."""
        for name in table.changed_since(self.table):
            self._drop(name, self.table.get(name))
            self._add(name, table.get(name))
        self.table = table

    def names(self, key: ObjectKey) -> Collection[str]:
        """Return the names of what was made from an object, in no order."""
        return self._names.get(key, ())

    def among(self, keys: frozenset[ObjectKey]) -> Iterator[ObjectKey]:
        """Yield those of the objects that something was made from."""
        if len(self._names) < len(keys):
            return (key for key in self._names if key in keys)
        return (key for key in keys if key in self._names)

    def _drop(self, name: str, entry: Entry | None) -> None:
        if entry is None:
            return
        self.size_bytes -= len(entry.resource.body)
        for key in self._counted(entry):
            names = self._names[key]
            names.discard(name)
            if not names:
                del self._names[key]

    def _add(self, name: str, entry: Entry | None) -> None:
        if entry is None:
            return
        self.size_bytes += len(entry.resource.body)
        for key in self._counted(entry):
            self._names.setdefault(key, set()).add(name)

    def _counted(self, entry: Entry) -> set[ObjectKey]:
        return {key for key in entry.origins if key.kind in self._kinds}


class Provenance:
    """The indexes of everything that the audiences are to have; only objects of ``kinds`` are in them."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = frozenset(kinds)
        self._indexes: dict[object, TableIndex] = {}
        self._of: dict[Audience, tuple[TableIndex, ...]] = {}

    def follow(self, audiences: Iterable[Audience]) -> None:
        """Bring the indexes to what the audiences are to have now, and let go of all others."""
        before, self._indexes = self._indexes, {}
        self._of = {
            audience: tuple(self._index(of, table, before) for of, table in _tables(audience))
            for audience in audiences
        }

    def indexes(self, audience: Audience) -> tuple[TableIndex, ...]:
        """Return the indexes of what an audience is to have."""
        return self._of.get(audience, ())

    def among(self, keys: frozenset[ObjectKey]) -> Mapping[TableIndex, frozenset[ObjectKey]]:
        """Return those of the objects that something in each index was made from."""
        found = ((index, frozenset(index.among(keys))) for index in self._indexes.values())
        return {index: those for index, those in found if those}

    @property
    def size_bytes(self) -> int:
        """The size of all resources together, each counted once."""
        return sum(index.size_bytes for index in self._indexes.values())

    def _index(self, of: TypeUrl, table: Table, before: Mapping[object, TableIndex]) -> TableIndex:
        known = self._indexes.get(table.family)
        if known is not None and known.table is table:
            return known
        # Two tables of one family at a time are rare: the second one then has an index of its own.
        place: object = table.family if known is None else table
        index = self._indexes.get(place) or before.get(place) or TableIndex(of, self._kinds)
        index.follow(table)
        self._indexes[place] = index
        return index


def _tables(audience: Audience) -> Iterator[tuple[TypeUrl, Table]]:
    views = {} if audience.target is None else audience.target.views
    for of, view in views.items():
        for table in view.layers:
            yield of, table
