"""Endpoints of one cluster, by locality. The hottest of all renderings: nothing changes more often."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.core.v3.health_check_pb2 import UNHEALTHY
from envoy.config.endpoint.v3.endpoint_components_pb2 import LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from mizzen.ir import EndpointGroup, Health, Locality, LocalityGroup
from mizzen.wire import TypeUrl, encode

if TYPE_CHECKING:
    from mizzen.wire import Resource

TLS_MODE_MATCH: Final = "envoy.transport_socket_match"
"""Where Envoy looks for what chooses an endpoint's transport socket."""

# Endpoints of one workload share their metadata; this many distinct ones are kept encoded.
_KEPT_METADATA: Final = 65_536


def render_endpoints(group: EndpointGroup) -> Resource:
    """Return the ClusterLoadAssignment of an EDS cluster; without endpoints it is empty, not absent."""
    message = ClusterLoadAssignment(cluster_name=group.cluster)
    for locality_group in group.groups:
        _fill_locality(message.endpoints.add(), locality_group)
    return encode(TypeUrl.ENDPOINT, group.cluster, message)


def _fill_locality(message: LocalityLbEndpoints, group: LocalityGroup) -> None:
    """Write one locality; it weighs what its endpoints weigh together (Istio: loadbalancer)."""
    _fill_place(message, group.locality)
    if group.priority:
        message.priority = group.priority
    message.load_balancing_weight.value = sum(e.weight for e in group.endpoints) or 1
    add = message.lb_endpoints.add
    for endpoint in group.endpoints:
        entry = add()
        socket = entry.endpoint.address.socket_address
        socket.address = endpoint.address
        socket.port_value = endpoint.port
        entry.load_balancing_weight.value = endpoint.weight
        if endpoint.health is Health.UNHEALTHY:
            entry.health_status = UNHEALTHY
        if endpoint.mtls or endpoint.workload:
            entry.metadata.ParseFromString(_metadata(endpoint.workload, mtls=endpoint.mtls))


def _fill_place(message: LocalityLbEndpoints, locality: Locality) -> None:
    place = message.locality
    place.SetInParent()
    if locality.region:
        place.region = locality.region
    if locality.zone:
        place.zone = locality.zone
    if locality.subzone:
        place.sub_zone = locality.subzone


@lru_cache(maxsize=_KEPT_METADATA)
def _metadata(workload: str, *, mtls: bool) -> bytes:
    """Return the encoded metadata: whether it takes mutual TLS, and Istio's name of the workload."""
    metadata = Metadata()
    if mtls:
        metadata.filter_metadata[TLS_MODE_MATCH].fields["tlsMode"].string_value = "istio"
    if workload:
        metadata.filter_metadata["istio"].fields["workload"].string_value = workload
    encoded: bytes = metadata.SerializeToString(deterministic=True)
    return encoded
