"""From a VirtualService's manifest to the value that the compiler reads."""

from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING, Final

from mizzen.api import http_action, http_match, virtual_service_checks
from mizzen.api.claims import claim_path
from mizzen.api.hosts import block
from mizzen.api.http_side_checks import GRPC_STATUSES
from mizzen.api.reading import Reading, read
from mizzen.api.virtual_service import HttpRule, TcpRule, TlsRule, VirtualServiceManifest
from mizzen.model.meta import EXPORT_ALL, ExportTo, Meta, labels
from mizzen.model.routing import (
    Abort,
    ConnectionMatch,
    ConnectionRule,
    Cors,
    Delay,
    Delegate,
    Destination,
    DirectResponse,
    Fault,
    HeaderOperations,
    Headers,
    HttpMatch,
    HttpRoute,
    MatchKind,
    Mirror,
    Redirect,
    Retries,
    Rewrite,
    RouteDestination,
    StringMatch,
    VirtualService,
)
from mizzen.names import MESH_GATEWAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_MOVED_PERMANENTLY: Final = 301
_ALL: Final = 100.0
_PRESENT: Final = StringMatch(MatchKind.PRESENT)


def read_virtual_service(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the VirtualService that a manifest means."""
    return read(raw, key, VirtualServiceManifest, _convert, virtual_service_checks.check)


def _convert(manifest: VirtualServiceManifest, meta: Meta) -> VirtualService:
    spec = manifest.spec
    return VirtualService(
        meta=meta,
        hosts=tuple(host.lower() for host in spec.hosts),
        gateways=tuple(spec.gateways) or (MESH_GATEWAY,),
        export_to=ExportTo(tuple(spec.export_to)) if spec.export_to else EXPORT_ALL,
        export_unsaid=not spec.export_to,
        http=tuple(_rule(rule) for rule in spec.http),
        tls=tuple(_connections(rule) for rule in spec.tls),
        tcp=tuple(_connections(rule) for rule in spec.tcp),
    )


def _connections(rule: TlsRule | TcpRule) -> ConnectionRule:
    return ConnectionRule(
        match=tuple(_connection(match) for match in rule.match),
        route=tuple(
            RouteDestination(destination=_destination(share.destination), weight=share.weight)
            for share in rule.route
        ),
    )


def _connection(
    match: http_match.L4MatchAttributes | http_match.TlsMatchAttributes,
) -> ConnectionMatch:
    names = match.sni_hosts if isinstance(match, http_match.TlsMatchAttributes) else []
    return ConnectionMatch(
        sni_hosts=tuple(name.lower() for name in names),
        destination_subnets=tuple(block(subnet) for subnet in match.destination_subnets),
        port=match.port,
        gateways=tuple(match.gateways),
        source_labels=labels(match.source_labels),
        source_namespace=match.source_namespace,
    )


def _rule(rule: HttpRule) -> HttpRoute:
    response = rule.direct_response
    return HttpRoute(
        name=rule.name,
        match=tuple(_match(match) for match in rule.match),
        route=tuple(_share(share) for share in rule.route),
        redirect=_redirect(rule.redirect) if rule.redirect else None,
        direct_response=_direct_response(response) if response else None,
        rewrite=_rewrite(rule.rewrite) if rule.rewrite else None,
        timeout=rule.timeout,
        retries=retries(rule.retries) if rule.retries else None,
        headers=_headers(rule.headers),
        delegate=_delegate(rule.delegate) if rule.delegate else None,
        mirrors=tuple(mirror for mirror in _mirrors(rule) if mirror.percent),
        fault=_fault(rule.fault) if rule.fault else None,
        cors=_cors(rule.cors_policy) if rule.cors_policy else None,
    )


def _match(match: http_match.HttpMatchRequest) -> HttpMatch:
    return HttpMatch(
        name=match.name,
        uri=_string(match.uri),
        ignore_uri_case=match.ignore_uri_case,
        scheme=_string(match.scheme),
        method=_string(match.method),
        authority=_string(match.authority),
        headers=_strings(match.headers),
        without_headers=_strings(match.without_headers),
        query_params=tuple((name, _present(m)) for name, m in sorted(match.query_params.items())),
        claims=_claims(match.headers),
        without_claims=_claims(match.without_headers),
        port=match.port,
        gateways=tuple(match.gateways),
        source_labels=labels(match.source_labels),
        source_namespace=match.source_namespace,
        stat_prefix=match.stat_prefix,
    )


def _string(match: http_match.StringMatch | None) -> StringMatch | None:
    if match is None:
        return None
    found = _present(match)
    return None if found is _PRESENT else found


def _present(match: http_match.StringMatch) -> StringMatch:
    """Return the comparison; an empty one and the expression ``*`` ask for presence (Istio)."""
    if match.exact is not None:
        return StringMatch(MatchKind.EXACT, match.exact)
    if match.prefix is not None:
        return StringMatch(MatchKind.PREFIX, match.prefix)
    if match.regex is not None and match.regex != "*":
        return StringMatch(MatchKind.REGEX, match.regex)
    return _PRESENT


def _strings(matches: Mapping[str, http_match.StringMatch]) -> tuple[tuple[str, StringMatch], ...]:
    # Header names are compared without case, and HTTP/2 has them in lower case only.
    lowered = {
        name.lower(): _present(match) for name, match in matches.items() if claim_path(name) is None
    }
    return tuple((name, lowered[name]) for name in sorted(lowered))


def _claims(
    matches: Mapping[str, http_match.StringMatch],
) -> tuple[tuple[tuple[str, ...], StringMatch], ...]:
    """Return the conditions on claims among those on headers; claims are told apart by case."""
    found = {path: _present(m) for name, m in matches.items() if (path := claim_path(name))}
    return tuple(sorted(found.items()))


def _share(share: http_action.HttpRouteDestination) -> RouteDestination:
    return RouteDestination(
        destination=_destination(share.destination),
        weight=share.weight,
        headers=_headers(share.headers),
    )


def _destination(destination: http_action.Destination) -> Destination:
    return Destination(
        host=destination.host.lower(),
        subset=destination.subset,
        port=destination.port.number if destination.port else None,
    )


def _redirect(redirect: http_action.HttpRedirect) -> Redirect:
    return Redirect(
        uri=redirect.uri,
        authority=redirect.authority,
        port=redirect.port,
        derive_port=redirect.derive_port or "",
        scheme=redirect.scheme,
        code=redirect.redirect_code or _MOVED_PERMANENTLY,
        prefix_rewrite=redirect.prefix_rewrite,
    )


def _direct_response(response: http_action.HttpDirectResponse) -> DirectResponse:
    body = response.body
    if body is None:
        return DirectResponse(status=response.status)
    if body.bytes is not None:
        return DirectResponse(status=response.status, body=b64decode(body.bytes))
    return DirectResponse(status=response.status, body=(body.string or "").encode())


def _rewrite(rewrite: http_action.HttpRewrite) -> Rewrite:
    regex = rewrite.uri_regex_rewrite
    return Rewrite(
        uri=rewrite.uri,
        authority=rewrite.authority,
        regex_match=regex.match if regex else "",
        regex_rewrite=regex.rewrite if regex else "",
    )


def retries(retry: http_action.HttpRetry) -> Retries:
    """Return when and how often a request is tried again."""
    return Retries(
        attempts=retry.attempts,
        per_try_timeout=retry.per_try_timeout,
        retry_on=retry.retry_on,
        retry_remote_localities=bool(retry.retry_remote_localities),
        retry_ignore_previous_hosts=retry.retry_ignore_previous_hosts,
        backoff=retry.backoff,
    )


def _headers(headers: http_action.Headers | None) -> Headers:
    if headers is None:
        return Headers()
    return Headers(request=_operations(headers.request), response=_operations(headers.response))


def _operations(operations: http_action.HeaderOperations | None) -> HeaderOperations:
    if operations is None:
        return HeaderOperations()
    return HeaderOperations(
        set=tuple(sorted(operations.set.items())),
        add=tuple(sorted(operations.add.items())),
        remove=tuple(operations.remove),
    )


def _delegate(delegate: http_action.Delegate) -> Delegate:
    return Delegate(name=delegate.name, namespace=delegate.namespace)


def _mirrors(rule: HttpRule) -> Iterator[Mirror]:
    if rule.mirror is not None:
        share = rule.mirror_percentage
        percent = share.value if share is not None else rule.mirror_percent
        yield _mirror(rule.mirror, percent, "mirror")
    for index, mirror in enumerate(rule.mirrors):
        percent = mirror.percentage.value if mirror.percentage is not None else None
        yield _mirror(mirror.destination, percent, f"mirrors[{index}].destination")


def _mirror(destination: http_action.Destination, percent: float | None, path: str) -> Mirror:
    """Return a mirror; it has all requests where nothing is written (Istio: ``MirrorPercent``)."""
    written = _ALL if percent is None else float(percent)
    return Mirror(destination=_destination(destination), percent=written, path=path)


def _fault(fault: http_action.FaultInjection) -> Fault | None:
    """Return a fault; one of which Istio only reserves the field is none."""
    delay, abort = fault.delay, fault.abort
    found = Fault(delay=_delay(delay) if delay else None, abort=_abort(abort) if abort else None)
    return found if found.delay or found.abort else None


def _delay(delay: http_action.FaultDelay) -> Delay | None:
    if delay.fixed_delay is None:
        return None
    share = delay.percentage
    percent = share.value if share is not None else float(delay.percent)
    return Delay(duration=delay.fixed_delay, percent=percent)


def _abort(abort: http_action.FaultAbort) -> Abort | None:
    if abort.http_status is None and abort.grpc_status is None:
        return None
    name = abort.grpc_status
    return Abort(
        http_status=abort.http_status,
        grpc_status=GRPC_STATUSES.index(name) if name is not None else None,
        percent=abort.percentage.value if abort.percentage is not None else 0.0,
    )


def _cors(cors: http_action.CorsPolicy) -> Cors:
    """Return a policy; the deprecated exact origins count where no others are written."""
    exact = tuple(StringMatch(MatchKind.EXACT, origin) for origin in cors.allow_origin)
    return Cors(
        allow_origins=tuple(_present(origin) for origin in cors.allow_origins) or exact,
        allow_methods=tuple(cors.allow_methods),
        allow_headers=tuple(cors.allow_headers),
        expose_headers=tuple(cors.expose_headers),
        max_age=cors.max_age,
        allow_credentials=bool(cors.allow_credentials),
        forward_unmatched=cors.unmatched_preflights != "IGNORE",
    )
