"""The annotation ``proxy.istio.io/config`` of a gateway's pod: what the gateway bears with of its clients.

What is wrong in it never keeps a pod out of the mesh: it is told of, and the whole of it is left aside.
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
    listener_per_connection_buffer_limit_bytes: Count | None = None
    cluster_per_connection_buffer_limit_bytes: Annotated[
        Count | None, NotTranslated("clusters are the same for all gateways")
    ] = None
    http_idle_timeout: Duration | None = None
    http_request_timeout: Duration | None = None
    http_request_headers_timeout: Duration | None = None
    http_stream_idle_timeout: Duration | None = None
    http_max_concurrent_streams: Annotated[int, Field(ge=1, le=2_147_483_647)] | None = None
    http2_initial_stream_window_size: _Window | None = None
    http2_initial_connection_window_size: _Window | None = None
    http_headers_with_underscores_action: Annotated[
        Literal["UNSPECIFIED", "ALLOW", "REJECT_REQUEST", "DROP_HEADER"] | None,
        BeforeValidator(_short),
    ] = None
    http_merge_slashes: bool | None = None
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
    ] = None
    global_downstream_connection_limit: Count | None = Field(
        default=None, description="All connections at a time; of the proxy's own start."
    )


class GatewayTopology(ApiModel):
    """Who stands before a gateway (Istio: Topology)."""

    num_trusted_proxies: Count = 0
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
    ) = None
    proxy_protocol: dict[str, object] | None = None


class EdgeSpec(OpenModel):
    """What of Istio's ProxyConfig is read here; the rest is for the injector."""

    connection_settings: ConnectionSettings | None = None
    gateway_topology: GatewayTopology | None = None


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
