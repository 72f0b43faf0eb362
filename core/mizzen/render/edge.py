"""What a gateway bears with of its clients, written into its listeners and connection managers."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.protocol_pb2 import HttpProtocolOptions
from envoy.config.listener.v3.listener_components_pb2 import ListenerFilter
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from mizzen.model.edge import ClientCertificates, EscapedSlashes, Underscores
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from envoy.config.listener.v3.listener_pb2 import Listener

    from mizzen.model.edge import Edge

_UNDERSCORES: Final = {
    Underscores.ALLOW: HttpProtocolOptions.ALLOW,
    Underscores.REJECT_REQUEST: HttpProtocolOptions.REJECT_REQUEST,
    Underscores.DROP_HEADER: HttpProtocolOptions.DROP_HEADER,
}
_SLASHES: Final = {
    EscapedSlashes.KEEP_UNCHANGED: HttpConnectionManager.KEEP_UNCHANGED,
    EscapedSlashes.REJECT_REQUEST: HttpConnectionManager.REJECT_REQUEST,
    EscapedSlashes.UNESCAPE_AND_REDIRECT: HttpConnectionManager.UNESCAPE_AND_REDIRECT,
    EscapedSlashes.UNESCAPE_AND_FORWARD: HttpConnectionManager.UNESCAPE_AND_FORWARD,
}
_CERTIFICATES: Final = {
    ClientCertificates.SANITIZE: HttpConnectionManager.SANITIZE,
    ClientCertificates.FORWARD_ONLY: HttpConnectionManager.FORWARD_ONLY,
    ClientCertificates.APPEND_FORWARD: HttpConnectionManager.APPEND_FORWARD,
    ClientCertificates.SANITIZE_SET: HttpConnectionManager.SANITIZE_SET,
    ClientCertificates.ALWAYS_FORWARD_ONLY: HttpConnectionManager.ALWAYS_FORWARD_ONLY,
}


def apply_to_listener(message: Listener, edge: Edge) -> None:
    """Write what is of connections, before any other filter of the listener."""
    if edge.buffer_bytes is not None:
        message.per_connection_buffer_limit_bytes.value = edge.buffer_bytes
    if edge.proxy_protocol:
        message.listener_filters.append(_proxy_protocol())


def apply_to_http(manager: HttpConnectionManager, edge: Edge) -> None:
    """Write what is of requests, over what any gateway has."""
    _apply_lifetimes(manager, edge)
    _apply_http2(manager, edge)
    if edge.underscores is not None:
        options = manager.common_http_protocol_options
        options.headers_with_underscores_action = _UNDERSCORES[edge.underscores]
    if edge.merge_slashes is not None:
        manager.merge_slashes = edge.merge_slashes
    if edge.escaped_slashes is not None:
        manager.path_with_escaped_slashes_action = _SLASHES[edge.escaped_slashes]
    if edge.trusted_hops is not None:
        manager.xff_num_trusted_hops = edge.trusted_hops
    if edge.client_certificates is not None:
        manager.forward_client_cert_details = _CERTIFICATES[edge.client_certificates]


def _apply_lifetimes(manager: HttpConnectionManager, edge: Edge) -> None:
    if edge.idle_timeout is not None:
        manager.common_http_protocol_options.idle_timeout.CopyFrom(duration(edge.idle_timeout))
    if edge.request_timeout is not None:
        manager.request_timeout.CopyFrom(duration(edge.request_timeout))
    if edge.headers_timeout is not None:
        manager.request_headers_timeout.CopyFrom(duration(edge.headers_timeout))
    if edge.stream_idle_timeout is not None:
        manager.stream_idle_timeout.CopyFrom(duration(edge.stream_idle_timeout))
    if edge.connection_requests is not None:
        options = manager.common_http_protocol_options
        options.max_requests_per_connection.value = edge.connection_requests


def _apply_http2(manager: HttpConnectionManager, edge: Edge) -> None:
    if edge.max_streams is not None:
        manager.http2_protocol_options.max_concurrent_streams.value = edge.max_streams
    if edge.stream_window_bytes is not None:
        options = manager.http2_protocol_options
        options.initial_stream_window_size.value = edge.stream_window_bytes
    if edge.connection_window_bytes is not None:
        options = manager.http2_protocol_options
        options.initial_connection_window_size.value = edge.connection_window_bytes


@cache
def _proxy_protocol() -> ListenerFilter:
    return ListenerFilter(
        name="envoy.filters.listener.proxy_protocol", typed_config=pack(ProxyProtocol())
    )
