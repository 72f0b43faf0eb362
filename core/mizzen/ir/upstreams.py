"""Where traffic can go: clusters, their security towards the upstream, and their endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mizzen.ir.origins import Origins
from mizzen.model.destination import (
    ConnectionPool,
    LoadBalancer,
    OutlierDetection,
    ProxyProtocol,
    RetryBudget,
    ZoneLb,
)
from mizzen.model.families import Families
from mizzen.model.kube import Protocol
from mizzen.model.place import Locality
from mizzen.names import ObjectKey, cluster_name


class Discovery(StrEnum):
    """How a cluster learns its endpoints."""

    EDS = "eds"
    ORIGINAL_DESTINATION = "original-destination"
    DNS = "dns"  # every address of every name
    DNS_ROUND_ROBIN = "dns-round-robin"  # one name, and of its addresses one after the other
    BY_REQUEST = "by-request"  # the host or server name that a client asks for
    NOWHERE = "nowhere"


class UpstreamHttp(StrEnum):
    """Which HTTP is spoken to an upstream; ``CLIENT`` is whatever the client spoke."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintext:
    """No TLS towards the upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshTls:
    """Mutual TLS with the workload's own certificate.

    Attributes:
        automatic: True where each endpoint says by its metadata whether it takes mTLS (Istio: automatic
            mutual TLS); False where a DestinationRule demands it of all (ISTIO_MUTUAL).
        identities: Exact SPIFFE ids that the server may have, sorted; empty checks the trust root only.
        sni: The server name sent.
    """

    automatic: bool
    identities: tuple[str, ...]
    sni: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimpleTls:
    """TLS to a server outside the mesh (DestinationRule tls.mode SIMPLE or MUTUAL).

    Attributes:
        certificate: The name of the secret (SDS) with what is shown; empty shows nothing.
        roots: The name of that with the roots that are believed, the system's where it is empty.
    """

    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    insecure_skip_verify: bool = False
    certificate: str = ""
    roots: str = ""


UpstreamTls = Plaintext | MeshTls | SimpleTls


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One outbound cluster: a host's port, as a whole or as one subset of it.

    ``service_name``/``service_namespace`` are for metadata; ``external`` is a MESH_EXTERNAL
    ServiceEntry. ``rule`` is the DestinationRule in force, or None. ``locality_weighted`` tells that
    localities weigh what their endpoints' groups say, before any endpoint is chosen.

    Attributes:
        endpoints: What names are looked up (DNS); None where endpoints come by themselves.
        own_port: The port on the address that the client was going to, where it is another one.
        families: The versions of IP of which addresses are looked up.
        passing: Whether it is for mutual TLS that goes through as it is, and is called as that's server name.
        zones: How requests keep to the client's zone; None where they do not.
    """

    host: str
    port: int
    subset: str
    discovery: Discovery
    protocol: Protocol
    http: UpstreamHttp
    tls: UpstreamTls
    endpoints: EndpointGroup | None = None
    own_port: int | None = None
    families: Families = Families.V4
    load_balancer: LoadBalancer
    connection_pool: ConnectionPool
    outlier_detection: OutlierDetection | None
    retry_budget: RetryBudget | None = None
    proxy_protocol: ProxyProtocol | None = None
    locality_weighted: bool = False
    zones: ZoneLb | None = None
    connect_timeout: timedelta
    dns_refresh: timedelta = timedelta(seconds=60)
    service_name: str
    service_namespace: str
    external: bool = False
    passing: bool = False
    rule: ObjectKey | None = None
    origins: Origins = ()

    @property
    def name(self) -> str:
        """The cluster's name."""
        return cluster_name(self.port, self.subset, self.host, passing=self.passing)


class Health(StrEnum):
    """Whether an endpoint gets traffic."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of a cluster: an IP, a name (DNS alone), or ``unix:///path``, which has no port.

    ``also`` are its addresses of the other version of IP; ``mtls`` tells whether it takes mutual TLS.
    """

    address: str
    also: tuple[str, ...] = ()
    port: int
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityGroup:
    """The endpoints of one locality, sorted by address; lower ``priority`` is used first.

    ``weight`` None is what the endpoints weigh together.
    """

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    priority: int = 0
    weight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGroup:
    """All endpoints of one EDS cluster, by locality, sorted."""

    cluster: str
    groups: tuple[LocalityGroup, ...] = ()
    origins: Origins = ()

    @property
    def size(self) -> int:
        """How many endpoints there are."""
        return sum(len(group.endpoints) for group in self.groups)
