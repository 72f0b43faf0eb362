"""VirtualService (networking.istio.io/v1): what of it is translated, as frozen values.

Hosts are kept as written, lower-cased; ``resolve`` expands short names in the object's namespace.
Durations are ``timedelta``. ``None`` always means "not written".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from mizzen.model.meta import EXPORT_ALL, NO_LABELS, ExportTo, Labels, Meta


class Part(StrEnum):
    """The three lists of rules that a VirtualService may have."""

    HTTP = "http"
    TLS = "tls"
    TCP = "tcp"


class MatchKind(StrEnum):
    """How a string is compared (Istio StringMatch); ``PRESENT`` is an empty match or regex ``*``."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A comparison and its operand."""

    kind: MatchKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMatch:
    """One alternative of ``http[].match`` (HTTPMatchRequest); all set fields must hold.

    ``claims`` are the headers named ``@request.auth.claims…``: claims of a token, by path.
    """

    name: str = ""
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
    port: int | None = None
    gateways: tuple[str, ...] = ()
    source_labels: Labels = NO_LABELS
    source_namespace: str = ""
    stat_prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderOperations:
    """``headers.request`` or ``headers.response`` (Headers.HeaderOperations)."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """Changes of request and response headers."""

    request: HeaderOperations = field(default_factory=HeaderOperations)
    response: HeaderOperations = field(default_factory=HeaderOperations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where traffic goes; ``port`` None means the service's only port, else the listener's."""

    host: str
    subset: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDestination:
    """A weighted destination. A single one has all traffic whatever its weight."""

    destination: Destination
    weight: int = 0
    headers: Headers = field(default_factory=Headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """``http[].redirect`` (HTTPRedirect); ``derive_port`` is FROM_PROTOCOL_DEFAULT or FROM_REQUEST_PORT."""

    uri: str = ""
    authority: str = ""
    port: int | None = None
    derive_port: str = ""
    scheme: str = ""
    code: int = 301
    prefix_rewrite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResponse:
    """``http[].directResponse``; the body is text or bytes, already decoded."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """``http[].rewrite`` (HTTPRewrite)."""

    uri: str = ""
    authority: str = ""
    regex_match: str = ""
    regex_rewrite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """``http[].retries`` (HTTPRetry); ``attempts`` ≤ 0 switches retrying off."""

    attempts: int
    per_try_timeout: timedelta | None = None
    retry_on: str = ""
    retry_remote_localities: bool = False
    retry_ignore_previous_hosts: bool | None = None
    backoff: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """``http[].mirror`` or one of ``mirrors``: where copies go, and of how many percent of requests.

    ``path`` is where in the rule the destination is written, for findings.
    """

    destination: Destination
    percent: float = 100.0
    path: str = "mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """``fault.delay``: the delay, and of how many percent of requests."""

    duration: timedelta
    percent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """``fault.abort``: the answer, by one of the two statuses, and to how many percent of requests."""

    http_status: int | None = None
    grpc_status: int | None = None
    percent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """``http[].fault`` (HTTPFaultInjection)."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """``http[].corsPolicy``; ``forward_unmatched`` is what becomes of preflights of other origins."""

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: timedelta | None = None
    allow_credentials: bool = False
    forward_unmatched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegate:
    """``http[].delegate``: the VirtualService that goes on; an empty namespace is the own one."""

    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRoute:
    """One rule of ``http``; exactly one of route, redirect, direct_response and delegate is set when valid.

    What of the rest is None or empty is not written, and a delegate's rule then has what its root says.
    """

    name: str = ""
    match: tuple[HttpMatch, ...] = ()
    route: tuple[RouteDestination, ...] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: Rewrite | None = None
    timeout: timedelta | None = None
    retries: Retries | None = None
    headers: Headers = field(default_factory=Headers)
    mirrors: tuple[Mirror, ...] = ()
    fault: Fault | None = None
    cors: Cors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionMatch:
    """One alternative of ``tls[].match`` or ``tcp[].match``; all set fields must hold.

    ``sni_hosts`` are lower-case, and empty for TCP. ``destination_subnets`` are blocks whose address has
    no bits beyond its length.
    """

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: int | None = None
    gateways: tuple[str, ...] = ()
    source_labels: Labels = NO_LABELS
    source_namespace: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionRule:
    """One rule of ``tls`` or ``tcp``; destinations have no headers."""

    match: tuple[ConnectionMatch, ...] = ()
    route: tuple[RouteDestination, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualService:
    """networking.istio.io VirtualService. ``gateways`` is ("mesh",) where none is written.

    One without hosts is a delegate: it routes nothing by itself. ``export_unsaid``: as the mesh has it.
    """

    meta: Meta
    hosts: tuple[str, ...]
    gateways: tuple[str, ...] = ("mesh",)
    export_to: ExportTo = EXPORT_ALL
    export_unsaid: bool = False
    http: tuple[HttpRoute, ...] = ()
    tls: tuple[ConnectionRule, ...] = ()
    tcp: tuple[ConnectionRule, ...] = ()

    def has(self, part: Part) -> bool:
        """Tell whether there are rules of a part."""
        match part:
            case Part.HTTP:
                return bool(self.http)
            case Part.TLS:
                return bool(self.tls)
            case Part.TCP:
                return bool(self.tcp)
