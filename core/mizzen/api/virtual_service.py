"""VirtualService (networking.istio.io): where requests go (Istio: virtual_service.proto)."""

from __future__ import annotations

from pydantic import Field

from mizzen.api.base import ApiModel, Count
from mizzen.api.durations import Duration
from mizzen.api.http_action import (
    CorsPolicy,
    Delegate,
    Destination,
    FaultInjection,
    Headers,
    HttpDirectResponse,
    HttpRedirect,
    HttpRetry,
    HttpRewrite,
    HttpRouteDestination,
    MirrorPolicy,
    PercentValue,
)
from mizzen.api.http_match import HttpMatchRequest, L4MatchAttributes, TlsMatchAttributes
from mizzen.api.meta import Manifest


class HttpRule(ApiModel):
    """A rule of ``http``; the first that matches counts (Istio: HTTPRoute)."""

    name: str = Field(default="", description="A name for it, for people and statistics.")
    match: list[HttpMatchRequest] = Field(
        default_factory=list, description="Alternatives; none matches every request."
    )
    route: list[HttpRouteDestination] = Field(
        default_factory=list, description="Where matching requests are forwarded."
    )
    redirect: HttpRedirect | None = Field(default=None, description="Answer with a redirect.")
    direct_response: HttpDirectResponse | None = Field(
        default=None, description="Answer without forwarding."
    )
    delegate: Delegate | None = Field(
        default=None, description="Go on with another VirtualService's rules."
    )
    rewrite: HttpRewrite | None = Field(default=None, description="Changes of path and host.")
    timeout: Duration | None = Field(default=None, description="Of a request; none by default.")
    retries: HttpRetry | None = Field(default=None, description="Retries; 2 by default.")
    fault: FaultInjection | None = Field(default=None, description="Injected faults.")
    mirror: Destination | None = Field(default=None, description="Where copies go.")
    mirrors: list[MirrorPolicy] = Field(
        default_factory=list, description="Where copies go, with a share for each."
    )
    mirror_percent: int | None = Field(
        default=None, ge=0, le=100, description="Deprecated: use mirrorPercentage."
    )
    mirror_percentage: PercentValue | None = Field(
        default=None, description="Share of requests that are copied; all by default."
    )
    cors_policy: CorsPolicy | None = Field(default=None, description="Cross-origin requests.")
    headers: Headers | None = Field(default=None, description="Changes of headers.")


class RouteDestination(ApiModel):
    """A destination of connections and its share (Istio: RouteDestination)."""

    destination: Destination = Field(description="Where the share goes.")
    weight: Count = Field(default=0, description="Its share, relative to the others' weights.")


class TcpRule(ApiModel):
    """A rule of ``tcp`` (Istio: TCPRoute)."""

    match: list[L4MatchAttributes] = Field(default_factory=list, description="Alternatives.")
    route: list[RouteDestination] = Field(default_factory=list, description="Destinations.")


class TlsRule(ApiModel):
    """A rule of ``tls`` (Istio: TLSRoute)."""

    match: list[TlsMatchAttributes] = Field(min_length=1, description="Alternatives.")
    route: list[RouteDestination] = Field(default_factory=list, description="Destinations.")


class VirtualServiceSpec(ApiModel):
    """A VirtualService's spec (Istio: VirtualService)."""

    hosts: list[str] = Field(
        default_factory=list, description="Hosts that clients address; short names or DNS names."
    )
    gateways: list[str] = Field(
        default_factory=list, description="Gateways that have the rules; mesh is every sidecar."
    )
    http: list[HttpRule] = Field(default_factory=list, description="Rules for HTTP.")
    tls: list[TlsRule] = Field(
        default_factory=list, description="Rules for TLS that is passed through."
    )
    tcp: list[TcpRule] = Field(default_factory=list, description="Rules for other connections.")
    export_to: list[str] = Field(
        default_factory=list, description="Namespaces that see it; all by default."
    )


class VirtualServiceManifest(Manifest):
    """A VirtualService."""

    spec: VirtualServiceSpec = Field(
        default_factory=VirtualServiceSpec, description="Its spec (Istio: VirtualService)."
    )
