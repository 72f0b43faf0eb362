"""How much may be written: a few writes a second for the whole mesh, whatever happens in it."""

from __future__ import annotations

from typing import Final

# Of a full purse this many are for what somebody waits for.
_RESERVE: Final = 3.0


class Budget:
    """A purse that fills by ``per_second`` up to ``most``; the time is a parameter."""

    def __init__(self, *, per_second: float, most: float) -> None:
        self._per_second = per_second
        self._most = most
        self._have = most
        self._at_s: float | None = None

    def take(self, now_s: float, *, urgent: bool) -> bool:
        """Take one, if there is one; what nobody waits for leaves some for what somebody does."""
        self._fill(now_s)
        if self._have < (1.0 if urgent else 1.0 + _RESERVE):
            return False
        self._have -= 1.0
        return True

    def give_back(self) -> None:
        """Return one that was not needed."""
        self._have = min(self._most, self._have + 1.0)

    def _fill(self, now_s: float) -> None:
        if self._at_s is not None:
            grown = self._have + max(0.0, now_s - self._at_s) * self._per_second
            self._have = min(self._most, grown)
        self._at_s = now_s
