"""Listeners for what leaves a workload.

A sidecar's redirected connections all arrive at virtualOutbound, which hands each to the listener of
its original destination; those don't bind. HTTP is recognised by its bytes on every port that may
carry it, so an HTTP port passes other bytes through, and a TCP-only port is not looked at at all and
lets the server speak first.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import OUTBOUND
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener

from mizzen import names
from mizzen.ir import OutboundListener, TcpChain, TcpProxy
from mizzen.model.families import Families
from mizzen.render.alpn import PLAIN_HTTP
from mizzen.render.chain import Chain, Side
from mizzen.render.filters.inspectors import http_inspector, tls_inspector
from mizzen.render.filters.requested_names import bytes_to
from mizzen.render.filters.tcp_proxy import tcp_proxy
from mizzen.render.http import http_base, http_by_rds
from mizzen.render.proto import duration, fill_address, fill_anywhere
from mizzen.wire import Resource, TypeUrl, encode

if TYPE_CHECKING:
    from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
        HttpConnectionManager,
    )

    from mizzen.model.mesh import Paths

OUTBOUND_PORT: Final = 15001
"""Where a sidecar's outbound connections are redirected to."""

_ANYWHERE: Final = "0.0.0.0"  # noqa: S104 - a sidecar listens on the whole pod, as its rules demand
_RAW: Final = "raw_buffer"
_UNIX: Final = "unix://"
_TLS: Final = "tls"


def render_outbound(listener: OutboundListener) -> Resource:
    """Return the listener of one port, of one address or of any."""
    message = _listener(listener.name, listener.bind, listener.port, listener.also)
    if not listener.binds:
        message.bind_to_port.value = False
    if not listener.routes and not listener.chains:
        message.filter_chains.add(filters=bytes_to(listener.tcp))
        return encode(TypeUrl.LISTENER, listener.name, message)
    _fill_inspectors(message, listener)
    if listener.routes:
        _fill_http_chain(message.filter_chains.add(), listener)
    for chain in listener.chains:
        _fill_tcp_chain(message.filter_chains.add(), chain)
    other = message.default_filter_chain
    other.filters.append(tcp_proxy(listener.tcp))
    if not listener.sniff:
        other.name = "PassthroughFilterChain"
    return encode(TypeUrl.LISTENER, listener.name, message)


def _fill_inspectors(message: Listener, listener: OutboundListener) -> None:
    """Look at a connection's first bytes as far as chains are chosen by them, however late they come."""
    if any(chain.server_name or chain.tls for chain in listener.chains):
        message.listener_filters.append(tls_inspector())
    if listener.routes:
        message.listener_filters.append(http_inspector())
    if message.listener_filters:
        message.listener_filters_timeout.CopyFrom(duration(listener.habits.detection))
        message.continue_on_listener_filters_timeout = True


def render_virtual_outbound(
    *, registry_only: bool, unknown: str = "", families: Families = Families.V4
) -> Resource:
    """Return the listener that takes every redirected connection.

    Destinations that no other listener has pass through, or, ``registry_only``, end here; a Sidecar may
    name a cluster for them, ``unknown``. The first
    chain ends what is addressed to the listener's own port, which would come back for ever.
    """
    message = _listener(names.VIRTUAL_OUTBOUND, _ANYWHERE, OUTBOUND_PORT)
    fill_anywhere(message, OUTBOUND_PORT, families)
    message.use_original_dst.value = True
    loop = message.filter_chains.add(name="virtualOutbound-blackhole")
    loop.filter_chain_match.destination_port.value = OUTBOUND_PORT
    loop.filters.append(tcp_proxy(TcpProxy(cluster=names.BLACK_HOLE_CLUSTER)))
    of_mesh = names.BLACK_HOLE_CLUSTER if registry_only else names.PASSTHROUGH_CLUSTER
    message.filter_chains.add(
        name="virtualOutbound-catchall-tcp",
        filters=[tcp_proxy(TcpProxy(cluster=unknown or of_mesh))],
    )
    return encode(TypeUrl.LISTENER, message.name, message)


def _listener(name: str, bind: str, port: int, also: tuple[str, ...] = ()) -> Listener:
    message = Listener(name=name, traffic_direction=OUTBOUND)
    if bind.startswith(_UNIX):
        message.address.pipe.path = bind.removeprefix(_UNIX)
    else:
        fill_address(message.address, bind, port)
    for address in also:
        fill_address(message.additional_addresses.add().address, address, port)
    # One connection for each wake-up keeps the workers evenly loaded (Istio).
    message.max_connections_to_accept_per_socket_event.value = 1
    return message


def _fill_http_chain(chain: FilterChain, listener: OutboundListener) -> None:
    chain.filter_chain_match.transport_protocol = _RAW
    chain.filter_chain_match.application_protocols.extend(PLAIN_HTTP)
    stat_prefix = f"outbound_{listener.name};"
    chain.filters.append(
        http_by_rds(
            _outbound_base(listener.by_request, listener.habits.paths),
            stat_prefix,
            listener.routes,
        )
    )


def _fill_tcp_chain(message: FilterChain, chain: TcpChain) -> None:
    match = message.filter_chain_match
    if chain.server_name:
        match.server_names.append(chain.server_name)
    if chain.tls:
        match.transport_protocol = _TLS
    if chain.cidr:
        prefix, _, length = chain.cidr.partition("/")
        match.prefix_ranges.add(address_prefix=prefix).prefix_len.value = int(length)
    message.filters.extend(bytes_to(chain.tcp))


@cache
def _outbound_base(by_request: Families | None, paths: Paths) -> HttpConnectionManager:
    return http_base(Chain(side=Side.OUTBOUND, by_request=by_request, paths=paths))
