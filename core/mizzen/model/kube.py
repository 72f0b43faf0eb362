"""Kubernetes' own objects, as far as a mesh needs them. Source: core/v1 and discovery.k8s.io/v1."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mizzen.model.edge import Edge
from mizzen.model.mesh import MeshConfig
from mizzen.model.meta import EXPORT_ALL, NO_LABELS, ExportTo, Labels, Meta


class Protocol(StrEnum):
    """What is spoken on a port; ``UNSET`` means that Envoy sniffs it (Istio: protocol selection)."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    UNSET = "UNSET"

    @property
    def is_http(self) -> bool:
        """Plain-text HTTP of any version."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_http2(self) -> bool:
        """HTTP/2 by declaration."""
        return self in (Protocol.HTTP2, Protocol.GRPC, Protocol.GRPC_WEB)

    @property
    def is_tcp(self) -> bool:
        """Opaque bytes as far as routing goes, TLS included."""
        return not (self.is_http or self in (Protocol.UDP, Protocol.UNSET))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service or ServiceEntry; ``target`` is a number, a container port's name or None."""

    name: str
    number: int
    protocol: Protocol
    target: int | str | None = None


class Distribution(StrEnum):
    """``spec.trafficDistribution`` of a Service: which endpoints are used first."""

    CLOSE = "PreferClose"
    SAME_ZONE = "PreferSameZone"
    SAME_NODE = "PreferSameNode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A Kubernetes Service. ``cluster_ips`` is empty for a headless one.

    ``export_unsaid``: who sees it is as the mesh has it.
    """

    meta: Meta
    ports: tuple[ServicePort, ...] = ()
    cluster_ips: tuple[str, ...] = ()
    headless: bool = False
    selector: Labels = NO_LABELS
    external_name: str = ""
    publish_not_ready: bool = False
    export_to: ExportTo = EXPORT_ALL
    export_unsaid: bool = False
    service_accounts: tuple[str, ...] = ()
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEndpoint:
    """One endpoint of a slice."""

    addresses: tuple[str, ...]
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    pod: str = ""
    node: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSlice:
    """An EndpointSlice; ``service`` is the value of its ``kubernetes.io/service-name`` label."""

    meta: Meta
    service: str
    ports: tuple[tuple[str, int], ...] = ()
    endpoints: tuple[SliceEndpoint, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    """A declared container port."""

    name: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Pod: who runs at an address, with which labels and identity.

    ``edge`` is what it bears with of its clients, where it is a gateway that says so. One that ``is_ending``
    has been told to, and serves for a few seconds more.
    """

    meta: Meta
    ips: tuple[str, ...] = ()
    node: str = ""
    service_account: str = "default"
    ports: tuple[ContainerPort, ...] = ()
    host_network: bool = False
    edge: Edge | None = None
    is_ending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A Namespace; only its labels matter."""

    meta: Meta


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A Node: where its pods are (labels ``topology.kubernetes.io/region`` and ``/zone``)."""

    meta: Meta
    region: str = ""
    zone: str = ""
    subzone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccount:
    """A ServiceAccount; its existence is all that matters."""

    meta: Meta


@dataclass(frozen=True, slots=True)
class PrivateBytes:
    """Key material or a token; hidden in every printed form."""

    value: bytes

    def __repr__(self) -> str:
        """Return a form that shows nothing."""
        return "<private>"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret. Values are private: they are never shown."""

    meta: Meta
    type: str = "Opaque"
    data: tuple[tuple[str, PrivateBytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigMap:
    """A ConfigMap; ``mesh`` is what it says of the whole mesh, where it is the one that does."""

    meta: Meta
    data: tuple[tuple[str, str], ...] = ()
    mesh: MeshConfig | None = None
