"""What a stream is brought to, and what comes back when its proxy will not have it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.bundle import Entry
    from mizzen.wire import TypeUrl
    from mizzen_xds.change import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a proxy is to have of each type, at one revision, besides the secrets of its identity."""

    revision: int
    views: Mapping[TypeUrl, View]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A NACK.

    Attributes:
        names: All that the response carried.
        guilty: What was at fault, each with the entry that the client accepted before, if any; empty
            while it is being looked for.
    """

    type: TypeUrl
    text: str
    names: frozenset[str]
    guilty: tuple[tuple[Entry, Entry | None], ...] = ()
