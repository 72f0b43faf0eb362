"""EndpointSlice (discovery.k8s.io/v1): the endpoints of a Service, the part that changes most."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from mizzen.api.base import OpenModel, Port
from mizzen.api.findings import Finding, invalid
from mizzen.api.hosts import is_address
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.kube import EndpointSlice, SliceEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

_SERVICE_NAME: Final = "kubernetes.io/service-name"


class EndpointConditions(OpenModel):
    """The state of one endpoint; what is not written counts as ready (EndpointConditions)."""

    ready: bool = Field(default=True, description="Whether it takes new requests.")
    serving: bool | None = Field(default=None, description="As ready, but also while it ends.")
    terminating: bool = Field(default=False, description="Whether its pod is ending.")


class ObjectReference(OpenModel):
    """What an endpoint is."""

    kind: str = Field(default="", description="Pod, mostly.")
    name: str = Field(default="", description="Its name.")


class EndpointSpec(OpenModel):
    """One endpoint."""

    addresses: list[str] = Field(min_length=1, max_length=100, description="Its addresses.")
    conditions: EndpointConditions = Field(
        default_factory=EndpointConditions, description="Its state."
    )
    target_ref: ObjectReference | None = Field(default=None, description="What it is.")
    node_name: str = Field(default="", description="The node it runs on.")
    zone: str = Field(default="", description="The zone it runs in.")


class SlicePort(OpenModel):
    """A port that all endpoints of the slice have."""

    name: str = Field(default="", description="The Service's name for it.")
    port: Port | None = Field(default=None, description="Its number at the endpoints.")
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Transport.")


class EndpointSliceManifest(Manifest):
    """An EndpointSlice; its fields stand at the top, there is no spec."""

    OPEN: ClassVar[bool] = True

    address_type: Literal["IPv4", "IPv6", "FQDN"] = Field(description="Of all its addresses.")
    endpoints: list[EndpointSpec] = Field(default_factory=list, description="Its endpoints.")
    ports: list[SlicePort] = Field(default_factory=list, description="Their ports.")


def read_endpoint_slice(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the EndpointSlice that a manifest means."""
    return read(raw, key, EndpointSliceManifest, _convert, _check)


def _check(manifest: EndpointSliceManifest) -> Iterator[Finding]:
    if manifest.address_type == "FQDN":
        return
    for index, endpoint in enumerate(manifest.endpoints):
        for place, address in enumerate(endpoint.addresses):
            if not is_address(address):
                path = ("endpoints", index, "addresses", place)
                yield invalid(path, f"{address!r} is not an IP address")


def _convert(manifest: EndpointSliceManifest, meta: Meta) -> EndpointSlice:
    ports = [(port.name, port.port) for port in manifest.ports if port.protocol == "TCP"]
    return EndpointSlice(
        meta=meta,
        service=manifest.metadata.labels.get(_SERVICE_NAME, ""),
        ports=tuple((name, number) for name, number in ports if number is not None),
        endpoints=tuple(_endpoint(endpoint) for endpoint in manifest.endpoints),
    )


def _endpoint(endpoint: EndpointSpec) -> SliceEndpoint:
    conditions, target = endpoint.conditions, endpoint.target_ref
    serving = conditions.ready if conditions.serving is None else conditions.serving
    return SliceEndpoint(
        addresses=tuple(endpoint.addresses),
        ready=conditions.ready,
        serving=serving,
        terminating=conditions.terminating,
        pod=target.name if target is not None and target.kind == "Pod" else "",
        node=endpoint.node_name,
        zone=endpoint.zone,
    )
