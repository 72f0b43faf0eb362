"""What a filter may know of the chain it is built for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mizzen.ir import OPEN, Authorization, TokenIssuers
from mizzen.model.families import Families
from mizzen.model.mesh import Paths


class Side(Enum):
    """Whose traffic a chain handles."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A place for filters: the side, what is checked there, and in which versions of IP hosts are looked up."""

    """A place for filters: the side, what is checked there, and how paths are made alike before."""

    side: Side
    authorization: Authorization = OPEN
    tokens: TokenIssuers = field(default_factory=TokenIssuers)
    by_request: Families | None = None
    paths: Paths = Paths.BASE
