"""What is to be had of a type, what differs from what is had, and the bytes of the difference.

All of it is immutable and shared by as many streams as can share it: what is found out about a change
(its names, its cuts, its bytes) is kept with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mizzen.names import route_configuration_of
from mizzen.render.discovery import splice_delta
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.bundle import Entry, Table

Layers = tuple["Table", ...]


class View:
    """What a class is to have of one type: tables, and what quarantine puts in place of some entries.

    An override of ``None`` withholds: nothing is sent under that name, and nothing is taken away.
    """

    __slots__ = ("layers", "overrides")

    def __init__(
        self, layers: Layers = (), overrides: Mapping[str, Entry | None] | None = None
    ) -> None:
        self.layers = layers
        self.overrides: Mapping[str, Entry | None] = overrides or {}

    def get(self, name: str) -> Entry | None:
        """Return the entry that a proxy is to have, ``None`` where there is none or it is withheld."""
        if self.overrides and name in self.overrides:
            return self.overrides[name]
        return find(self.layers, name)

    def withholds(self, name: str) -> bool:
        """Tell whether the name is left as it is."""
        return name in self.overrides and self.overrides[name] is None

    def names(self) -> Iterator[str]:
        """Yield every name in it, layer by layer."""
        for table in self.layers:
            yield from table


NO_VIEW: Final = View()


class Response(NamedTuple):
    """An encoded response, in parts that may belong to other responses too."""

    type: TypeUrl
    nonce: str
    parts: tuple[bytes, ...]
    size: int


class Part:
    """As much of a change as goes into one response."""

    __slots__ = ("_names", "entries", "payloads", "removed", "response", "size")

    def __init__(
        self, entries: tuple[Entry, ...], removed: tuple[str, ...], payloads: tuple[bytes, ...]
    ) -> None:
        self.entries = entries
        self.removed = removed
        self.payloads = payloads
        self.size = sum(map(len, payloads))
        self.response: Response | None = None
        self._names: frozenset[str] | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names that it sets or removes."""
        if self._names is None:
            self._names = frozenset(entry.resource.name for entry in self.entries).union(
                self.removed
            )
        return self._names


class Change:
    """A difference of one type: entries to set and names to remove. Immutable; shared where it can be."""

    __slots__ = (
        "_names",
        "_parts",
        "_requires",
        "_routes",
        "_without",
        "entries",
        "origin",
        "removed",
        "type",
    )

    def __init__(
        self,
        type_url: TypeUrl,
        entries: tuple[Entry, ...] = (),
        removed: tuple[str, ...] = (),
        origin: tuple[Change, ...] = (),
    ) -> None:
        self.type = type_url
        self.entries = entries
        self.removed = removed
        self.origin = origin
        self._names: frozenset[str] | None = None
        self._requires: frozenset[str] | None = None
        self._routes: frozenset[str] | None = None
        self._parts: tuple[Part, ...] | None = None
        self._without: dict[frozenset[str], Change] = {}

    def __bool__(self) -> bool:
        return bool(self.entries or self.removed)

    @property
    def names(self) -> frozenset[str]:
        """The names that it sets or removes."""
        if self._names is None:
            self._names = frozenset(entry.resource.name for entry in self.entries).union(
                self.removed
            )
        return self._names

    @property
    def requires(self) -> frozenset[str]:
        """The clusters that any of its entries needs."""
        if self._requires is None:
            whole = self.origin or self.entries
            self._requires = frozenset().union(*(part.requires for part in whole))
        return self._requires

    @property
    def routes(self) -> frozenset[str]:
        """The route configurations of the virtual hosts that it sets."""
        if self._routes is None:
            if self.origin:
                self._routes = frozenset().union(*(change.routes for change in self.origin))
            else:
                names = (entry.resource.name for entry in self.entries)
                self._routes = frozenset(map(route_configuration_of, names))
        return self._routes

    def without(self, held: frozenset[str]) -> Change:
        """Return the change less these names."""
        if self.names.isdisjoint(held):
            return self
        known = self._without.get(held)
        if known is None:
            entries = tuple(entry for entry in self.entries if entry.resource.name not in held)
            removed = tuple(name for name in self.removed if name not in held)
            known = self._without[held] = Change(self.type, entries, removed)
        return known

    def parts(self, limit: int) -> tuple[Part, ...]:
        """Return the change cut into parts of at most ``limit`` bytes, where it can be cut."""
        if self.origin:
            return tuple(_packed((p for change in self.origin for p in change.parts(limit)), limit))
        if self._parts is None:
            groups = _groups(self)
            self._parts = tuple(_packed((p for g in groups for p in _cut(g, limit)), limit))
            for part in self._parts:
                part.payloads = (b"".join(part.payloads),)
        return self._parts


NO_CHANGE: Final = Change(TypeUrl.CLUSTER)


def find(layers: Layers, name: str) -> Entry | None:
    """Return the entry of a name in one of the layers."""
    for table in layers:
        entry = table.get(name)
        if entry is not None:
            return entry
    return None


def _groups(change: Change) -> Iterator[Part]:
    """Yield what has to stay together: a route configuration's hosts, or else a single resource.

    The removals and changes of a group stand before what is added, so that a group too large for one
    response lets go of domains before it takes them up.
    """
    if change.type is not TypeUrl.VIRTUAL_HOST:
        for entry in change.entries:
            yield _part((entry,), ())
        if change.removed:
            yield _part((), change.removed)
        return
    routes: dict[str, tuple[list[Entry], list[str]]] = {}
    for entry in change.entries:
        routes.setdefault(route_configuration_of(entry.resource.name), ([], []))[0].append(entry)
    for name in change.removed:
        routes.setdefault(route_configuration_of(name), ([], []))[1].append(name)
    for entries, removed in routes.values():
        yield _part(tuple(entries), tuple(removed))


def _part(entries: tuple[Entry, ...], removed: tuple[str, ...]) -> Part:
    return Part(entries, removed, (splice_delta((e.resource for e in entries), removed),))


def _cut(part: Part, limit: int) -> Iterator[Part]:
    """Yield a part whole where it fits, else its removals and then one entry at a time."""
    if part.size <= limit or len(part.entries) < 2:
        yield part
        return
    if part.removed:
        yield _part((), part.removed)
    for entry in part.entries:
        yield _part((entry,), ())


def _packed(parts: Iterable[Part], limit: int) -> Iterator[Part]:
    """Yield parts joined to their neighbours as far as the limit allows."""
    waiting: list[Part] = []
    size = 0
    for part in parts:
        if waiting and size + part.size > limit:
            yield _joined(waiting)
            waiting, size = [], 0
        waiting.append(part)
        size += part.size
    if waiting:
        yield _joined(waiting)


def _joined(parts: list[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    return Part(
        tuple(entry for part in parts for entry in part.entries),
        tuple(name for part in parts for name in part.removed),
        tuple(payload for part in parts for payload in part.payloads),
    )
