"""DestinationRule (networking.istio.io/v1): what of it is translated, as frozen values.

Hosts are kept as written, lower-cased; ``resolve`` expands short names in the object's namespace.
Durations are ``timedelta``. ``None`` always means "not written".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from mizzen.model.meta import EXPORT_ALL, NO_LABELS, ExportTo, Labels, Meta


class SimpleLb(StrEnum):
    """``loadBalancer.simple``."""

    UNSPECIFIED = "UNSPECIFIED"
    LEAST_CONN = "LEAST_CONN"
    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"


@dataclass(frozen=True, slots=True, kw_only=True)
class HashCookie:
    """``consistentHash.httpCookie``; a ttl of zero is a session cookie."""

    name: str
    path: str = ""
    ttl: timedelta | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistentHash:
    """``loadBalancer.consistentHash``: one key, and the table it is looked up in.

    ``minimum_ring_size`` is for the ring hash, ``maglev_table_size`` not None chooses Maglev.
    """

    http_header_name: str = ""
    http_cookie: HashCookie | None = None
    use_source_ip: bool = False
    http_query_parameter_name: str = ""
    minimum_ring_size: int = 1024
    maglev: bool = False
    maglev_table_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """``loadBalancer.warmup`` / ``warmupDurationSecs``: slow start of new endpoints."""

    duration: timedelta
    minimum_percent: float | None = None
    aggression: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityLb:
    """``loadBalancer.localityLbSetting``: explicit shares, or what comes next when near ones fail.

    Attributes:
        enabled: False where localities are not looked at.
        distribute: By the client's locality (a pattern), the shares of others, which add up to 100.
        failover: By the client's region, the region that comes before all others.
        failover_priority: Names of labels, or ``name=value``, the first of which matters most.
    """

    enabled: bool = True
    distribute: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    failover: tuple[tuple[str, str], ...] = ()
    failover_priority: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneLb:
    """``loadBalancer.zoneAwareLbSetting``: requests stay in their zone as far as it has servers for them.

    Attributes:
        enabled: False where the mesh's setting is not to hold.
        failover: By the client's region, the region that comes before all others.
        failover_priority: Names of labels, or ``name=value``, the first of which matters most.
        minimum: How many endpoints there must be; None is Envoy's own, 6.
    """

    enabled: bool = True
    failover: tuple[tuple[str, str], ...] = ()
    failover_priority: tuple[str, ...] = ()
    minimum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """``trafficPolicy.loadBalancer``; without ``locality`` and ``zones`` places are left to the mesh's settings."""

    simple: SimpleLb = SimpleLb.UNSPECIFIED
    consistent_hash: ConsistentHash | None = None
    warmup: Warmup | None = None
    locality: LocalityLb | None = None
    zones: ZoneLb | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpKeepalive:
    """``connectionPool.tcp.tcpKeepalive``."""

    probes: int | None = None
    time: timedelta | None = None
    interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pings:
    """``connectionPool.http.http2KeepAlive``: PING frames, and how long their answers may take."""

    interval: timedelta
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPool:
    """``trafficPolicy.connectionPool``, both halves; None is "not written"."""

    max_connections: int | None = None
    connect_timeout: timedelta | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: timedelta | None = None
    tcp_idle_timeout: timedelta | None = None
    http1_max_pending_requests: int | None = None
    http2_max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    http_idle_timeout: timedelta | None = None
    h2_upgrade_policy: str = "DEFAULT"
    use_client_protocol: bool = False
    max_concurrent_streams: int | None = None
    pings: Pings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """``trafficPolicy.outlierDetection``."""

    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_5xx_errors: int | None = None
    interval: timedelta | None = None
    base_ejection_time: timedelta | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int = 0
    http_error_codes: tuple[int, ...] = ()


class TlsMode(StrEnum):
    """``trafficPolicy.tls.mode``."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """``trafficPolicy.tls`` (ClientTLSSettings); paths of files are the proxy's own.

    ``credential_name`` is a Secret of the proxy's namespace.
    """

    mode: TlsMode
    sni: str = ""
    subject_alt_names: tuple[str, ...] = ()
    insecure_skip_verify: bool = False
    certificate: str = ""
    key: str = ""
    roots: str = ""
    revoked: str = ""
    credential_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPolicy:
    """The four blocks that a whole policy and a port's policy share."""

    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """``trafficPolicy.retryBudget``: retries in percent of requests, and how many at once in any case."""

    percent: float = 20.0
    min_concurrency: int = 3
    interval: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """``trafficPolicy.tunnel``: bytes go through HTTP to ``target``, a host and port; CONNECT or POST."""

    target: str
    post: bool = False


class ProxyProtocol(StrEnum):
    """``trafficPolicy.proxyProtocol.version``: the client's address ahead of all bytes."""

    V1 = "V1"
    V2 = "V2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """``trafficPolicy``: the policy of all ports, and those of single ports, which replace whole blocks."""

    base: PortPolicy = field(default_factory=PortPolicy)
    ports: tuple[tuple[int, PortPolicy], ...] = ()
    retry_budget: RetryBudget | None = None
    tunnel: Tunnel | None = None
    proxy_protocol: ProxyProtocol | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """``subsets[]``."""

    name: str
    labels: Labels = NO_LABELS
    policy: TrafficPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationRule:
    """networking.istio.io DestinationRule; with a ``selector`` it is for some clients of its namespace.

    ``export_unsaid``: who sees it is as the mesh has it.
    """

    meta: Meta
    host: str
    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: ExportTo = EXPORT_ALL
    export_unsaid: bool = False
    selector: Labels | None = None
