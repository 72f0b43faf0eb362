"""The PROXY protocol towards an upstream: the client's address ahead of all bytes, TLS included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer

from mizzen.model.destination import ProxyProtocol
from mizzen.render.proto import pack

if TYPE_CHECKING:
    from envoy.config.cluster.v3.cluster_pb2 import Cluster

_VERSIONS: Final = {
    ProxyProtocol.V1: ProxyProtocolConfig.V1,
    ProxyProtocol.V2: ProxyProtocolConfig.V2,
}


def announce_clients(cluster: Cluster, version: ProxyProtocol) -> None:
    """Wrap every transport socket of a cluster, plain text included."""
    if not cluster.HasField("transport_socket"):
        cluster.transport_socket.name = "envoy.transport_sockets.raw_buffer"
        cluster.transport_socket.typed_config.CopyFrom(pack(RawBuffer()))
    matched = (match.transport_socket for match in cluster.transport_socket_matches)
    for socket in (cluster.transport_socket, *matched):
        socket.CopyFrom(_announced(socket, version))


def _announced(inner: TransportSocket, version: ProxyProtocol) -> TransportSocket:
    wrapper = ProxyProtocolUpstreamTransport(transport_socket=inner)
    wrapper.config.version = _VERSIONS[version]
    return TransportSocket(
        name="envoy.transport_sockets.upstream_proxy_protocol", typed_config=pack(wrapper)
    )
