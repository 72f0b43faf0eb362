"""Sidecar (networking.istio.io): what a workload's proxy sees and takes (Istio: sidecar.proto)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated
from mizzen.api.gateway import ServerTlsSettings
from mizzen.api.http_action import Destination
from mizzen.api.meta import Manifest
from mizzen.api.traffic_policy import ConnectionPoolSettings
from mizzen.api.workloads import EntrySelector

_PortOrNone = Annotated[int, Field(ge=0, le=65_535)]
_CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]


class SidecarPort(ApiModel):
    """A port (Istio: SidecarPort)."""

    number: _PortOrNone = Field(default=0, description="Its number; 0 with a unix:// bind.")
    protocol: str = Field(default="", max_length=256, description="Sniffed where none is written.")
    name: str = Field(default="", description="A name for it, for people alone.")
    target_port: _PortOrNone = Field(default=0, description="Must not be set.")


class EgressListener(ApiModel):
    """What is seen, on a port or on all others (Istio: IstioEgressListener)."""

    port: SidecarPort | None = Field(
        default=None, description="The port; all that no other entry names by default."
    )
    bind: str = Field(default="", description="An address, or unix:///path.")
    capture_mode: _CaptureMode = Field(default="DEFAULT", description="How connections come.")
    hosts: list[str] = Field(min_length=1, description="namespace/host, both may be wildcards.")


class IngressListener(ApiModel):
    """A port of the workload (Istio: IstioIngressListener)."""

    port: SidecarPort = Field(description="The port.")
    bind: str = Field(
        default="", description="An address; 0.0.0.0 by default. With captureMode NONE alone."
    )
    capture_mode: _CaptureMode = Field(default="DEFAULT", description="How connections come.")
    default_endpoint: str = Field(
        default="", description="Where they go: 127.0.0.1:port, 0.0.0.0:port or unix:///path."
    )
    tls: ServerTlsSettings | None = Field(
        default=None,
        description="TLS instead of the mesh's, where the port's mutual TLS is DISABLE.",
    )
    connection_pool: ConnectionPoolSettings | None = Field(
        default=None, description="Limits of this port."
    )


class OutboundTrafficPolicy(ApiModel):
    """What becomes of unknown destinations (Istio: OutboundTrafficPolicy)."""

    mode: Annotated[
        Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"],
        NotTranslated("it is as ALLOW_ANY", only=("ALLOW_ANY_DYNAMIC_DNS",)),
    ] = Field(default="REGISTRY_ONLY", description="Whether they may be reached.")
    egress_proxy: Destination | None = Field(default=None, description="Who gets them.")


class SidecarSpec(ApiModel):
    """A Sidecar's spec (Istio: Sidecar)."""

    workload_selector: EntrySelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    ingress: list[IngressListener] = Field(
        default_factory=list, description="Ports; those of services by default."
    )
    egress: list[EgressListener] = Field(
        default_factory=list, description="What is seen; everything by default."
    )
    inbound_connection_pool: ConnectionPoolSettings | None = Field(
        default=None, description="Limits of all ports."
    )
    outbound_traffic_policy: OutboundTrafficPolicy | None = Field(
        default=None, description="Unknown destinations; as the mesh does by default."
    )


class SidecarManifest(Manifest):
    """A Sidecar."""

    spec: SidecarSpec = Field(default_factory=SidecarSpec, description="Its spec (Istio: Sidecar).")
