"""What is said of an object, as a value that can be compared with what stands on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.conditions import Condition
    from mizzen.resolve.allocation import Given

# Type, status, reason and message of a condition.
Told = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class State:
    """What is said of one version of an object, condition by condition.

    ``addresses`` are those that its hosts were given, as pairs of host and address.
    """

    version: str
    told: tuple[Told, ...]
    addresses: Given = ()

    @classmethod
    def of(cls, version: str, conditions: Iterable[Condition], addresses: Given = ()) -> State:
        """Return what conditions say of a version."""
        return cls(version, tuple(map(_told, conditions)), addresses)


def _told(condition: Condition) -> Told:
    return condition.type, str(condition.status), condition.reason, condition.message
