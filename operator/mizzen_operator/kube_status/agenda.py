"""What to ask about and what to write, and when: pure, with the time as a parameter.

An object is *in motion* from a change until its conditions are final and written. What changed because a
person changed it is looked at several times a second and written as soon as it is final, which nearly
always is within a moment; only what takes longer is written before, and then rarely. So a change costs
one write, or two.

All other objects are asked about in turn, a few at a time, round and round: that finds what changed
for reasons that no event tells of (proxies that came or went). A count that is only in passing is not
worth a write, so what such a look finds must hold for a while.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.conditions import ACCEPTED, LIVE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.conditions import Condition
    from mizzen.names import ObjectKey
    from mizzen_operator.kube_status.said import State

Conditions = tuple["Condition", ...]

# What a change may take before it is told of as pending: proxies answer within a few tenths of a second.
_PATIENCE_S: Final = 1.0
# How long a doubt about what was final must hold: a proxy that connects needs a second or two.
_DOUBT_S: Final = 10.0
# How often something that does not become final is written anew.
_PROGRESS_S: Final = 30.0
# How often what is in motion is looked at, by how long it has been: (up to this age, this often).
_LOOKS_S: Final = ((5.0, 0.2), (60.0, 1.0), (float("inf"), 5.0))
# How long what the API server refused is left alone.
_REFUSED_S: Final = 60.0
_ROUND_AT_ONCE: Final = 50
# More cannot be written before the next look anyway, and while proxies are behind each has its price.
_MOVING_AT_ONCE: Final = 25
# While proxies take in what somebody changed, they are not to be kept from it.
_ROUND_MEANWHILE: Final = 5
# While so many are in motion already (a mesh that was just installed), the round waits.
_MOVING_AT_MOST: Final = 100


@dataclass(slots=True)
class _Item:
    """One object in motion."""

    since_s: float
    hold_s: float
    urgent: bool
    look_s: float = 0.0
    was_open: bool = False


class Agenda:
    """The objects in motion, and the round of all others."""

    def __init__(self) -> None:
        self._items: dict[ObjectKey, _Item] = {}
        self._round: deque[ObjectKey] = deque()
        self._written: dict[ObjectKey, State] = {}

    @property
    def in_motion(self) -> int:
        """How many objects are in motion."""
        return len(self._items)

    def pause_s(self, now_s: float, longest_s: float) -> float:
        """Return how long nothing is due; at most ``longest_s``."""
        next_s = min((item.look_s for item in self._items.values()), default=now_s + longest_s)
        return max(0.0, min(longest_s, next_s - now_s))

    def changed(self, keys: Iterable[ObjectKey], now_s: float) -> None:
        """Have these looked at now: somebody changed them, or a proxy said something of them."""
        for key in keys:
            self._items[key] = _Item(since_s=now_s, hold_s=now_s + _PATIENCE_S, urgent=True)

    def doubted(self, keys: Iterable[ObjectKey], now_s: float) -> None:
        """Have these looked at, though what is new of them may be in passing: nobody touched them."""
        for key in keys:
            if key not in self._items:
                self._items[key] = _Item(since_s=now_s, hold_s=now_s + _DOUBT_S, urgent=False)

    def remember(self, key: ObjectKey, state: State) -> None:
        """Take note of what stands on an object at the API server."""
        self._written[key] = state

    def forget_all(self) -> None:
        """Forget what stands on objects: others may write from now on, or have until now."""
        self._items.clear()
        self._written.clear()

    def due(self, keys: Iterable[ObjectKey], now_s: float) -> tuple[ObjectKey, ...]:
        """Return the objects to ask about now: those in motion, the urgent first, then some of the round.

        ``keys`` are all that there are; others are forgotten.
        """
        there = frozenset(keys)
        self._items = {key: item for key, item in self._items.items() if key in there}
        moving = [key for key, item in self._items.items() if item.look_s <= now_s]
        moving.sort(key=lambda key: (not self._items[key].urgent, self._items[key].look_s))
        asked = dict.fromkeys(moving[:_MOVING_AT_ONCE])
        if len(self._items) < _MOVING_AT_MOST:
            is_busy = any(item.urgent for item in self._items.values())
            number = _ROUND_MEANWHILE if is_busy else _ROUND_AT_ONCE
            asked |= dict.fromkeys(self._next_round(there, number))
        return tuple(asked)

    def wants(self, key: ObjectKey, state: State, conditions: Conditions, now_s: float) -> bool:
        """Tell whether something is to be written to an object now.

        ``state`` is what would be written; ``conditions`` are what it says.
        """
        item = self._items.get(key)
        before = self._written.get(key)
        if before == state:
            self._rest(key, item, conditions, now_s)
            return False
        if item is None:
            # What stands there of an older version is no doubt: somebody changed it while nobody wrote.
            is_doubt = before is not None and before.version == state.version
            hold_s = now_s + _DOUBT_S if is_doubt else 0.0
            item = self._items[key] = _Item(since_s=now_s, hold_s=hold_s, urgent=False)
        item.look_s = now_s + _look_s(now_s - item.since_s)
        item.was_open = item.was_open or not is_final(conditions)
        is_awaited = item.urgent or item.was_open
        return (is_awaited and is_final(conditions)) or item.hold_s <= now_s

    def is_fresh(self, key: ObjectKey, now_s: float) -> bool:
        """Tell whether an object was changed only now, so that more may come to be known of it."""
        item = self._items.get(key)
        return item is not None and item.urgent and now_s < item.since_s + _PATIENCE_S

    def is_at_rest(self, key: ObjectKey, version: str) -> bool:
        """Tell whether an object was written to as it is now, and nobody waits for more."""
        written = self._written.get(key)
        return written is not None and written.version == version and not self.is_urgent(key)

    def is_urgent(self, key: ObjectKey) -> bool:
        """Tell whether somebody waits for what is written to an object."""
        item = self._items.get(key)
        return item is not None and item.urgent

    def wrote(self, key: ObjectKey, state: State, conditions: Conditions, now_s: float) -> None:
        """Take note of what was written."""
        self._written[key] = state
        item = self._items.get(key)
        if item is not None:
            item.hold_s = now_s + _PROGRESS_S
            self._rest(key, item, conditions, now_s)

    def refused(self, key: ObjectKey, now_s: float) -> None:
        """Take note that the API server would not have what was to be written: try again later."""
        item = self._items.get(key)
        if item is not None:
            item.urgent = False
            item.look_s = now_s + _REFUSED_S

    def lost(self, key: ObjectKey) -> None:
        """Take note that there is no such object, or another version of it: that will be told of."""
        self._items.pop(key, None)
        self._written.pop(key, None)

    def _rest(
        self, key: ObjectKey, item: _Item | None, conditions: Conditions, now_s: float
    ) -> None:
        """Let go of an object of which everything is written; look again at one that is not done."""
        if item is None:
            return
        if _is_settled(conditions):
            del self._items[key]
        else:
            item.look_s = now_s + _look_s(now_s - item.since_s)

    def _next_round(self, there: frozenset[ObjectKey], number: int) -> list[ObjectKey]:
        if not self._round:
            self._round.extend(sorted(there))
            self._written = {key: state for key, state in self._written.items() if key in there}
        found: list[ObjectKey] = []
        while self._round and len(found) < number:
            key = self._round.popleft()
            if key in there and key not in self._items:
                found.append(key)
        return found


def is_final(conditions: Conditions) -> bool:
    """Tell whether conditions may be told at once.

    What is missing may be on its way: a Service comes a moment after the route that names it.
    """
    accepted = next(one for one in conditions if one.type == ACCEPTED)
    return _is_settled(conditions) and accepted.reason != "RefNotFound"


def _is_settled(conditions: Conditions) -> bool:
    """Tell whether conditions stay as they are unless somebody does something."""
    live = next(one for one in conditions if one.type == LIVE)
    return live.status or live.reason in ("Rejected", "NotAccepted")


def _look_s(age_s: float) -> float:
    return next(often for up_to, often in _LOOKS_S if age_s < up_to)
