"""What a source is: something that tells of objects, in batches, for as long as it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mizzen.model.world import Batch


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the text of a file that is there but cannot be read; the reason is for people."""

    reason: str


# None: there is no such file.
Text = str | Unreadable | None


class Source(Protocol):
    """Tells the objects of one registry.

    The first batch that is ``complete`` holds all that there is; later ones hold what changed.
    ``deliver`` may be called from any thread and returns at once.
    """

    async def run(self, deliver: Callable[[Batch], None]) -> None:
        """Deliver batches until cancelled."""
        ...
