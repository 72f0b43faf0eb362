"""What a source is: something that tells of objects, in batches, for as long as it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mizzen.model.world import Batch


class Source(Protocol):
    """Tells the objects of one registry.

    The first batch that is ``complete`` holds all that there is; later ones hold what changed.
    ``deliver`` may be called from any thread and returns at once.
    """

    async def run(self, deliver: Callable[[Batch], None]) -> None:
        """Deliver batches until cancelled."""
        ...
