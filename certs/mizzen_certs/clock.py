"""The system's clock, for the one place that composes the program; everything else is handed it."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Tells the machine's time; the :class:`mizzen.clock.Clock` of a running control plane."""

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        return datetime.now(UTC)
