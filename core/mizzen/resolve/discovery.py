"""How a cluster learns its endpoints: from the control plane, from name servers, or from its client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.ir import Discovery
from mizzen.model.destination import LoadBalancer, SimpleLb
from mizzen.model.traffic import Resolution

if TYPE_CHECKING:
    from mizzen.model.kube import ServicePort
    from mizzen.model.proxy import Scope
    from mizzen.resolve.services import MeshService

_BY_RESOLUTION: Final = {
    Resolution.DNS: Discovery.DNS,
    Resolution.DNS_ROUND_ROBIN: Discovery.DNS_ROUND_ROBIN,
}
BY_NAME: Final = frozenset(_BY_RESOLUTION.values())
"""The ways that look names up."""


def discovery_of(scope: Scope, service: MeshService, balancer: LoadBalancer) -> Discovery:
    """Return how endpoints are found.

    Where they have nothing but their own addresses (headless services, resolution NONE), a sidecar leaves the
    choice to its client. A gateway's client makes none: it gets the endpoints that are known, of NONE nothing
    (Istio: ``convertResolution``).
    """
    if service.resolution is Resolution.DYNAMIC_DNS:
        return Discovery.BY_REQUEST
    alone = service.headless or service.resolution is Resolution.NONE
    if (alone and not scope.gateway) or balancer.simple is SimpleLb.PASSTHROUGH:
        return Discovery.ORIGINAL_DESTINATION
    return _BY_RESOLUTION.get(service.resolution, Discovery.EDS)


def own_port(service: MeshService, port: ServicePort, discovery: Discovery) -> int | None:
    """Return the servers' port where clients know their addresses, and it is another than the clients'."""
    if service.resolution is not Resolution.NONE or discovery is not Discovery.ORIGINAL_DESTINATION:
        return None
    return port.target if isinstance(port.target, int) and port.target != port.number else None
