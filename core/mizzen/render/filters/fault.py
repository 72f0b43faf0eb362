"""Fault injection: delays and aborts what a route says (VirtualService ``fault``).

The filter stands in every chain that requests leave by, switched off; a route that has faults switches it
on for itself, so that a fault changes a route alone, and no listener. Where a token is read the route may
be chosen anew after Envoy has looked whether the filter is on; so there it always is.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.render.chain import Chain, Side
from mizzen.render.proto import pack

FILTER: Final = "envoy.filters.http.fault"


def inject(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter where routes are chosen."""
    return () if chain.side is Side.INBOUND else (_filter(disabled=not chain.tokens.rules),)


@cache
def _filter(*, disabled: bool) -> HttpFilter:
    return HttpFilter(name=FILTER, typed_config=pack(HTTPFault()), disabled=disabled)
