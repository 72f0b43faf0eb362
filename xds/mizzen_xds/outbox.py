"""Gathers what is to be written on many connections into bursts.

A write wakes whoever waits at the other end, which costs several times what the write itself does. Proxies
that are written to one after the other, without our thinking in between, are awake already when the next
write comes. So the connections that have something to write are kept until the event loop has dealt with
what it has at hand, or until there are so many that the proxies would wait for us.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

# Of 200 connections that are all written to, the first waits a few milliseconds for the others.
_BURST: Final = 64


class Writer(Protocol):
    """A connection that has something to write."""

    def flush(self) -> None:
        """Write what may be written now."""
        ...


class Outbox:
    """The connections of one event loop that have something to write."""

    def __init__(self) -> None:
        self._waiting: dict[Writer, None] = {}
        self._is_due = False

    def add(self, writer: Writer) -> None:
        """Have a connection written to soon."""
        self._waiting[writer] = None
        if len(self._waiting) >= _BURST:
            self._write()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._is_due = False
        self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for writer in waiting:
            writer.flush()
