"""One type on one stream: what is asked for, what the client has, what is on its way.

What the client has is kept as a difference to something shared: a :class:`~mizzen_xds.change.View`, and
the few names in which this client departs from it. A thousand streams in sync hold a thousand
references, not a thousand copies.

At most one response of a type is unanswered, so an answer always speaks of :attr:`Channel.unanswered`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from mizzen.render.discovery import Versions
from mizzen.wire import Resource, TypeUrl
from mizzen_xds.change import NO_CHANGE, NO_VIEW, Change, Part, View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mizzen.bundle import Entry
    from mizzen_xds.shared import Shared
    from mizzen_xds.subscription import Subscription

NONE_APART: Final[Mapping[str, Resource | None]] = MappingProxyType({})
NO_NAMES: Final[frozenset[str]] = frozenset()

# How many different sets of versions, that clients came with, are kept as resources.
_KEPT_CLAIMS: Final = 64

# Of these a rejected response leaves the good resources in force (Envoy; measured); of the others none.
_TAKEN_SINGLY: Final = frozenset((TypeUrl.CLUSTER, TypeUrl.LISTENER))
# In state of the world, a response of these lists everything (xDS protocol, "Grouping Resources into
# Responses"), so one version speaks for all.
COMPLETE: Final = frozenset((TypeUrl.CLUSTER, TypeUrl.LISTENER))


class Had(NamedTuple):
    """What the client has once it has taken in everything that was sent.

    Attributes:
        view: What it has but for the names below.
        subscription: Names outside of it are forgotten.
        apart: Names of which the client has another resource, or none.
        owed: Names that have to be sent whatever the client has.
        lingering: What has left the view and is yet to be taken away.
    """

    view: View
    subscription: Subscription
    apart: Mapping[str, Resource | None] = NONE_APART
    owed: frozenset[str] = NO_NAMES
    lingering: Mapping[str, Resource | None] = NONE_APART

    def get(self, name: str) -> Resource | None:
        """Return what the client has under a name."""
        if name in self.apart:
            return self.apart[name]
        if name in self.owed or not self.subscription.matches(name):
            return None
        if name in self.lingering:
            return self.lingering[name]
        entry = self.view.get(name)
        return entry.resource if entry is not None else None

    @property
    def is_blank(self) -> bool:
        """Tell whether the client has nothing at all."""
        return self.view is NO_VIEW and not self.apart

    def entry(self, name: str) -> Entry | None:
        """Return the entry of what the client has, ``None`` where more than its name is not known."""
        had, entry = self.get(name), self.view.get(name)
        return entry if had is not None and entry is not None and entry.resource is had else None

    def resubscribed(self, subscription: Subscription, owed: frozenset[str]) -> Had:
        """Return it under another subscription: what is no longer asked for is forgotten."""
        return Had(
            self.view,
            subscription,
            _only(self.apart, lambda name: name not in owed and subscription.matches(name)),
            frozenset(n for n in self.owed if subscription.matches(n)) | owed,
            _only(self.lingering, subscription.matches),
        )

    def owing(self, names: frozenset[str]) -> Had:
        """Return it with names that have to be sent whatever the client has."""
        apart = {name: had for name, had in self.apart.items() if name not in names}
        return self._replace(owed=self.owed | names, apart=apart)

    def resources(self) -> Iterable[Resource]:
        """Yield everything that the client has, in order of names."""
        names = {*self.view.names(), *self.view.overrides, *self.apart, *self.lingering}
        for name in sorted(names):
            had = self.get(name)
            if had is not None:
                yield had


def _only(
    had: Mapping[str, Resource | None], is_kept: Callable[[str], bool]
) -> Mapping[str, Resource | None]:
    """Return some of the resources; the very same mapping where that is all of them."""
    kept = {name: resource for name, resource in had.items() if is_kept(name)}
    return had if len(kept) == len(had) else kept


class Unanswered(NamedTuple):
    """A response on its way."""

    nonce: str
    part: Part
    before: Had


@lru_cache(maxsize=_KEPT_CLAIMS)
def known_only(type_url: TypeUrl, versions: Versions) -> Mapping[str, Resource | None]:
    """Return resources of which nothing but the version is known; equal claims share theirs."""
    found = {n: Resource(type_url, n, version, b"", b"") for n, version in versions.items()}
    return MappingProxyType(found)


class Channel:
    """The state of one type on one stream."""

    __slots__ = (
        "answered",
        "claimed",
        "clean",
        "had",
        "initial",
        "nonce",
        "queue",
        "refused",
        "subscription",
        "suspects",
        "type",
        "unanswered",
        "view",
    )

    def __init__(self, type_url: TypeUrl, subscription: Subscription, had: Had) -> None:
        self.type = type_url
        # What the client asks for; for virtual hosts, ``had.subscription`` is what it means by that.
        self.subscription = subscription
        self.had = had
        # What the client is to have, ``None`` while that is not known.
        self.view: View | None = None
        # What the client said it had, until that was compared with what it is to have: each version
        # (delta), or the version of the whole (state of the world).
        self.initial: Mapping[str, str] | None = None
        self.claimed = ""
        self.answered = False
        self.nonce = ""
        self.unanswered: Unanswered | None = None
        self.queue: tuple[Part, ...] = ()
        self.suspects: tuple[frozenset[str], ...] = ()
        # Versions of this view that the client refused: whatever else goes wrong, they are not sent in
        # a circle.
        self.refused: dict[str, str] = {}
        # What it had when everything of its view was sent.
        self.clean: Had | None = None

    def aim(self, view: View) -> None:
        """Have the client brought to a view; with a new one, what was refused may be tried again."""
        if self.view is not view:
            self.view = view
            if self.refused:
                self.refused = {}

    def is_clean(self, view: View) -> bool:
        """Tell whether everything of the view was sent, as far as it is to be sent at all."""
        return self.had.view is view and self.clean is self.had

    def is_settled(self, view: View) -> bool:
        """Tell whether everything of the view was sent and answered."""
        return self.unanswered is None and self.is_clean(view)

    def pending(self, shared: Shared, view: View) -> Change:
        """Return what would have to be sent for the client to have the view."""
        had = self.had
        if had.view is NO_VIEW:
            return self._first(shared, view)
        if had.apart or had.view.overrides or view.overrides:
            return self._by_name(shared, view)
        change = shared.difference(self.type, had.view.layers, view.layers, had.subscription)
        if not had.owed:
            is_plain = not had.lingering or change.names.isdisjoint(had.lingering)
            return change if is_plain else self._by_name(shared, view)
        if change:
            return self._by_name(shared, view)
        return shared.pick(self.type, view.layers, had.owed)

    def _first(self, shared: Shared, view: View) -> Change:
        had = self.had
        if not view.overrides and self._has_all(shared, view):
            self.had = Had(view, had.subscription)
            return NO_CHANGE
        if had.apart or view.overrides:
            return self._by_name(shared, view)
        return shared.fresh(self.type, view.layers, had.subscription, had.owed)

    def _has_all(self, shared: Shared, view: View) -> bool:
        """Tell whether the client came with exactly what it is to have."""
        if self.claimed and self.type in COMPLETE:
            self.answered = self.claimed == shared.version(view.layers, self.had.subscription)
            return self.answered
        if self.initial is None or self.had.owed:
            return False
        return self.initial == shared.versions(view.layers, self.had.subscription)

    def _by_name(self, shared: Shared, view: View) -> Change:
        had = self.had
        change = shared.difference(self.type, had.view.layers, view.layers, had.subscription)
        names = change.names.union(had.apart, had.owed, had.view.overrides, view.overrides)
        entries = []
        removed = []
        for name in sorted(names):
            if view.withholds(name) or not had.subscription.matches(name):
                continue
            entry, has = view.get(name), had.get(name)
            if entry is None:
                if has is not None or name in had.owed:
                    removed.append(name)
            elif has is None or has.version != entry.resource.version:
                entries.append(entry)
        return shared.exactly(self.type, tuple(entries), tuple(removed))

    def settle(self, view: View) -> None:
        """Take note that nothing of the view is left to be sent."""
        self.initial = None
        had = self.had
        if had.view is not view or had.apart or had.owed:
            staying = self._lingering(view) if had.lingering else NONE_APART
            self.had = Had(view, had.subscription, self._withheld(view), NO_NAMES, staying)
        self.clean = self.had

    def send(
        self,
        view: View,
        parts: tuple[Part, ...],
        held: frozenset[str],
        lingering: frozenset[str] = NO_NAMES,
    ) -> Part | None:
        """Take note of what is sent now and of what is held back; return what is to be sent."""
        self.initial = None
        before = self.had
        later = held.union(*(part.names for part in parts[1:])) if len(parts) > 1 else held
        staying = self._lingering(view) if before.lingering else NONE_APART
        if lingering:
            staying = {**staying, **{name: before.get(name) for name in lingering}}
        apart = self._withheld(view)
        if later:
            apart = {**apart, **{n: before.get(n) for n in later if n not in before.owed}}
        self.had = Had(view, before.subscription, apart, before.owed & later, staying)
        if not parts:
            self.clean = None if held else self.had
            return None
        self.queue = parts[1:]
        return parts[0]

    def send_next(self) -> Part:
        """Take note that the next part of a divided change is sent, and return it."""
        part, self.queue = self.queue[0], self.queue[1:]
        had = self.had
        apart = {name: was for name, was in had.apart.items() if name not in part.names}
        self.had = had._replace(apart=apart, owed=had.owed - part.names)
        return part

    def remove(self, names: Iterable[str]) -> None:
        """Take note that lingering resources are taken away."""
        gone = frozenset(names)
        lingering = {name: was for name, was in self.had.lingering.items() if name not in gone}
        self.had = self.had._replace(lingering=lingering)
        self.clean = self.had

    def recall(self, names: Iterable[str]) -> None:
        """Take note that these of the lingering resources are to be taken away without delay."""
        lingering = dict(self.had.lingering)
        due = {name: lingering.pop(name) for name in names}
        if due:
            self.had = self.had._replace(apart={**self.had.apart, **due}, lingering=lingering)

    def resubscribe(self, subscription: Subscription, asked: frozenset[str]) -> None:
        """Take note of what is asked for now, and of names that are to be sent again."""
        self.had = self.had.resubscribed(subscription, asked)
        self.queue = ()

    def owe(self, names: frozenset[str]) -> None:
        """Take note of names that are to be sent again."""
        if names:
            self.had = self.had.owing(names)
            self.queue = ()

    def acknowledged(self, name: str) -> Resource | None:
        """Return what the client has acknowledged under a name."""
        unanswered = self.unanswered
        if unanswered is not None and name in unanswered.part.names:
            return unanswered.before.get(name)
        return self.had.get(name)

    def acknowledge(self) -> None:
        """Take note that the client has taken in the response that was on its way."""
        self.unanswered = None

    def refuse(self, text: str, units: Iterable[frozenset[str]]) -> frozenset[str]:
        """Take note of a rejection and return the guilty names, empty while they are being looked for.

        They are the names that the text names; where it names none, the response is sent again in
        halves, down to a unit that is guilty as a whole.
        """
        unanswered = self.unanswered
        if unanswered is None:
            return NO_NAMES
        named = named_in(text, unanswered.part.names)
        groups = tuple(units)
        guilty = named or (groups[0] if len(groups) == 1 else NO_NAMES)
        if not guilty:
            self._halve(groups)
        taken = named and self.type in _TAKEN_SINGLY
        undone = guilty if taken else unanswered.part.names
        apart = dict(self.had.apart)
        wanted = self.had.subscription.matches
        apart.update((name, unanswered.before.get(name)) for name in undone if wanted(name))
        lingering = {name: was for name, was in self.had.lingering.items() if name not in undone}
        self.had = self.had._replace(apart=apart, lingering=lingering)
        self.unanswered = None
        self.queue = ()
        resources = (entry.resource for entry in unanswered.part.entries)
        self.refused.update((r.name, r.version) for r in resources if r.name in guilty)
        return guilty

    def suspected(self, change: Change) -> frozenset[str]:
        """Return the names that have to wait: all others, while a smaller group is tried alone."""
        if not (self.refused or self.suspects):
            return NO_NAMES
        known = self._known_to_be_bad(change)
        while self.suspects:
            group = self.suspects[0] - known
            if not change.names.isdisjoint(group):
                return change.names - group
            self.suspects = self.suspects[1:]
        return known

    def _known_to_be_bad(self, change: Change) -> frozenset[str]:
        """Return what was refused in this very version; of other versions it is forgotten."""
        bad = set()
        for entry in change.entries:
            name, version = entry.resource.name, entry.resource.version
            if self.refused.get(name) == version:
                bad.add(name)
            else:
                self.refused.pop(name, None)
        return frozenset(bad)

    def _halve(self, groups: tuple[frozenset[str], ...]) -> None:
        middle = len(groups) // 2
        halves = (NO_NAMES.union(*groups[:middle]), NO_NAMES.union(*groups[middle:]))
        self.suspects = (*halves, *self.suspects[1:])

    def _withheld(self, view: View) -> Mapping[str, Resource | None]:
        """Return what the client keeps under names that are withheld."""
        if not view.overrides:
            return NONE_APART
        return {
            name: was
            for name in view.overrides
            if view.withholds(name) and (was := self.had.get(name)) is not None
        }

    def _lingering(self, view: View) -> dict[str, Resource | None]:
        """Return what goes on lingering: a name that has come back does not, even if it is withheld."""
        return {
            name: was
            for name, was in self.had.lingering.items()
            if view.get(name) is None and not view.withholds(name)
        }


def named_in(text: str, names: Iterable[str]) -> frozenset[str]:
    """Return the names that a text contains as whole words."""
    return frozenset(name for name in names if _word(name).search(text))


def _word(name: str) -> re.Pattern[str]:
    """Return a pattern that finds a name but no longer name that it is a part of."""
    return re.compile(rf"(?<![\w|/.:-]){re.escape(name)}(?![\w|/-]|[.:]\w)")
