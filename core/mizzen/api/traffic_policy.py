"""The blocks of a DestinationRule's ``trafficPolicy`` other than the load balancer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mizzen.api.base import (
    ApiModel,
    Count,
    Int32,
    NotTranslated,
    Percent,
    Port,
    PortSelector,
    UInt32,
)
from mizzen.api.durations import Duration, PositiveDuration
from mizzen.api.load_balancing import LoadBalancerSettings


class TcpKeepalive(ApiModel):
    """Keepalive probes of TCP (Istio: ConnectionPoolSettings.TCPSettings.TcpKeepalive)."""

    probes: UInt32 | None = Field(default=None, description="Probes without answer.")
    time: PositiveDuration | None = Field(default=None, description="Idle time before probing.")
    interval: PositiveDuration | None = Field(default=None, description="Between probes.")


class TcpSettings(ApiModel):
    """Limits of connections (Istio: ConnectionPoolSettings.TCPSettings)."""

    max_connections: Count | None = Field(default=None, description="To one host.")
    connect_timeout: PositiveDuration | None = Field(default=None, description="10s by default.")
    tcp_keepalive: TcpKeepalive | None = Field(default=None, description="SO_KEEPALIVE.")
    max_connection_duration: PositiveDuration | None = Field(
        default=None, description="After it a connection is closed."
    )
    idle_timeout: Duration | None = Field(default=None, description="1h by default; 0 is never.")


class Http2KeepAlive(ApiModel):
    """PING frames of HTTP/2 (Istio: ConnectionPoolSettings.HTTPSettings.HTTP2KeepAlive)."""

    interval: PositiveDuration | None = Field(default=None, description="Between PING frames.")
    timeout: PositiveDuration | None = Field(default=None, description="For the answer.")


class HttpSettings(ApiModel):
    """Limits of requests (Istio: ConnectionPoolSettings.HTTPSettings)."""

    http1_max_pending_requests: Count | None = Field(default=None, description="Queued requests.")
    http2_max_requests: Count | None = Field(default=None, description="Active requests.")
    max_requests_per_connection: Count | None = Field(
        default=None, description="Then the connection is closed; 1 switches keep-alive off."
    )
    max_retries: Count | None = Field(default=None, description="Retries at one time.")
    idle_timeout: PositiveDuration | None = Field(default=None, description="1h by default.")
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = Field(
        default="DEFAULT", description="Whether HTTP/1.1 becomes HTTP/2."
    )
    use_client_protocol: bool = Field(default=False, description="As the client speaks.")
    max_concurrent_streams: Count | None = Field(
        default=None, description="Streams of one HTTP/2 connection."
    )
    http2_keep_alive: Http2KeepAlive | None = Field(
        default=None, description="Keepalive by PING frames."
    )


class ConnectionPoolSettings(ApiModel):
    """Limits towards a host (Istio: ConnectionPoolSettings)."""

    tcp: TcpSettings | None = Field(default=None, description="Of connections.")
    http: HttpSettings | None = Field(default=None, description="Of requests.")


class OutlierDetection(ApiModel):
    """When a failing endpoint is taken out (Istio: OutlierDetection)."""

    consecutive_errors: Annotated[
        Int32 | None,
        NotTranslated("Istio reads it no longer; write consecutive5xxErrors", for_good=True),
    ] = Field(default=None, description="Deprecated.")
    split_external_local_origin_errors: bool = Field(
        default=False, description="Tell errors of the network from those of the service."
    )
    consecutive_local_origin_failures: UInt32 | None = Field(
        default=None, description="Errors of the network in a row."
    )
    consecutive_gateway_errors: UInt32 | None = Field(
        default=None, description="502, 503 and 504 in a row."
    )
    consecutive_5xx_errors: UInt32 | None = Field(
        default=None, alias="consecutive5xxErrors", description="5xx in a row; 5 by default."
    )
    interval: PositiveDuration | None = Field(default=None, description="Between looks; 10s.")
    base_ejection_time: PositiveDuration | None = Field(
        default=None, description="Grows with each ejection; 30s."
    )
    max_ejection_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        default=None, description="At most so many are out; 10 percent."
    )
    min_health_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="With fewer healthy ones all are used again."
    )
    outlier_detection_http_error_codes: list[Annotated[int, Field(ge=100, le=599)]] = Field(
        default_factory=list, description="Statuses that count as errors."
    )


class ClientTlsSettings(ApiModel):
    """TLS towards a host (Istio: ClientTLSSettings)."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = Field(
        default="DISABLE", description="Whether and how."
    )
    client_certificate: str = Field(default="", description="A file of the proxy's.")
    private_key: str = Field(default="", description="A file of the proxy's.")
    ca_certificates: str = Field(default="", description="A file of the proxy's.")
    credential_name: str = Field(default="", description="A Secret of the proxy's namespace.")
    subject_alt_names: list[str] = Field(
        default_factory=list, description="Names of which the server must have one."
    )
    sni: str = Field(default="", description="The server's name in the handshake.")
    insecure_skip_verify: bool | None = Field(
        default=None, description="Whether any certificate will do."
    )
    ca_crl: str = Field(default="", description="A file of the proxy's.")


class RetryBudget(ApiModel):
    """Retries as a share of requests (Istio: TrafficPolicy.RetryBudget)."""

    percent: Percent | None = Field(default=None, description="20 by default.")
    min_retry_concurrency: UInt32 = Field(default=0, description="3 by default.")
    budget_interval: Duration | None = Field(
        default=None, description="The time over which requests are counted."
    )


class TunnelSettings(ApiModel):
    """TCP through CONNECT or POST (Istio: TrafficPolicy.TunnelSettings)."""

    protocol: Literal["CONNECT", "POST"] = Field(default="CONNECT", description="The method.")
    target_host: str = Field(min_length=1, description="Where the tunnel ends.")
    target_port: Port = Field(description="Its port there.")


class ProxyProtocol(ApiModel):
    """PROXY protocol towards a host (Istio: TrafficPolicy.ProxyProtocol)."""

    version: Literal["V1", "V2"] = Field(default="V1", description="Its version.")


class PolicyBlocks(ApiModel):
    """The four blocks that a policy and a port's policy have."""

    load_balancer: LoadBalancerSettings | None = Field(default=None, description="The choice.")
    connection_pool: ConnectionPoolSettings | None = Field(default=None, description="Limits.")
    outlier_detection: OutlierDetection | None = Field(default=None, description="Ejection.")
    tls: ClientTlsSettings | None = Field(default=None, description="TLS.")


class PortTrafficPolicy(PolicyBlocks):
    """The policy of one port (Istio: TrafficPolicy.PortTrafficPolicy)."""

    port: PortSelector = Field(description="The port.")


class TrafficPolicy(PolicyBlocks):
    """What happens after routing (Istio: TrafficPolicy)."""

    port_level_settings: list[PortTrafficPolicy] = Field(
        default_factory=list, max_length=4096, description="Policies of single ports."
    )
    tunnel: TunnelSettings | None = Field(default=None, description="A tunnel.")
    proxy_protocol: ProxyProtocol | None = Field(default=None, description="PROXY protocol.")
    retry_budget: RetryBudget | None = Field(default=None, description="A budget of retries.")
