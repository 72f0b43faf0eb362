"""Logs: one line for an event, JSON where a machine reads, columns and colour where a person does.

An event is a constant phrase; what varies stands in key/values. It is this page instead of a library
because the control plane logs a handful of events, and the library that does it best brings in five
megabytes for tracebacks in colour.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from typing import TextIO

Level = Literal["debug", "info", "warning", "error"]

_RANKS: Final[dict[Level, int]] = {"debug": 0, "info": 1, "warning": 2, "error": 3}
_COLOURS: Final[dict[Level, str]] = {
    "debug": "\033[2m",
    "info": "\033[32m",
    "warning": "\033[33m",
    "error": "\033[31m",
}
_PLAIN: Final = "\033[0m"
_EVENT_WIDTH: Final = 28


class Log:
    """Writes events of a level and above to a stream."""

    def __init__(self, stream: TextIO | None = None, *, level: Level = "info") -> None:
        self._stream = stream or sys.stderr
        self._least = _RANKS[level]
        self._is_for_people = self._stream.isatty()

    def debug(self, event: str, **values: object) -> None:
        """Log the flow of things."""
        self._write("debug", event, values)

    def info(self, event: str, **values: object) -> None:
        """Log a change that a person may care about."""
        self._write("info", event, values)

    def warning(self, event: str, **values: object) -> None:
        """Log what went wrong and was mended."""
        self._write("warning", event, values)

    def error(self, event: str, **values: object) -> None:
        """Log what somebody must do something about."""
        self._write("error", event, values)

    def _write(self, level: Level, event: str, values: dict[str, object]) -> None:
        if _RANKS[level] >= self._least:
            form = _for_people if self._is_for_people else _for_machines
            self._stream.write(form(level, event, values, datetime.now(UTC)) + "\n")
            self._stream.flush()


def _for_machines(level: Level, event: str, values: dict[str, object], now: datetime) -> str:
    line = {"at": now.isoformat(timespec="milliseconds"), "level": level, "event": event} | values
    return json.dumps(line, default=str)


def _for_people(level: Level, event: str, values: dict[str, object], now: datetime) -> str:
    clock = now.astimezone().strftime("%H:%M:%S.%f")[:-3]
    said = " ".join(f"{name}={_short(value)}" for name, value in values.items() if value != "")
    return f"{clock} {_COLOURS[level]}{level:<7}{_PLAIN} {event:<{_EVENT_WIDTH}} {said}".rstrip()


def _short(value: object) -> str:
    text = str(value)
    return json.dumps(text) if " " in text else text
