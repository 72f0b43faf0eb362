"""A source for tests and offline commands: what it is given is all that there ever is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.model.world import Batch


class FixedSource:
    """Delivers the given batches in their order, and then stays silent."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = tuple(batches)

    async def run(self, deliver: Callable[[Batch], None]) -> None:
        """Deliver everything, then wait to be cancelled."""
        for batch in self._batches:
            deliver(batch)
        await asyncio.Event().wait()
