"""Writes are gathered into bursts, and none is forgotten."""

from __future__ import annotations

import asyncio

from mizzen_xds.outbox import Outbox


class _Noting:
    """A connection that notes when it is written to."""

    def __init__(self, log: list[_Noting]) -> None:
        self._log = log

    def flush(self) -> None:
        self._log.append(self)


def test_a_connection_is_written_to_once_at_the_end_of_the_turn() -> None:
    """However often it has something to write meanwhile."""

    async def run() -> tuple[int, list[_Noting]]:
        log: list[_Noting] = []
        outbox, one, two = Outbox(), _Noting(log), _Noting(log)
        for writer in (one, two, one):
            outbox.add(writer)
        before = len(log)
        await asyncio.sleep(0)
        assert log == [one, two]
        outbox.add(two)
        await asyncio.sleep(0)
        assert log == [one, two, two]
        return before, log

    before, _ = asyncio.run(run())
    assert before == 0


def test_many_connections_do_not_wait_for_the_end_of_the_turn() -> None:
    """A thousand proxies are written to while the rest is still being thought about."""

    async def run() -> None:
        log: list[_Noting] = []
        outbox = Outbox()
        for number in range(100):
            outbox.add(_Noting(log))
            assert number < 64 or log
        early = len(log)
        assert 0 < early < 100
        await asyncio.sleep(0)
        assert len(log) == 100

    asyncio.run(run())
