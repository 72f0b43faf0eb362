"""The HTTP connection manager, as the three sides of the mesh need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from mizzen.model.mesh import Paths
from mizzen.render.chain import Chain, Side
from mizzen.render.filters.order import http_filters
from mizzen.render.proto import ads, duration, pack, zero

if TYPE_CHECKING:
    from datetime import timedelta

    from envoy.config.route.v3.route_pb2 import RouteConfiguration

_FILTER: Final = "envoy.filters.network.http_connection_manager"
_SERVER_NAME: Final = "istio-envoy"


def http_base(chain: Chain) -> HttpConnectionManager:
    """Return all of a chain's connection manager but its routes and the name of its statistics."""
    manager = HttpConnectionManager(http_filters=http_filters(chain))
    manager.stream_idle_timeout.CopyFrom(zero())
    _make_paths_alike(manager, chain.paths)
    manager.upgrade_configs.add(upgrade_type="websocket")
    manager.use_remote_address.value = chain.side is Side.GATEWAY
    match chain.side:
        case Side.OUTBOUND:
            pass
        case Side.INBOUND:
            manager.server_name = _SERVER_NAME
            _forward_client_certificate(manager, HttpConnectionManager.APPEND_FORWARD)
        case Side.GATEWAY:
            manager.server_name = _SERVER_NAME
            _forward_client_certificate(manager, HttpConnectionManager.SANITIZE_SET)
            manager.set_current_client_cert_details.cert = True
    return manager


def _make_paths_alike(manager: HttpConnectionManager, how: Paths) -> None:
    """Write what is done with paths before anything looks at them (Istio: ``pathNormalization``)."""
    manager.normalize_path.value = how is not Paths.NONE
    if how in (Paths.MERGE_SLASHES, Paths.DECODE_AND_MERGE_SLASHES):
        manager.merge_slashes = True
    if how is Paths.DECODE_AND_MERGE_SLASHES:
        decode = HttpConnectionManager.UNESCAPE_AND_FORWARD
        manager.path_with_escaped_slashes_action = decode


def http_by_rds(base: HttpConnectionManager, stat_prefix: str, routes: str) -> Filter:
    """Return a connection manager whose route configuration comes by name over ADS."""
    manager = HttpConnectionManager()
    manager.CopyFrom(base)
    manager.stat_prefix = stat_prefix
    manager.rds.route_config_name = routes
    manager.rds.config_source.CopyFrom(ads())
    return _filter(manager)


def http_inline(
    base: HttpConnectionManager,
    stat_prefix: str,
    routes: RouteConfiguration,
    *,
    idle_timeout: timedelta | None = None,
) -> Filter:
    """Return a connection manager that carries its routes.

    ``idle_timeout`` ends a client's connection that has no request for so long; ``None`` is Envoy's hour.
    """
    manager = HttpConnectionManager()
    manager.CopyFrom(base)
    manager.stat_prefix = stat_prefix
    manager.route_config.CopyFrom(routes)
    if idle_timeout is not None:
        manager.common_http_protocol_options.idle_timeout.CopyFrom(duration(idle_timeout))
    return _filter(manager)


def _forward_client_certificate(
    manager: HttpConnectionManager,
    mode: HttpConnectionManager.ForwardClientCertDetails,
) -> None:
    """Tell the next hop, by X-Forwarded-Client-Cert, who came over mutual TLS."""
    manager.forward_client_cert_details = mode
    details = manager.set_current_client_cert_details
    details.subject.value = True
    details.dns = True
    details.uri = True


def _filter(manager: HttpConnectionManager) -> Filter:
    return Filter(name=_FILTER, typed_config=pack(manager))
