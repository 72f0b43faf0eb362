"""The seam through which every plane learns the time, so that tests can move it through a year."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime


class Clock(Protocol):
    """Tells the time; the edges pass in the system's, the tests one that they move by hand."""

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        ...
