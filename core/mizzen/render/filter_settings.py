"""What a route says to the filters before the router: faults to inject, and origins to allow."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault

from mizzen.render.filters import cors, fault
from mizzen.render.matching import fill_string
from mizzen.render.proto import duration, pack, share_of_requests

if TYPE_CHECKING:
    from envoy.config.route.v3.route_components_pb2 import Route as RouteMessage
    from google.protobuf.any_pb2 import Any

    from mizzen.ir import Route
    from mizzen.model.routing import Cors, Fault


def apply_filter_settings(message: RouteMessage, route: Route) -> None:
    """Write a route's settings for filters into a message in place; they switch the filters on."""
    if route.fault is not None:
        message.typed_per_filter_config[fault.FILTER].CopyFrom(_fault(route.fault))
    if route.cors is not None:
        message.typed_per_filter_config[cors.FILTER].CopyFrom(_cors(route.cors))


@lru_cache(maxsize=256)
def _fault(wanted: Fault) -> Any:
    """Return the packed faults (Istio: ``TranslateFault``)."""
    message = HTTPFault()
    if (delay := wanted.delay) is not None:
        message.delay.fixed_delay.CopyFrom(duration(delay.duration))
        message.delay.percentage.CopyFrom(share_of_requests(delay.percent))
    if (abort := wanted.abort) is not None:
        message.abort.percentage.CopyFrom(share_of_requests(abort.percent))
        if abort.http_status is not None:
            message.abort.http_status = abort.http_status
        elif abort.grpc_status is not None:
            message.abort.grpc_status = abort.grpc_status
    return pack(message)


@lru_cache(maxsize=256)
def _cors(wanted: Cors) -> Any:
    """Return the packed policy (Istio: ``TranslateCORSPolicy``)."""
    message = CorsPolicy(
        allow_methods=",".join(wanted.allow_methods),
        allow_headers=",".join(wanted.allow_headers),
        expose_headers=",".join(wanted.expose_headers),
    )
    for origin in wanted.allow_origins:
        fill_string(message.allow_origin_string_match.add(), origin)
    if wanted.max_age is not None:
        message.max_age = str(int(wanted.max_age.total_seconds()))
    if wanted.allow_credentials:
        message.allow_credentials.value = True
    message.forward_not_matching_preflights.value = wanted.forward_unmatched
    return pack(message)
