"""Offers, for HTTP to a cluster that TCP uses too, the application protocols that mark HTTP.

Takes the place of Istio's ``istio.alpn`` filter on stock Envoy: the names stand in the cluster's
metadata (``render/alpn.py``), so the choice changes with the cluster and never with a route or a
listener. A cluster without them is left to its TLS context.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.render.alpn import METADATA_KEY, METADATA_NAMESPACE
from mizzen.render.chain import Chain, Side
from mizzen.render.proto import pack

_FILTER_STATE: Final = "envoy.network.application_protocols"


def offer(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter where requests leave for the mesh."""
    return () if chain.side is Side.INBOUND else (_filter(),)


@cache
def _filter() -> HttpFilter:
    config = Config()
    value = config.on_request_headers.add(object_key=_FILTER_STATE, skip_if_empty=True)
    text = f"%CLUSTER_METADATA({METADATA_NAMESPACE}:{METADATA_KEY})%"
    value.format_string.text_format_source.inline_string = text
    value.format_string.omit_empty_values = True
    return HttpFilter(name="envoy.filters.http.set_filter_state", typed_config=pack(config))
