"""Istio's traffic objects (networking.istio.io/v1): what of them is translated, as frozen values.

Hosts are kept as written, lower-cased; ``resolve`` expands short names in the object's namespace.
Durations are ``timedelta``. ``None`` always means "not written".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mizzen.model.destination import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    DestinationRule,
    HashCookie,
    LoadBalancer,
    OutlierDetection,
    PortPolicy,
    RetryBudget,
    SimpleLb,
    Subset,
    TcpKeepalive,
    TlsMode,
    TrafficPolicy,
    Warmup,
)
from mizzen.model.kube import ServicePort
from mizzen.model.meta import EXPORT_ALL, NO_LABELS, ExportTo, Labels, Meta

# Names that others import from here.
__all__ = (
    "ClientTls",
    "ConnectionPool",
    "ConsistentHash",
    "DestinationRule",
    "HashCookie",
    "LoadBalancer",
    "OutlierDetection",
    "PortPolicy",
    "Resolution",
    "RetryBudget",
    "ServiceEntry",
    "SimpleLb",
    "Subset",
    "TcpKeepalive",
    "TlsMode",
    "TrafficPolicy",
    "Warmup",
    "WorkloadEndpoint",
    "WorkloadEntry",
)


class Resolution(StrEnum):
    """``ServiceEntry.resolution``."""

    NONE = "NONE"
    STATIC = "STATIC"
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"

    @property
    def is_dns(self) -> bool:
        """Names are looked up, each by itself or those of the endpoints."""
        return self in (Resolution.DNS, Resolution.DNS_ROUND_ROBIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEndpoint:
    """What a WorkloadEntry and ``ServiceEntry.endpoints[]`` say of one workload."""

    address: str
    ports: tuple[tuple[str, int], ...] = ()
    labels: Labels = NO_LABELS
    locality: str = ""
    weight: int = 1
    service_account: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """networking.istio.io ServiceEntry; ``selector`` None means ``endpoints`` are given in place.

    ``export_unsaid``: who sees it is as the mesh has it.
    """

    meta: Meta
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    external: bool = True
    resolution: Resolution = Resolution.NONE
    endpoints: tuple[WorkloadEndpoint, ...] = ()
    selector: Labels | None = None
    export_to: ExportTo = EXPORT_ALL
    export_unsaid: bool = False
    subject_alt_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadEntry:
    """networking.istio.io WorkloadEntry: a workload that is not a pod."""

    meta: Meta
    endpoint: WorkloadEndpoint
