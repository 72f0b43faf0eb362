"""What gateways bear with of their clients: the annotation ``proxy.istio.io/config`` of a pod, and the mesh's defaults.

What is wrong in an annotation never keeps a pod out of the mesh: it is told of, and the whole of it is left aside.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeVar

from pydantic import BeforeValidator, Field

from mizzen.api.base import ApiModel, Count, NotTranslated, OpenModel
from mizzen.api.durations import Duration
from mizzen.api.findings import Finding, at, without_effect
from mizzen.api.reading import validated
from mizzen.api.yaml_tree import TreeError, read_tree
from mizzen.diagnostics import Severity
from mizzen.model.edge import ClientCertificates, Edge, EscapedSlashes, Underscores

if TYPE_CHECKING:
    from collections.abc import Iterator

V = TypeVar("V")

ANNOTATION: Final = "proxy.istio.io/config"

# Envoy's own limits of HTTP/2's flow control (RFC 9113).
_Window = Annotated[int, Field(ge=65_535, le=2_147_483_647)]
_PREFIXES: Final = ("HEADERS_WITH_UNDERSCORES_", "PATH_WITH_ESCAPED_SLASHES_")


def _short(word: object) -> object:
    """Return a word without the prefix that protobuf's enums have."""
    for prefix in _PREFIXES:
        if isinstance(word, str):
            word = word.removeprefix(prefix)
    return word


class ConnectionSettings(ApiModel):
    """Limits and times of what comes in (Istio: ProxyConfig.ConnectionSettings)."""

    profile: Literal["EDGE", "UNSET", "PROFILE_UNSPECIFIED"] | None = Field(
        default=None, description="EDGE: Envoy's best practices, below what is written."
    )
    listener_per_connection_buffer_limit_bytes: Count | None = Field(
        default=None, description="Held back for a slow side."
    )
    cluster_per_connection_buffer_limit_bytes: Annotated[
        Count | None, NotTranslated("clusters are the same for all gateways")
    ] = Field(default=None, description="The same towards servers.")
    http_idle_timeout: Duration | None = Field(
        default=None, description="Of a connection without requests."
    )
    http_request_timeout: Duration | None = Field(
        default=None, description="Until all of a request is there."
    )
    http_request_headers_timeout: Duration | None = Field(
        default=None, description="Until a request's headers are there."
    )
    http_stream_idle_timeout: Duration | None = Field(
        default=None, description="Of a request without bytes."
    )
    http_max_concurrent_streams: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = Field(
        default=None, description="Requests of one HTTP/2 connection at a time."
    )
    http2_initial_stream_window_size: _Window | None = Field(
        default=None, description="Flow control of a request, in bytes."
    )
    http2_initial_connection_window_size: _Window | None = Field(
        default=None, description="Flow control of a connection, in bytes."
    )
    http_headers_with_underscores_action: Annotated[
        Literal["UNSPECIFIED", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"] | None,
        BeforeValidator(_short),
    ] = Field(default=None, description="Names of headers that some servers confuse.")
    http_merge_slashes: bool | None = Field(
        default=None, description="Whether slashes in a row are one."
    )
    http_path_with_escaped_slashes_action: Annotated[
        Literal[
            "UNSPECIFIED",
            "KEEP_UNCHANGED",
            "REJECT_REQUEST",
            "UNESCAPE_AND_REDIRECT",
            "UNESCAPE_AND_FORWARD",
        ]
        | None,
        BeforeValidator(_short),
    ] = Field(default=None, description="%2F and %5C in paths.")
    global_downstream_connection_limit: Count | None = Field(
        default=None, description="All connections at a time; of the proxy's own start."
    )


class GatewayTopology(ApiModel):
    """Who stands before a gateway (Istio: Topology)."""

    num_trusted_proxies: Count = Field(
        default=0, description="Proxies before the gateway that are believed."
    )
    forward_client_cert_details: (
        Literal[
            "UNDEFINED",
            "SANITIZE",
            "FORWARD_ONLY",
            "APPEND_FORWARD",
            "SANITIZE_SET",
            "ALWAYS_FORWARD_ONLY",
        ]
        | None
    ) = Field(default=None, description="What becomes of X-Forwarded-Client-Cert.")
    proxy_protocol: dict[str, object] | None = Field(
        default=None, description="{} where connections say first who they are of."
    )


class EdgeSpec(OpenModel):
    """What of Istio's ProxyConfig is read here; the rest is for the injector."""

    connection_settings: ConnectionSettings | None = None
    gateway_topology: GatewayTopology | None = None


_Said = Annotated[
    object, NotTranslated("the injector's settings and the annotations of pods say it")
]


class ProxyDefaults(ApiModel):
    """Settings of proxies that say nothing themselves (Istio: MeshConfig.defaultConfig, a ProxyConfig)."""

    connection_settings: ConnectionSettings | None = Field(
        default=None, description="What gateways bear with of their clients."
    )
    gateway_topology: GatewayTopology | None = Field(
        default=None, description="Who stands before gateways."
    )
    binary_path: _Said = Field(default=None, description="Of the proxy itself.")
    ca_certificates_pem: _Said = Field(default=None, description="Of the proxy itself.")
    concurrency: _Said = Field(default=None, description="Of the proxy itself.")
    config_path: _Said = Field(default=None, description="Of the proxy itself.")
    control_plane_auth_policy: _Said = Field(default=None, description="Of the proxy itself.")
    custom_config_file: _Said = Field(default=None, description="Of the proxy itself.")
    discovery_address: _Said = Field(default=None, description="Of the proxy itself.")
    drain_duration: _Said = Field(default=None, description="Of the proxy itself.")
    envoy_access_log_service: _Said = Field(default=None, description="Of the proxy itself.")
    envoy_metrics_service: _Said = Field(default=None, description="Of the proxy itself.")
    extra_stat_tags: _Said = Field(default=None, description="Of the proxy itself.")
    file_flush_interval: _Said = Field(default=None, description="Of the proxy itself.")
    file_flush_min_size_kb: _Said = Field(default=None, description="Of the proxy itself.")
    hold_application_until_proxy_starts: _Said = Field(
        default=None, description="Of the proxy itself."
    )
    image: _Said = Field(default=None, description="Of the proxy itself.")
    interception_mode: _Said = Field(default=None, description="Of the proxy itself.")
    mesh_id: _Said = Field(default=None, description="Of the proxy itself.")
    private_key_provider: _Said = Field(default=None, description="Of the proxy itself.")
    proxy_admin_port: _Said = Field(default=None, description="Of the proxy itself.")
    proxy_bootstrap_template_path: _Said = Field(default=None, description="Of the proxy itself.")
    proxy_headers: _Said = Field(default=None, description="Of the proxy itself.")
    proxy_metadata: _Said = Field(default=None, description="Of the proxy itself.")
    proxy_stats_matcher: _Said = Field(default=None, description="Of the proxy itself.")
    readiness_probe: _Said = Field(default=None, description="Of the proxy itself.")
    runtime_values: _Said = Field(default=None, description="Of the proxy itself.")
    sds: _Said = Field(default=None, description="Of the proxy itself.")
    service_cluster: _Said = Field(default=None, description="Of the proxy itself.")
    stat_name_length: _Said = Field(default=None, description="Of the proxy itself.")
    stats_compression: _Said = Field(default=None, description="Of the proxy itself.")
    statsd_udp_address: _Said = Field(default=None, description="Of the proxy itself.")
    status_port: _Said = Field(default=None, description="Of the proxy itself.")
    termination_drain_duration: _Said = Field(default=None, description="Of the proxy itself.")
    tracing: _Said = Field(default=None, description="Of the proxy itself.")
    tracing_service_name: _Said = Field(default=None, description="Of the proxy itself.")
    zipkin_address: _Said = Field(default=None, description="Of the proxy itself.")


def default_edge(spec: ProxyDefaults | None) -> Edge | None:
    """Return what gateways bear with that say nothing themselves; None where nothing is written."""
    if spec is None or not (spec.connection_settings or spec.gateway_topology):
        return None
    return _edge(
        spec.connection_settings or ConnectionSettings(),
        spec.gateway_topology or GatewayTopology(),
    )


def check_default_edge(spec: ProxyDefaults) -> Iterator[Finding]:
    """Yield what of the defaults has no effect."""
    said = spec.connection_settings
    if said is not None and said.global_downstream_connection_limit is not None:
        path = ("connectionSettings", "globalDownstreamConnectionLimit")
        yield without_effect(path, f"it is of a proxy's start: write it in the pod's {ANNOTATION}")


def edge_of(text: str) -> Edge | None:
    """Return what an annotation says; None where it says nothing, or is wrong."""
    spec, findings = _read(text)
    wrong = any(found.code.severity is Severity.ERROR for found in findings)
    if spec is None or wrong or not (spec.connection_settings or spec.gateway_topology):
        return None
    return _edge(
        spec.connection_settings or ConnectionSettings(),
        spec.gateway_topology or GatewayTopology(),
    )


def edge_findings(text: str) -> Iterator[Finding]:
    """Yield what is to be said of an annotation, none of it an error of the pod's."""
    _spec, findings = _read(text)
    for found in at(("metadata", "annotations", ANNOTATION), findings):
        if found.code.severity is Severity.ERROR:
            yield without_effect(found.path, f"{found.message}; nothing of it is in force")
        else:
            yield found


def _read(text: str) -> tuple[EdgeSpec | None, list[Finding]]:
    try:
        tree = read_tree(text)
    except TreeError as error:
        return None, [without_effect((), f"is not YAML: {error}")]
    value = tree.value if tree is not None else {}
    if not isinstance(value, dict):
        return None, [without_effect((), "must be a mapping")]
    return validated(value, EdgeSpec)


@cache
def _profile() -> ConnectionSettings:
    """Return Envoy's best practices for the edge, as Istio's profile EDGE has them."""
    return ConnectionSettings.model_validate(
        {
            "listenerPerConnectionBufferLimitBytes": 32_768,
            "httpIdleTimeout": "1h",
            "httpRequestTimeout": "5m",
            "httpRequestHeadersTimeout": "1m",
            "httpStreamIdleTimeout": "5m",
            "httpMaxConcurrentStreams": 100,
            "http2InitialStreamWindowSize": 65_536,
            "http2InitialConnectionWindowSize": 1_048_576,
            "httpHeadersWithUnderscoresAction": "REJECT_REQUEST",
            "httpMergeSlashes": True,
            "httpPathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT",
        }
    )


def _edge(said: ConnectionSettings, topology: GatewayTopology) -> Edge:
    below = _profile() if said.profile == "EDGE" else ConnectionSettings()
    underscores = _word(
        said.http_headers_with_underscores_action, below.http_headers_with_underscores_action
    )
    slashes = _word(
        said.http_path_with_escaped_slashes_action, below.http_path_with_escaped_slashes_action
    )
    forwarding = topology.forward_client_cert_details
    return Edge(
        buffer_bytes=_first(
            said.listener_per_connection_buffer_limit_bytes,
            below.listener_per_connection_buffer_limit_bytes,
        ),
        idle_timeout=_first(said.http_idle_timeout, below.http_idle_timeout),
        request_timeout=_first(said.http_request_timeout, below.http_request_timeout),
        headers_timeout=_first(
            said.http_request_headers_timeout, below.http_request_headers_timeout
        ),
        stream_idle_timeout=_first(said.http_stream_idle_timeout, below.http_stream_idle_timeout),
        max_streams=_first(said.http_max_concurrent_streams, below.http_max_concurrent_streams),
        stream_window_bytes=_first(
            said.http2_initial_stream_window_size, below.http2_initial_stream_window_size
        ),
        connection_window_bytes=_first(
            said.http2_initial_connection_window_size, below.http2_initial_connection_window_size
        ),
        underscores=Underscores(underscores) if underscores else None,
        merge_slashes=_first(said.http_merge_slashes, below.http_merge_slashes),
        escaped_slashes=EscapedSlashes(slashes) if slashes else None,
        trusted_hops=topology.num_trusted_proxies or None,
        client_certificates=ClientCertificates(forwarding)
        if forwarding and forwarding != "UNDEFINED"
        else None,
        proxy_protocol=topology.proxy_protocol is not None,
    )


def _first(said: V | None, below: V | None) -> V | None:
    return below if said is None else said


def _word(said: str | None, below: str | None) -> str:
    found = below if said is None else said
    return "" if found is None or found == "UNSPECIFIED" else found
