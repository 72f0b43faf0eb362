"""What the mesh's settings say of all its listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.ir import Habits
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database


def habits(db: Database) -> Habits:
    """Return how first bytes are waited for and paths made alike."""
    mesh = settings(db)
    return Habits(detection=mesh.detection, paths=mesh.paths)
