"""A gateway's listeners: for plain HTTP, for TLS that ends here or passes through, and for bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import OUTBOUND
from envoy.config.listener.v3.listener_pb2 import Listener

from mizzen.render.alpn import MESH_ALL
from mizzen.render.chain import Chain, Side
from mizzen.render.edge import apply_to_http, apply_to_listener
from mizzen.render.filters.inspectors import tls_inspector
from mizzen.render.filters.order import network_filters
from mizzen.render.filters.requested_names import bytes_to
from mizzen.render.filters.server_names import sent_on
from mizzen.render.http import http_base, http_by_rds
from mizzen.render.proto import fill_address
from mizzen.render.server_tls import server_socket
from mizzen.wire import Resource, TypeUrl, encode

if TYPE_CHECKING:
    from envoy.config.listener.v3.listener_components_pb2 import FilterChain

    from mizzen.ir import GatewayChain, GatewayListener

_UNIX: Final = "unix://"


def render_gateway(listener: GatewayListener) -> Resource:
    """Return a gateway's listener."""
    message = Listener(name=listener.name, traffic_direction=OUTBOUND)
    if listener.bind.startswith(_UNIX):
        message.address.pipe.path = listener.bind.removeprefix(_UNIX)
    else:
        fill_address(message.address, listener.bind, listener.port)
    for address in listener.also:
        fill_address(message.additional_addresses.add().address, address, listener.port)
    # One connection for each wake-up keeps the workers evenly loaded (Istio).
    message.max_connections_to_accept_per_socket_event.value = 1
    apply_to_listener(message, listener.edge)
    # Also where every name is the same server's: a second one would otherwise change the listener as a
    # whole, and drain what is connected.
    if any(chain.server_names or chain.tls or chain.end for chain in listener.chains):
        message.listener_filters.append(tls_inspector())
    for chain in listener.chains:
        _fill_match(message.filter_chains.add(), chain)
    _fill_filters(message, listener)
    return encode(TypeUrl.LISTENER, listener.name, message)


def _fill_match(message: FilterChain, chain: GatewayChain) -> None:
    if chain.server_names:
        message.filter_chain_match.server_names.extend(chain.server_names)
    if chain.passing:
        # So marked, connections find what ends mutual TLS at the workload, and nothing else (Istio).
        message.filter_chain_match.application_protocols.extend(MESH_ALL)
    if chain.tls:
        message.filter_chain_match.transport_protocol = "tls"
    if chain.end is not None:
        message.transport_socket.CopyFrom(server_socket(chain.end))


def _fill_filters(message: Listener, listener: GatewayListener) -> None:
    """Give each chain its filters; what they have in common is made once, however many hosts there are."""
    place = Chain(
        side=Side.GATEWAY,
        authorization=listener.authorization,
        tokens=listener.tokens,
        by_request=listener.by_request,
        paths=listener.paths,
    )
    http, guards = http_base(place), network_filters(place)
    apply_to_http(http, listener.edge)
    for made, chain in zip(message.filter_chains, listener.chains, strict=True):
        if chain.routes:
            made.filters.append(http_by_rds(http, f"outbound_{listener.name};", chain.routes))
        elif chain.passing:
            # No policy is asked: who calls is known to the workload alone, and asked for there (Istio).
            made.filters.extend(sent_on(chain.passing, f"outbound_{listener.name}"))
        elif chain.tcp is not None:
            made.filters.extend((*guards, *bytes_to(chain.tcp)))
