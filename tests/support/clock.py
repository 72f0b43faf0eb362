"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class ManualClock:
    """The :class:`mizzen.clock.Clock` of tests."""

    def __init__(self, start: datetime = _START) -> None:
        """Stand at ``start``, which must be aware."""
        self._now = start

    def now(self) -> datetime:
        """Return where the clock stands."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move forward (or, with a negative step, back) and return the new moment."""
        self._now += by
        return self._now

    def move_to(self, moment: datetime) -> None:
        """Stand at ``moment``."""
        self._now = moment
