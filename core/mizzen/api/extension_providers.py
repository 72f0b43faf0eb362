"""``extensionProviders`` of MeshConfig: services that policies name (Istio: MeshConfig.ExtensionProvider)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field

from mizzen.api.base import ApiModel, NotTranslated, Port, UInt32
from mizzen.api.durations import PositiveDuration
from mizzen.api.findings import Finding, Path, at, conflict, duplicates, invalid, missing
from mizzen.api.hosts import is_label, is_name
from mizzen.model.providers import Authorizer, BodyInCheck, HttpCheck

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _unquoted(value: object) -> object:
    """Return the number that a text of digits is: MeshConfig is JSON of protobuf, which takes both (``port: "9000"``)."""
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


_DIGITS: Final = re.compile(r"[0-9]{1,10}")
_QUOTED: Final = BeforeValidator(_unquoted)
_TELEMETRY: Final = NotTranslated("telemetry comes with a later version")
_Anything = dict[str, Any] | None
# The provider's name is part of what proxies match, up to the first bracket.
_NAME: Final = re.compile(r"[^\[\]\s]+")
_HEADER: Final = re.compile(r"[-_A-Za-z0-9]+")
_WILDCARD: Final = re.compile(r"\*?[-_A-Za-z0-9]+|[-_A-Za-z0-9]+\*|\*")
_PATH: Final = re.compile(r"/[!-~]*")
# What Envoy knows (envoy.type.v3.StatusCode).
_STATUSES: Final = frozenset(
    map(
        str,
        (
            *(*range(200, 209), 226, *range(300, 306), 307, 308),
            *(*range(400, 418), *range(421, 425), 426, 428, 429, 431),
            *(*range(500, 509), 510, 511),
        ),
    )
)


class RequestBody(ApiModel):
    """The body as who decides sees it (Istio: EnvoyExternalAuthorizationRequestBody)."""

    max_request_bytes: Annotated[UInt32, Field(ge=1), _QUOTED] = Field(
        description="How much is kept; requests with more get 413, unless part of it will do."
    )
    allow_partial_message: bool = Field(default=False, description="The first bytes will do.")
    pack_as_bytes: bool = Field(default=False, description="As bytes, not as UTF-8; of gRPC.")


class _Asked(ApiModel):
    service: str = Field(default="", description="Its host, or namespace/host.")
    port: Annotated[Port | None, _QUOTED] = Field(default=None, description="Its port.")
    timeout: PositiveDuration | None = Field(default=None, description="600s by default.")
    fail_open: bool = Field(default=False, description="Let pass what nobody could decide of.")
    clear_route_cache: bool = Field(
        default=False, description="Choose the route anew after the answer."
    )
    status_on_error: str = Field(
        default="", description="The status where nobody could decide; 403 by default."
    )
    include_request_body_in_check: RequestBody | None = Field(
        default=None, description="Whether the body is shown; it is not by default."
    )


class ExtAuthzGrpc(_Asked):
    """Who decides, asked over gRPC (Istio: EnvoyExternalAuthorizationGrpcProvider)."""


class ExtAuthzHttp(_Asked):
    """Who decides, asked over HTTP (Istio: EnvoyExternalAuthorizationHttpProvider)."""

    path_prefix: str = Field(default="", description="Stands before the request's path.")
    include_headers_in_check: list[str] = Field(
        default_factory=list, description="Deprecated: use includeRequestHeadersInCheck."
    )
    include_request_headers_in_check: list[str] = Field(
        default_factory=list, description="Headers of the request that are shown."
    )
    include_additional_headers_in_check: dict[str, str] = Field(
        default_factory=dict, description="Headers that are added to the question."
    )
    headers_to_upstream_on_allow: list[str] = Field(
        default_factory=list, description="Headers of the answer that the application gets."
    )
    headers_to_downstream_on_deny: list[str] = Field(
        default_factory=list, description="Headers of the answer that a refused client gets."
    )
    headers_to_downstream_on_allow: list[str] = Field(
        default_factory=list, description="Headers of the answer that an allowed client gets."
    )


class ExtensionProvider(ApiModel):
    """A service that policies name (Istio: MeshConfig.ExtensionProvider)."""

    name: str = Field(default="", description="What policies call it.")
    envoy_ext_authz_http: ExtAuthzHttp | None = Field(default=None, description="Asked over HTTP.")
    envoy_ext_authz_grpc: ExtAuthzGrpc | None = Field(default=None, description="Asked over gRPC.")
    zipkin: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    lightstep: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    datadog: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    stackdriver: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Telemetry.")
    opencensus: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    skywalking: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    opentelemetry: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Traces.")
    prometheus: Annotated[_Anything, _TELEMETRY] = Field(default=None, description="Metrics.")
    envoy_file_access_log: Annotated[_Anything, _TELEMETRY] = Field(
        default=None, description="Access logs in files."
    )
    envoy_http_als: Annotated[_Anything, _TELEMETRY] = Field(
        default=None, description="Access logs of requests by gRPC."
    )
    envoy_tcp_als: Annotated[_Anything, _TELEMETRY] = Field(
        default=None, description="Access logs of connections by gRPC."
    )
    envoy_otel_als: Annotated[_Anything, _TELEMETRY] = Field(
        default=None, description="Access logs by OpenTelemetry."
    )
    sds: Annotated[_Anything, NotTranslated("secrets come from the control plane")] = Field(
        default=None, description="Who gives secrets to gateways."
    )


def check_providers(providers: Sequence[ExtensionProvider]) -> Iterator[Finding]:
    """Check providers (Istio: ``ValidateExtensionProviders``)."""
    named = [provider.name for provider in providers if provider.name]
    yield from duplicates((), named, "provider")
    for index, provider in enumerate(providers):
        yield from at((index,), _check_provider(provider))


def _check_provider(provider: ExtensionProvider) -> Iterator[Finding]:
    if not provider.name:
        yield missing(("name",), "a provider needs a name")
    elif not _NAME.fullmatch(provider.name):
        yield invalid(("name",), f"{provider.name!r} is no name: no spaces, no brackets")
    fields = type(provider).model_fields
    kinds = [name for name in fields if name != "name" and getattr(provider, name) is not None]
    if not kinds:
        yield missing((), "says nothing of what the provider is")
    elif len(kinds) > 1:
        first, second = (fields[kind].alias or kind for kind in kinds[:2])
        yield conflict((second,), f"{first} and {second} exclude each other")
    if provider.envoy_ext_authz_http is not None:
        yield from at(("envoyExtAuthzHttp",), _check_http(provider.envoy_ext_authz_http))
    if provider.envoy_ext_authz_grpc is not None:
        yield from at(("envoyExtAuthzGrpc",), _check_asked(provider.envoy_ext_authz_grpc))


def _check_asked(asked: _Asked) -> Iterator[Finding]:
    namespace, slash, host = asked.service.rpartition("/")
    if not asked.service:
        yield missing(("service",), "a provider needs a service")
    elif not is_name(host) or (slash and not is_label(namespace)):
        yield invalid(("service",), f"{asked.service!r} is neither a host nor namespace/host")
    if asked.port is None:
        yield missing(("port",), "a provider needs a port")
    if asked.status_on_error and asked.status_on_error not in _STATUSES:
        yield invalid(("statusOnError",), f"{asked.status_on_error!r} is no status of an answer")


def _check_http(asked: ExtAuthzHttp) -> Iterator[Finding]:
    yield from _check_asked(asked)
    if asked.path_prefix and not _PATH.fullmatch(asked.path_prefix):
        yield invalid(("pathPrefix",), f"{asked.path_prefix!r} does not begin with / or has spaces")
    for name, headers in (
        ("includeHeadersInCheck", asked.include_headers_in_check),
        ("includeRequestHeadersInCheck", asked.include_request_headers_in_check),
        ("headersToUpstreamOnAllow", asked.headers_to_upstream_on_allow),
        ("headersToDownstreamOnDeny", asked.headers_to_downstream_on_deny),
        ("headersToDownstreamOnAllow", asked.headers_to_downstream_on_allow),
    ):
        yield from _check_wildcards((name,), headers)
    for header, value in asked.include_additional_headers_in_check.items():
        path = ("includeAdditionalHeadersInCheck", header)
        if not _HEADER.fullmatch(header):
            yield invalid(path, f"{header!r} is not a header's name")
        elif not value.isprintable():
            yield invalid(path, f"{value!r} cannot stand in a header")


def _check_wildcards(path: Path, headers: Sequence[str]) -> Iterator[Finding]:
    for index, header in enumerate(headers):
        if not _WILDCARD.fullmatch(header):
            hint = "A * may stand at one end."
            yield invalid((*path, index), f"{header!r} is not a header's name", hint)


def authorizers(providers: Sequence[ExtensionProvider]) -> tuple[Authorizer, ...]:
    """Return those providers that decide, by name."""
    found = []
    for provider in providers:
        asked = provider.envoy_ext_authz_http or provider.envoy_ext_authz_grpc
        if asked is not None:
            found.append(_authorizer(provider.name, asked))
    return tuple(sorted(found, key=lambda authorizer: authorizer.name))


def _authorizer(name: str, asked: ExtAuthzHttp | ExtAuthzGrpc) -> Authorizer:
    namespace, _, host = asked.service.rpartition("/")
    return Authorizer(
        name=name,
        host=host.lower(),
        namespace=namespace,
        port=asked.port or 0,
        http=_http(asked) if isinstance(asked, ExtAuthzHttp) else None,
        timeout=asked.timeout,
        fail_open=asked.fail_open,
        status_on_error=int(asked.status_on_error or 0),
        clear_route_cache=asked.clear_route_cache,
        body=_body(asked.include_request_body_in_check),
    )


def _http(asked: ExtAuthzHttp) -> HttpCheck:
    return HttpCheck(
        path_prefix=asked.path_prefix,
        shown=tuple(asked.include_request_headers_in_check or asked.include_headers_in_check),
        added=tuple(sorted(asked.include_additional_headers_in_check.items())),
        to_upstream=tuple(asked.headers_to_upstream_on_allow),
        to_client=tuple(asked.headers_to_downstream_on_deny),
        to_client_on_allow=tuple(asked.headers_to_downstream_on_allow),
    )


def _body(wanted: RequestBody | None) -> BodyInCheck | None:
    if wanted is None:
        return None
    return BodyInCheck(
        max_bytes=wanted.max_request_bytes,
        partial=wanted.allow_partial_message,
        raw=wanted.pack_as_bytes,
    )
