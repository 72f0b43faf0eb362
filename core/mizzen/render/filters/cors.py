"""Cross-origin requests: answers preflights as a route says (VirtualService ``corsPolicy``).

Like fault injection it stands switched off until a route switches it on for itself.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.render.chain import Chain, Side
from mizzen.render.proto import pack

FILTER: Final = "envoy.filters.http.cors"


def answer(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter where routes are chosen."""
    return () if chain.side is Side.INBOUND else (_filter(disabled=not chain.tokens.rules),)


@cache
def _filter(*, disabled: bool) -> HttpFilter:
    return HttpFilter(name=FILTER, typed_config=pack(Cors()), disabled=disabled)
