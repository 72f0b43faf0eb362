"""Objects that are read and checked, and of which nothing is made yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mizzen.model.meta import Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """An object of a kind that no feature uses yet; its diagnostics say so. Only its name counts."""

    meta: Meta
