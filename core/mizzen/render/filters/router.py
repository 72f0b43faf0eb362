"""The router: sends the request to the cluster its route names."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.render.proto import pack

if TYPE_CHECKING:
    from mizzen.render.chain import Chain


def forward(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the router, which every chain ends with."""
    del chain
    return (_router(),)


@cache
def _router() -> HttpFilter:
    return HttpFilter(name="envoy.filters.http.router", typed_config=pack(Router()))
