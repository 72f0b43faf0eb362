"""How it stands with some objects: on how many proxies each is live, and what was said against it.

A question is about the objects that it names. What it costs depends on how many these are and on how many
classes of proxies there are, but not on how many objects there are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mizzen_xds.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from mizzen.names import ObjectKey
    from mizzen.wire import TypeUrl
    from mizzen_xds.audience import Audience
    from mizzen_xds.ledger import Ledger, Member
    from mizzen_xds.provenance import TableIndex
    from mizzen_xds.stream import Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An object is live on ``live`` of the ``concerned`` proxies that it concerns.

    ``rejected`` is what proxies said against it, each complaint once, in order.
    """

    live: int = 0
    concerned: int = 0
    rejected: tuple[str, ...] = ()


@dataclass(slots=True)
class _Crowd:
    """The proxies of an audience: those that have everything are only counted."""

    settled: int = 0
    others: list[Stream] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    """The audiences in which the same tables speak of the objects: what these say is read once.

    ``settled`` proxies have everything; of the others each is looked at.
    """

    settled: int = 0
    others: list[tuple[Audience, _Crowd]] = field(default_factory=list)

    def add(self, audience: Audience, crowd: _Crowd) -> None:
        """Take in the proxies of an audience."""
        if audience.quarantine:
            self.others.append((audience, crowd))
            return
        self.settled += crowd.settled
        if crowd.others:
            self.others.append((audience, _Crowd(others=crowd.others)))


class Standings:
    """Answers questions about objects of some kinds, from what a ledger's proxies have acknowledged."""

    def __init__(self, ledger: Ledger, kinds: Iterable[str]) -> None:
        self._ledger = ledger
        self._provenance = Provenance(kinds)

    def of(self, keys: Collection[ObjectKey]) -> Mapping[ObjectKey, Standing]:
        """Return how it stands with each of the objects.

        An object concerns a proxy when something in the proxy's configuration was made from it. It is
        live there when the proxy has acknowledged all of that and refuses none of it.
        """
        crowds = _crowds(self._ledger.members())
        self._provenance.follow(crowds)
        among = self._provenance.among(frozenset(keys))
        live: Counter[ObjectKey] = Counter()
        concerned: Counter[ObjectKey] = Counter()
        for indexes, group in self._groups(crowds, among).items():
            for key, held in _places(indexes, among).items():
                concerned[key] += group.settled
                live[key] += group.settled
                for audience, crowd in group.others:
                    concerned[key] += crowd.settled + len(crowd.others)
                    live[key] += _live(audience, crowd, _resources(held, key))
        rejected = self.rejected()
        return {
            key: Standing(live=live[key], concerned=concerned[key], rejected=rejected.get(key, ()))
            for key in keys
        }

    def rejected(self) -> Mapping[ObjectKey, tuple[str, ...]]:
        """Return the objects that something refused was made from, with what was said, sorted."""
        found: dict[ObjectKey, dict[str, None]] = {}
        for held in self._ledger.quarantines():
            for origin in held.origins:
                found.setdefault(origin, {})[held.text] = None
        return {key: tuple(found[key]) for key in sorted(found)}

    @property
    def size_bytes(self) -> int:
        """The size of what all proxies together are to have, as of the last question."""
        return self._provenance.size_bytes

    def _groups(
        self, crowds: Mapping[Audience, _Crowd], among: Mapping[TableIndex, frozenset[ObjectKey]]
    ) -> Mapping[tuple[TableIndex, ...], _Group]:
        """Return the audiences by the indexes that tell something of the objects."""
        groups: dict[tuple[TableIndex, ...], _Group] = {}
        for audience, crowd in crowds.items():
            telling = tuple(index for index in self._provenance.indexes(audience) if index in among)
            groups.setdefault(telling, _Group()).add(audience, crowd)
        return groups


def _places(
    indexes: tuple[TableIndex, ...], among: Mapping[TableIndex, frozenset[ObjectKey]]
) -> Mapping[ObjectKey, list[TableIndex]]:
    """Return the objects that something was made from, with the indexes that tell of what."""
    places: dict[ObjectKey, list[TableIndex]] = {}
    for index in indexes:
        for key in among[index]:
            places.setdefault(key, []).append(index)
    return places


def _crowds(members: Iterable[Member]) -> dict[Audience, _Crowd]:
    crowds: dict[Audience, _Crowd] = {}
    for member in members:
        if member.audience is None or member.audience.target is None:
            continue
        crowd = crowds.setdefault(member.audience, _Crowd())
        if member.stream.is_settled:
            crowd.settled += 1
        else:
            crowd.others.append(member.stream)
    return crowds


def _live(audience: Audience, crowd: _Crowd, places: Collection[tuple[TypeUrl, str]]) -> int:
    """Return on how many of the proxies these resources are in force as they are to be."""
    if any(place in audience.quarantine for place in places):
        return 0
    return crowd.settled + sum(_has_all(stream, places) for stream in crowd.others)


def _resources(held: Iterable[TableIndex], key: ObjectKey) -> Collection[tuple[TypeUrl, str]]:
    return tuple((index.type, name) for index in held for name in index.names(key))


def _has_all(stream: Stream, places: Iterable[tuple[TypeUrl, str]]) -> bool:
    """Tell whether a stream has acknowledged these resources, as far as it asks for them."""
    return all(stream.has_acknowledged(type_url, name) for type_url, name in places)
