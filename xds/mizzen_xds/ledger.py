"""What the proxies have said: who is up to date, what is live where, what was refused and why.

Counts are made when they are asked for, from the targets of the classes and the acknowledgements of
their streams: nothing is kept for each object, and an acknowledgement costs the same however many
objects there are.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping

    from mizzen.bundle import Table
    from mizzen.identity import SpiffeId
    from mizzen.model.proxy import NodeInfo
    from mizzen.names import ObjectKey
    from mizzen_xds.audience import Audience
    from mizzen_xds.stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """An object is live on ``live`` of the ``concerned`` proxies that it concerns."""

    live: int = 0
    concerned: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One response that a proxy refused, in the proxy's words.

    Attributes:
        names: The guilty resources; all of the response's while they are being looked for.
        origins: The objects that the guilty resources were made from.
        is_found: The guilty ones are known.
    """

    proxy: str
    type: TypeUrl
    names: tuple[str, ...]
    text: str
    origins: tuple[ObjectKey, ...]
    at: datetime
    is_found: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """A resource that a class refused and is spared until it changes."""

    class_key: Hashable
    type: TypeUrl
    name: str
    version: str
    instead: str | None
    text: str
    origins: tuple[ObjectKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyState:
    """One connected proxy.

    Attributes:
        target: The revision that it is to have, ``None`` before its class has one.
        acknowledged: The newest revision that it has completely, ``None`` before the first.
        refusing: How many resources its class refuses.
    """

    node: NodeInfo
    identity: SpiffeId
    class_key: Hashable | None
    connected_at: datetime
    target: int | None
    acknowledged: int | None
    refusing: int

    @property
    def is_up_to_date(self) -> bool:
        """Tell whether it has what it is to have."""
        return self.target is not None and self.target == self.acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """A revision came to be in force on every proxy, this long after it was offered."""

    revision: int
    took: timedelta


class Member:
    """What the ledger reads of a connection; the publisher keeps it."""

    __slots__ = (
        "audience",
        "behind_since_s",
        "class_key",
        "connected_at",
        "identity",
        "node",
        "revision",
        "stream",
        "took_s",
    )

    def __init__(
        self, stream: Stream, node: NodeInfo, identity: SpiffeId, connected_at: datetime
    ) -> None:
        self.stream = stream
        self.node = node
        self.identity = identity
        self.connected_at = connected_at
        self.class_key: Hashable | None = None
        self.audience: Audience | None = None
        self.revision: int | None = None
        # Since when it is to have what it has not, and how long it took to get it the last time.
        self.behind_since_s: float | None = None
        self.took_s = 0.0


class Ledger:
    """Answers questions about the connected proxies.

    ``members`` and ``audiences`` are read at each question.
    """

    def __init__(
        self,
        *,
        members: Callable[[], Iterable[Member]],
        audiences: Callable[[], Iterable[tuple[Hashable, Audience]]],
        refusals_kept: int,
    ) -> None:
        self._members = members
        self._audiences = audiences
        self._refusals: deque[Refusal] = deque(maxlen=refusals_kept)
        self._convergences: deque[Convergence] = deque(maxlen=refusals_kept)

    def record_refusal(self, refusal: Refusal) -> None:
        """Keep a refusal; the oldest is let go of."""
        self._refusals.append(refusal)

    def record_convergence(self, convergence: Convergence) -> None:
        """Keep when a revision was in force everywhere."""
        self._convergences.append(convergence)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The latest refusals, the oldest first."""
        return tuple(self._refusals)

    @property
    def convergences(self) -> tuple[Convergence, ...]:
        """The latest revisions that came to be in force everywhere, the oldest first."""
        return tuple(self._convergences)

    def members(self) -> Iterable[Member]:
        """Return the connected proxies as they are at this moment, in no order."""
        return self._members()

    def proxies(self) -> tuple[ProxyState, ...]:
        """Return the connected proxies in order of their ids."""
        return tuple(_state(member) for member in sorted(self._members(), key=_node_id))

    def quarantines(self) -> tuple[Quarantine, ...]:
        """Return what is spared to classes that refused it."""
        return tuple(_quarantines(self._audiences()))

    def liveness(self, keys: Collection[ObjectKey]) -> Mapping[ObjectKey, Liveness]:
        """Return for each object on how many of the proxies that it concerns it is live.

        It concerns a proxy when something in the proxy's configuration was made from it. It is live
        there when the proxy has acknowledged all of that and refuses none of it.
        """
        count = _Count(frozenset(keys))
        for member in self._members():
            count.add(member)
        return count.result()


class _Count:
    """The counting of one question; what tables say of the objects is looked up once a table."""

    def __init__(self, keys: frozenset[ObjectKey]) -> None:
        self._keys = keys
        self._tables: dict[Table, Mapping[ObjectKey, tuple[str, ...]]] = {}
        self._audiences: dict[int, Mapping[ObjectKey, tuple[tuple[TypeUrl, str], ...]]] = {}
        self._all_of: dict[int, frozenset[ObjectKey]] = {}
        self._live: Counter[ObjectKey] = Counter()
        self._concerned: Counter[ObjectKey] = Counter()

    def add(self, member: Member) -> None:
        """Count one proxy; one that has everything, as nearly all have, is not asked for each object."""
        audience = member.audience
        if audience is None:
            return
        if member.stream.is_settled and not audience.quarantine:
            keys = self._keys_of(audience)
            self._concerned.update(keys)
            self._live.update(keys)
            return
        places = self._audiences.get(id(audience))
        if places is None:
            places = self._audiences[id(audience)] = self._places(audience)
        for key, mine in places.items():
            self._concerned[key] += 1
            if not any(place in audience.quarantine for place in mine):
                self._live[key] += member.stream.is_settled or _has_all(member.stream, mine)

    def result(self) -> Mapping[ObjectKey, Liveness]:
        """Return the counts."""
        return {
            key: Liveness(live=self._live[key], concerned=self._concerned[key])
            for key in self._keys
        }

    def _keys_of(self, audience: Audience) -> frozenset[ObjectKey]:
        """Return the objects that something of a class was made from."""
        known = self._all_of.get(id(audience))
        if known is None:
            views = {} if audience.target is None else audience.target.views
            tables = (table for view in views.values() for table in view.layers)
            known = frozenset().union(*(self._names(table) for table in tables))
            self._all_of[id(audience)] = known
        return known

    def _places(self, audience: Audience) -> Mapping[ObjectKey, tuple[tuple[TypeUrl, str], ...]]:
        """Return the resources of a class that were made from each of the objects."""
        places: dict[ObjectKey, list[tuple[TypeUrl, str]]] = {}
        views = {} if audience.target is None else audience.target.views
        for type_url, view in views.items():
            for table in view.layers:
                for key, names in self._names(table).items():
                    places.setdefault(key, []).extend((type_url, name) for name in names)
        return {key: tuple(found) for key, found in places.items()}

    def _names(self, table: Table) -> Mapping[ObjectKey, tuple[str, ...]]:
        known = self._tables.get(table)
        if known is not None:
            return known
        names: dict[ObjectKey, list[str]] = {}
        for name, entry in table.items():
            for origin in entry.origins:
                if origin in self._keys:
                    names.setdefault(origin, []).append(name)
        known = self._tables[table] = {key: tuple(found) for key, found in names.items()}
        return known


def _has_all(stream: Stream, places: Iterable[tuple[TypeUrl, str]]) -> bool:
    """Tell whether a stream has acknowledged these resources, as far as it asks for them."""
    return all(stream.has_acknowledged(type_url, name) for type_url, name in places)


def _node_id(member: Member) -> str:
    return member.node.id


def _state(member: Member) -> ProxyState:
    target = member.stream.target
    return ProxyState(
        node=member.node,
        identity=member.identity,
        class_key=member.class_key,
        connected_at=member.connected_at,
        target=None if target is None else target.revision,
        acknowledged=member.revision,
        refusing=0 if member.audience is None else len(member.audience.quarantine),
    )


def _quarantines(audiences: Iterable[tuple[Hashable, Audience]]) -> Iterator[Quarantine]:
    for class_key, audience in audiences:
        for (type_url, name), held in sorted(audience.quarantine.items(), key=lambda item: item[0]):
            yield Quarantine(
                class_key=class_key,
                type=type_url,
                name=name,
                version=held.guilty.resource.version,
                instead=None if held.instead is None else held.instead.resource.version,
                text=held.text,
                origins=held.guilty.origins,
            )
