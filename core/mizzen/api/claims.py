"""Claims of a token where headers stand: ``@request.auth.claims.sub``, ``@request.auth.claims[a][b.c]``."""

from __future__ import annotations

import re
from typing import Final

_PREFIX: Final = "@request.auth.claims"
_DOTTED: Final = re.compile(r"(?:\.[^.\[\]]+)+")
_BRACKETED: Final = re.compile(r"(?:\[[^\[\]]+\])+")


def claim_path(name: str) -> tuple[str, ...] | None:
    """Return the path to a claim; None where a header's name is no claim's (Istio: ``ToRoutingClaim``)."""
    if name[: len(_PREFIX)].lower() != _PREFIX:
        return None
    rest = name[len(_PREFIX) :]
    if _DOTTED.fullmatch(rest):
        return tuple(rest[1:].split("."))
    if _BRACKETED.fullmatch(rest):
        return tuple(rest[1:-1].split("]["))
    return None
