"""Endpoints of one cluster, by locality. The hottest of all renderings: nothing changes more often."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.core.v3.health_check_pb2 import UNHEALTHY
from envoy.config.endpoint.v3.endpoint_components_pb2 import LocalityLbEndpoints
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from mizzen.ir import EndpointGroup, Health, Locality, LocalityGroup
from mizzen.render.proto import fill_address
from mizzen.wire import TypeUrl, encode

if TYPE_CHECKING:
    from mizzen.wire import Resource

TLS_MODE_MATCH: Final = "envoy.transport_socket_match"
"""Where Envoy looks for what chooses an endpoint's transport socket."""

# What the weights of an assignment may come to together: Envoy adds them up in 32 bits.
_MOST_WEIGHT: Final = 2**32 - 1


def render_endpoints(group: EndpointGroup) -> Resource:
    """Return the ClusterLoadAssignment of an EDS cluster; without endpoints it is empty, not absent."""
    return encode(TypeUrl.ENDPOINT, group.cluster, assignment(group))


def assignment(group: EndpointGroup) -> ClusterLoadAssignment:
    """Return the endpoints of a cluster, for EDS or to stand in the cluster itself."""
    message = ClusterLoadAssignment(cluster_name=group.cluster)
    for locality_group in _bearable(group.groups):
        _fill_locality(message.endpoints.add(), locality_group)
    return message


def _bearable(groups: tuple[LocalityGroup, ...]) -> tuple[LocalityGroup, ...]:
    """Return localities whose weights keep their proportions and do not come to more than they may."""
    weights = [endpoint.weight for group in groups for endpoint in group.endpoints]
    total = sum(weights)
    if total <= _MOST_WEIGHT:
        return groups
    room = _MOST_WEIGHT - len(weights)  # none gets less than 1
    return tuple(
        replace(
            group,
            endpoints=tuple(
                replace(endpoint, weight=1 + endpoint.weight * room // total)
                for endpoint in group.endpoints
            ),
        )
        for group in groups
    )


def _fill_locality(message: LocalityLbEndpoints, group: LocalityGroup) -> None:
    """Write one locality; it weighs what its endpoints weigh together, unless it says otherwise (Istio).

    Where all of its endpoints take mutual TLS, the locality says so for them: Envoy looks there for
    what an endpoint does not say (Cluster.transport_socket_matches). A weight of 1 is the default.
    """
    _fill_place(message, group.locality)
    if group.priority:
        message.priority = group.priority
    weight = sum(e.weight for e in group.endpoints) if group.weight is None else group.weight
    message.load_balancing_weight.value = weight or 1
    uniform = all(endpoint.mtls for endpoint in group.endpoints)
    if uniform:
        message.metadata.CopyFrom(_takes_mtls())
    add = message.lb_endpoints.add
    for endpoint in group.endpoints:
        entry = add()
        fill_address(entry.endpoint.address, endpoint.address, endpoint.port)
        for address in endpoint.also:
            more = entry.endpoint.additional_addresses.add()
            fill_address(more.address, address, endpoint.port)
        if endpoint.weight != 1:
            entry.load_balancing_weight.value = endpoint.weight
        if endpoint.health is Health.UNHEALTHY:
            entry.health_status = UNHEALTHY
        if endpoint.mtls and not uniform:
            entry.metadata.CopyFrom(_takes_mtls())


def _fill_place(message: LocalityLbEndpoints, locality: Locality) -> None:
    place = message.locality
    place.SetInParent()
    if locality.region:
        place.region = locality.region
    if locality.zone:
        place.zone = locality.zone
    if locality.subzone:
        place.sub_zone = locality.subzone


@cache
def _takes_mtls() -> Metadata:
    """Return the metadata of what takes mutual TLS."""
    metadata = Metadata()
    metadata.filter_metadata[TLS_MODE_MATCH].fields["tlsMode"].string_value = "istio"
    return metadata
