"""Which objects shaped a value of the IR."""

from __future__ import annotations

from mizzen.names import ObjectKey

Origins = tuple[ObjectKey, ...]
