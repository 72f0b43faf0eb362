"""What a filter may know of the chain it is built for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from mizzen.ir import OPEN, Authorization, TokenIssuers


class Side(Enum):
    """Whose traffic a chain handles."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A place for filters: the side, and what is checked there."""

    side: Side
    authorization: Authorization = OPEN
    tokens: TokenIssuers = field(default_factory=TokenIssuers)
