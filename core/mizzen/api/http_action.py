"""The parts of ``http[]`` that say what is done with a request (VirtualService)."""

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
from mizzen.api.http_match import StringMatch


class Destination(ApiModel):
    """Where traffic goes (Istio: Destination)."""

    host: str = Field(min_length=1, description="A service; short names are of the own namespace.")
    subset: str = Field(default="", description="A subset of the host's DestinationRule.")
    port: PortSelector | None = Field(
        default=None, description="The port; may be left out where there is only one."
    )


class HeaderOperations(ApiModel):
    """Changes of headers (Istio: Headers.HeaderOperations)."""

    set: dict[str, str] = Field(default_factory=dict, description="Overwrites.")
    add: dict[str, str] = Field(default_factory=dict, description="Appends.")
    remove: list[str] = Field(default_factory=list, description="Removes.")


class Headers(ApiModel):
    """Changes of a request's and its response's headers (Istio: Headers)."""

    request: HeaderOperations | None = Field(default=None, description="Before forwarding.")
    response: HeaderOperations | None = Field(default=None, description="Before returning.")


class HttpRouteDestination(ApiModel):
    """A destination and its share (Istio: HTTPRouteDestination)."""

    destination: Destination = Field(description="Where the share goes.")
    weight: Count = Field(default=0, description="Its share, relative to the others' weights.")
    headers: Headers | None = Field(default=None, description="Changes for this share alone.")


class HttpRedirect(ApiModel):
    """An answer that sends the client elsewhere (Istio: HTTPRedirect)."""

    uri: str = Field(default="", description="The new path.")
    authority: str = Field(default="", description="The new host.")
    port: Port | None = Field(default=None, description="The new port.")
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = Field(
        default=None, description="How the new port follows from the scheme or the request."
    )
    scheme: str = Field(default="", description="http or https.")
    redirect_code: UInt32 = Field(default=0, description="301 where nothing is written.")
    prefix_rewrite: str = Field(default="", description="What replaces the matched prefix.")


class HttpBody(ApiModel):
    """The body of an answer; one field is set (Istio: HTTPBody)."""

    string: str | None = Field(default=None, description="As text.")
    bytes: str | None = Field(default=None, description="As bytes in base64.")


class HttpDirectResponse(ApiModel):
    """An answer that the proxy gives itself (Istio: HTTPDirectResponse)."""

    status: int = Field(ge=200, le=599, description="The status.")
    body: HttpBody | None = Field(default=None, description="The body, of at most 1 MiB.")


class Delegate(ApiModel):
    """The VirtualService whose rules go on from here (Istio: Delegate)."""

    name: str = Field(default="", description="Its name.")
    namespace: str = Field(default="", description="Its namespace; the own one by default.")


class RegexRewrite(ApiModel):
    """A rewrite of parts of the path (Istio: RegexRewrite)."""

    match: str = Field(default="", max_length=1024, description="An RE2 expression.")
    rewrite: str = Field(default="", description="What replaces it; may name groups as \\1.")


class HttpRewrite(ApiModel):
    """Changes of path and host before forwarding (Istio: HTTPRewrite)."""

    uri: str = Field(default="", description="Replaces the matched path or prefix.")
    authority: str = Field(default="", description="Replaces the host.")
    uri_regex_rewrite: RegexRewrite | None = Field(default=None, description="Rewrites the path.")


class HttpRetry(ApiModel):
    """When and how often a request is tried again (Istio: HTTPRetry)."""

    attempts: Int32 = Field(default=0, description="Retries; 0 switches them off.")
    per_try_timeout: PositiveDuration | None = Field(
        default=None, description="Of each attempt; the route's timeout by default."
    )
    retry_on: str = Field(default="", description="Conditions, comma-separated.")
    retry_remote_localities: bool | None = Field(
        default=None, description="Whether retries may go to other localities."
    )
    retry_ignore_previous_hosts: bool | None = Field(
        default=None, description="Whether retries avoid the endpoints tried before."
    )
    backoff: PositiveDuration | None = Field(default=None, description="Shortest pause.")


class PercentValue(ApiModel):
    """A share of requests (Istio: Percent)."""

    value: Percent = Field(default=0.0, description="Percent, fractions allowed.")


class FaultDelay(ApiModel):
    """Delays requests (Istio: HTTPFaultInjection.Delay)."""

    percent: Annotated[int, Field(ge=0, le=100)] = Field(default=0, description="Deprecated.")
    fixed_delay: PositiveDuration | None = Field(default=None, description="The delay.")
    exponential_delay: Annotated[
        PositiveDuration | None,
        NotTranslated("Istio only reserves it; fixedDelay is what delays", for_good=True),
    ] = Field(default=None, description="Reserved.")
    percentage: PercentValue | None = Field(default=None, description="Share of requests.")


class FaultAbort(ApiModel):
    """Answers requests with an error (Istio: HTTPFaultInjection.Abort)."""

    http_status: int | None = Field(default=None, ge=200, le=599, description="The status.")
    grpc_status: str | None = Field(default=None, description="The gRPC status by name.")
    http2_error: Annotated[
        str | None, NotTranslated("Istio only reserves it; nothing is aborted by it", for_good=True)
    ] = Field(default=None, description="Reserved.")
    percentage: PercentValue | None = Field(default=None, description="Share of requests.")


class FaultInjection(ApiModel):
    """Faults for tests (Istio: HTTPFaultInjection)."""

    delay: FaultDelay | None = Field(default=None, description="Delays.")
    abort: FaultAbort | None = Field(default=None, description="Errors.")


class MirrorPolicy(ApiModel):
    """A further destination for copies (Istio: HTTPMirrorPolicy)."""

    destination: Destination = Field(description="Where copies go.")
    percentage: PercentValue | None = Field(default=None, description="Share; all by default.")


class CorsPolicy(ApiModel):
    """Cross-origin requests (Istio: CorsPolicy)."""

    allow_origin: list[str] = Field(default_factory=list, description="Deprecated.")
    allow_origins: list[StringMatch] = Field(default_factory=list, description="Origins.")
    allow_methods: list[str] = Field(default_factory=list, description="Methods.")
    allow_headers: list[str] = Field(default_factory=list, description="Request headers.")
    expose_headers: list[str] = Field(default_factory=list, description="Response headers.")
    max_age: Duration | None = Field(default=None, description="How long browsers may keep it.")
    allow_credentials: bool | None = Field(default=None, description="With credentials.")
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = Field(
        default=None, description="What becomes of preflights of other origins."
    )
