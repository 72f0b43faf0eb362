"""Listener filters: what is found out about a connection before a filter chain is chosen."""

from __future__ import annotations

from functools import cache

from envoy.config.listener.v3.listener_components_pb2 import ListenerFilter
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector

from mizzen.capture import TPROXY_MARK
from mizzen.render.proto import pack


@cache
def original_dst() -> ListenerFilter:
    """Return the filter that restores where a redirected connection was going."""
    return ListenerFilter(
        name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst())
    )


@cache
def original_src() -> ListenerFilter:
    """Return the filter that has the application called in its caller's name, marked for capture."""
    return ListenerFilter(
        name="envoy.filters.listener.original_src", typed_config=pack(OriginalSrc(mark=TPROXY_MARK))
    )


@cache
def tls_inspector() -> ListenerFilter:
    """Return the filter that tells TLS from plain text, with server name and application protocols."""
    config = TlsInspector()
    # A ClientHello fits mostly; Envoy's default of 64 KiB is a cost for each connection (Istio: 512).
    config.initial_read_buffer_size.value = 512
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=pack(config))


@cache
def http_inspector() -> ListenerFilter:
    """Return the filter that recognises plain-text HTTP by its first bytes."""
    return ListenerFilter(
        name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector())
    )
