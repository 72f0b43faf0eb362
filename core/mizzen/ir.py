"""What a proxy is to do, in the mesh's own words: the values between ``resolve`` and ``render``.

Nothing here knows Envoy, and nothing here knows who wrote what or in which order: hosts are complete,
policies are merged, defaults are filled in, conflicts are decided. Values are frozen and compared by
value; equality is what stops a change from travelling further. ``origins`` name the objects that shaped
a value, for blame and for status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from mizzen.model.kube import Protocol
from mizzen.model.routing import Cors, DirectResponse, Fault, Headers, Redirect, StringMatch
from mizzen.model.security import JwtRule, MtlsMode, PolicyAction
from mizzen.model.traffic import (
    ConnectionPool,
    ConsistentHash,
    LoadBalancer,
    OutlierDetection,
    RetryBudget,
)
from mizzen.names import PASSTHROUGH_CLUSTER, ObjectKey

Origins = tuple[ObjectKey, ...]


# --- Where traffic can go -------------------------------------------------------------------------


class Discovery(StrEnum):
    """How a cluster learns its endpoints."""

    EDS = "eds"
    ORIGINAL_DESTINATION = "original-destination"
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
    """TLS to a server outside the mesh (DestinationRule tls.mode SIMPLE), against the system's roots."""

    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    insecure_skip_verify: bool = False


UpstreamTls = Plaintext | MeshTls | SimpleTls


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """One outbound cluster: a host's port, as a whole or as one subset of it.

    ``service_name``/``service_namespace`` are for metadata; ``external`` is a MESH_EXTERNAL
    ServiceEntry. ``rule`` is the DestinationRule in force, or None.
    """

    host: str
    port: int
    subset: str
    discovery: Discovery
    protocol: Protocol
    http: UpstreamHttp
    tls: UpstreamTls
    load_balancer: LoadBalancer
    connection_pool: ConnectionPool
    outlier_detection: OutlierDetection | None
    retry_budget: RetryBudget | None = None
    connect_timeout: timedelta
    service_name: str
    service_namespace: str
    external: bool = False
    rule: ObjectKey | None = None
    origins: Origins = ()


class Health(StrEnum):
    """Whether an endpoint gets traffic."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of a cluster; ``mtls`` tells whether it takes mutual TLS."""

    address: str
    port: int
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """Where endpoints are."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityGroup:
    """The endpoints of one locality, sorted by address; lower ``priority`` is used first."""

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointGroup:
    """All endpoints of one EDS cluster, by locality, sorted."""

    cluster: str
    groups: tuple[LocalityGroup, ...] = ()
    origins: Origins = ()


# --- HTTP routing ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """When a route applies; all that is set must hold. An empty one matches every request.

    ``claims`` are of a validated token, by path.
    """

    uri: StringMatch | None = None
    ignore_uri_case: bool = False
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query_params: tuple[tuple[str, StringMatch], ...] = ()
    claims: tuple[tuple[tuple[str, ...], StringMatch], ...] = ()
    without_claims: tuple[tuple[tuple[str, ...], StringMatch], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, when and where a request is tried again; conditions are Envoy-neutral Istio words."""

    attempts: int
    retry_on: tuple[str, ...]
    retriable_status_codes: tuple[int, ...] = ()
    per_try_timeout: timedelta | None = None
    backoff: timedelta | None = None
    avoid_previous_hosts: bool = True
    remote_localities: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedTarget:
    """A share of a route's traffic."""

    cluster: str
    weight: int
    headers: Headers = field(default_factory=Headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Copies of a share of the requests, in percent, whose answers nobody waits for."""

    cluster: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Send the request on.

    ``timeout`` zero is none. ``targets`` of one entry takes everything. ``prefix_rewrite`` replaces the
    matched prefix or exact path. ``hash_on`` are the keys of consistent hashing, of the destination's
    DestinationRule.
    """

    targets: tuple[WeightedTarget, ...]
    timeout: timedelta = timedelta(0)
    retry: RetryPolicy | None = None
    prefix_rewrite: str = ""
    regex_rewrite: tuple[str, str] | None = None
    host_rewrite: str = ""
    hash_on: tuple[ConsistentHash, ...] = ()
    copies: tuple[Copies, ...] = ()


RouteAction = Forward | Redirect | DirectResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: the first that matches is taken."""

    name: str
    match: RequestMatch
    action: RouteAction
    headers: Headers = field(default_factory=Headers)
    stat_prefix: str = ""
    fault: Fault | None = None
    cors: Cors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """The routes of one host in one route configuration: the unit in which routes are delivered.

    ``domains`` are lower-case and without ports. ``redirect_to_https`` is a Gateway's httpsRedirect.
    """

    route_configuration: str
    host: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    redirect_to_https: bool = False
    origins: Origins = ()


class CatchAll(StrEnum):
    """What a route configuration does with hosts that none of its virtual hosts has."""

    PASSTHROUGH = "passthrough"  # sidecar, outboundTrafficPolicy ALLOW_ANY
    BLOCK = "block"  # sidecar, REGISTRY_ONLY: 502
    NOT_FOUND = "not-found"  # gateway: 404
    NONE = "none"  # sniffed port of one service: its host is the catch-all


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """The head of a route configuration; its virtual hosts travel on their own.

    ``passthrough`` is the cluster of CatchAll.PASSTHROUGH.
    """

    name: str
    catch_all: CatchAll
    passthrough: str = PASSTHROUGH_CLUSTER
    origins: Origins = ()


# --- Listening ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProxy:
    """Bytes to one cluster, or to several by shares.

    With ``shares`` (clusters and weights) ``cluster`` is but a name, for statistics.
    ``hash_on_source`` is consistentHash.useSourceIp.
    """

    cluster: str
    shares: tuple[tuple[str, int], ...] = ()
    idle_timeout: timedelta | None = None
    max_connection_duration: timedelta | None = None
    hash_on_source: bool = False

    @property
    def clusters(self) -> tuple[str, ...]:
        """Where bytes may go."""
        return tuple(name for name, _ in self.shares) or (self.cluster,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpChain:
    """Bytes of some of a listener's connections: those that ask for a server name, or go to a range.

    ``server_name`` is the SNI, ``cidr`` the destination; what is empty is not asked for. ``tls`` asks for
    TLS with whatever server name, or none.
    """

    server_name: str = ""
    cidr: str = ""
    tls: bool = False
    tcp: TcpProxy


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundListener:
    """What a sidecar does with connections to one port (of one address, or of any).

    It doesn't bind: virtualOutbound hands it the connections of its original destination.

    Attributes:
        bind: The address, ``0.0.0.0`` for any.
        routes: Name of the route configuration for HTTP; empty where the port is TCP only.
        chains: Connections that are told from the others by server name or destination.
        tcp: Where all other bytes go; for an HTTP port the pass-through or black hole.
        takes_rest: Whether ``tcp`` is a service's own claim, not what unknown destinations get.
        sniff: True where HTTP has to be told from TCP by looking at the bytes with no declaration.
    """

    bind: str
    port: int
    routes: str = ""
    chains: tuple[TcpChain, ...] = ()
    tcp: TcpProxy
    takes_rest: bool = True
    sniff: bool = False
    origins: Origins = ()

    @property
    def name(self) -> str:
        """Istio's name of the listener."""
        return f"{self.bind}_{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPort:
    """One port of the proxy's own workload.

    Attributes:
        port: Where the application listens (the target port), which is where clients' packets go to.
        service_port: The Service's port number, for names.
        mode: Effective mutual TLS mode, never UNSET.
        host: The Service's host, for names and metadata.
        endpoint: Where connections go instead of the address that they were made to: ``127.0.0.1:8080``,
            ``[::1]:8080`` or ``unix:///path``.
        own_port: The port that they go to on that address, where it is another one.
    """

    port: int
    service_port: int
    protocol: Protocol
    mode: MtlsMode
    host: str
    connection_pool: ConnectionPool | None = None
    endpoint: str = ""
    own_port: int | None = None
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIssuers:
    """Whose tokens are valid; without rules tokens are not looked at.

    ``sources`` are pairs of a place of keys (``jwksUri``) and the cluster through which it is reached.
    """

    rules: tuple[JwtRule, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPolicy:
    """The whole inbound side of a sidecar.

    Attributes:
        ports: The declared ports, sorted by number.
        default_mode: mTLS mode of undeclared ports.
        port_modes: Modes of undeclared ports that a PeerAuthentication names (portLevelMtls).
        trust_domains: Whose certificates are accepted, own one first.
        authorization: What is checked on HTTP and on TCP.
        tokens: Whose tokens are valid.
    """

    ports: tuple[InboundPort, ...]
    default_mode: MtlsMode
    port_modes: tuple[tuple[int, MtlsMode], ...] = ()
    trust_domains: tuple[str, ...]
    authorization: Authorization
    tokens: TokenIssuers = field(default_factory=TokenIssuers)
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A port on which a gateway accepts plain HTTP, or bytes.

    Attributes:
        routes: Name of the route configuration; empty where bytes are passed on.
        chains: Connections that are told from the others by server name.
        tcp: Where all other bytes go; without it they go nowhere.
    """

    bind: str
    port: int
    routes: str = ""
    chains: tuple[TcpChain, ...] = ()
    tcp: TcpProxy | None = None
    origins: Origins = ()
    authorization: Authorization
    tokens: TokenIssuers = field(default_factory=TokenIssuers)

    @property
    def name(self) -> str:
        """Istio's name of the listener."""
        return f"{self.bind}_{self.port}"


# --- Authorization --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Anything:
    """Always true."""


@dataclass(frozen=True, slots=True)
class Never:
    """Never true."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one holds."""

    terms: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one holds."""

    terms: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    term: Predicate


class TextKind(StrEnum):
    """How a text is compared in a policy."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Text:
    """A comparison of a text."""

    kind: TextKind
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The URI SAN of the peer's verified certificate, ``spiffe://…`` included."""

    text: Text


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """The peer's address, or, ``original`` True, the client's as X-Forwarded-For tells it."""

    cidr: str
    original: bool = False


@dataclass(frozen=True, slots=True)
class DestinationAddress:
    """The address the connection was made to."""

    cidr: str


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """The port the connection was made to."""

    port: int


@dataclass(frozen=True, slots=True)
class ServerName:
    """The SNI of the connection."""

    text: Text


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A request header, pseudo headers (``:method``, ``:authority``) included. HTTP only."""

    name: str
    text: Text


@dataclass(frozen=True, slots=True)
class RequestPath:
    """The path without query, after normalisation. HTTP only."""

    text: Text


@dataclass(frozen=True, slots=True)
class RequestPathTemplate:
    """The path against a URI template with ``*`` (one segment) and ``**`` (the rest). HTTP only."""

    template: str


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """A claim of a validated JWT, by path; a list matches if any element does. HTTP only."""

    path: tuple[str, ...]
    text: Text


@dataclass(frozen=True, slots=True)
class FilterMetadata:
    """What another filter has left in its metadata; ``listed`` True: an element of the list there."""

    filter: str
    entry: str
    text: Text
    listed: bool = False


Predicate = (
    Anything
    | Never
    | AllOf
    | AnyOf
    | Not
    | PeerIdentity
    | SourceAddress
    | DestinationAddress
    | DestinationPort
    | ServerName
    | RequestHeader
    | RequestPath
    | RequestPathTemplate
    | TokenClaim
    | FilterMetadata
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of one policy: what is asked for, and who asks.

    ``name`` is Istio's ``ns[NS]-policy[NAME]-rule[i]``.
    """

    name: str
    operation: Predicate
    source: Predicate


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of one action on one protocol; an ALLOW set without rules allows nothing.

    ``dry_run`` refuses nothing: it is only counted what the rules would have done.
    """

    action: PolicyAction
    rules: tuple[PolicyRule, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Rule sets in the order in which they are asked: AUDIT, DENY, ALLOW; for HTTP and for TCP."""

    http: tuple[RuleSet, ...] = ()
    tcp: tuple[RuleSet, ...] = ()
    origins: Origins = ()


OPEN = Authorization()
