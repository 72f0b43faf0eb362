"""What a schema cannot say of the actions of an HTTP rule (Istio: ValidateVirtualService)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from mizzen.api.expressions import expression_error
from mizzen.api.findings import Finding, Path, at, conflict, invalid, missing
from mizzen.api.hosts import check_wildcard_host, is_label, is_name
from mizzen.diagnostics import NO_EFFECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mizzen.api.http_action import (
        CorsPolicy,
        Delegate,
        Destination,
        FaultAbort,
        FaultInjection,
        HeaderOperations,
        HttpBody,
        HttpRedirect,
        HttpRetry,
        HttpRewrite,
        HttpRouteDestination,
    )
    from mizzen.api.virtual_service import HttpRule, RouteDestination

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REDIRECT_CODES: Final = (301, 302, 303, 307, 308)
_SCHEMES: Final = ("http", "https")
# Envoy keeps direct responses in the route table; Istio sets the same limit.
_MAX_BODY_BYTES: Final = 1_048_576
_RETRY_ON: Final = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)
_HOST_HEADERS: Final = (":authority", "host")

GRPC_STATUSES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of gRPC's statuses, each at its number."""


def check_action(rule: HttpRule) -> Iterator[Finding]:
    """Check everything of a rule but its matches."""
    yield from _one_action(rule)
    for index, share in enumerate(rule.route):
        yield from at(("route", index), _share(share))
    yield from check_weights(rule.route)
    if rule.redirect is not None:
        yield from at(("redirect",), _redirect(rule.redirect))
    if rule.direct_response is not None and rule.direct_response.body is not None:
        yield from at(("directResponse", "body"), _body(rule.direct_response.body))
    if rule.rewrite is not None:
        yield from at(("rewrite",), _rewrite(rule.rewrite))
    if rule.retries is not None:
        yield from at(("retries",), _retries(rule.retries))
    if rule.headers is not None:
        yield from at(("headers", "request"), _operations(rule.headers.request))
        yield from at(("headers", "response"), _operations(rule.headers.response))
    yield from _authority_once(rule)
    if rule.delegate is not None:
        yield from at(("delegate",), _delegate(rule.delegate))
    yield from _side_effects(rule)


def _one_action(rule: HttpRule) -> Iterator[Finding]:
    written = {
        "route": bool(rule.route),
        "redirect": rule.redirect is not None,
        "directResponse": rule.direct_response is not None,
        "delegate": rule.delegate is not None,
    }
    actions = [name for name, is_written in written.items() if is_written]
    if not actions:
        yield missing(
            ("route",), "a rule needs one of route, redirect, directResponse and delegate"
        )
    if len(actions) > 1:
        yield conflict((actions[1],), f"a rule has one action, not {' and '.join(actions)}")
    if "route" in actions or "delegate" in actions or not actions:
        return
    for name, part in (("fault", rule.fault), ("rewrite", rule.rewrite)):
        if part is not None:
            yield conflict((name,), f"{name} goes with route only, not with {actions[0]}")


def _share(share: HttpRouteDestination) -> Iterator[Finding]:
    yield from at(("destination",), check_destination(share.destination))
    if share.headers is not None:
        yield from at(("headers", "request"), _operations(share.headers.request))
        yield from at(("headers", "response"), _operations(share.headers.response))


def check_destination(destination: Destination) -> Iterator[Finding]:
    """Check where traffic goes."""
    if destination.host.startswith("*"):
        yield invalid(("host",), f"{destination.host!r} is a wildcard; traffic goes to one host")
    else:
        yield from check_wildcard_host(("host",), destination.host)
    if destination.subset and not is_label(destination.subset):
        yield invalid(("subset",), f"{destination.subset!r} is not a DNS label")


def check_weights(
    shares: Sequence[HttpRouteDestination] | Sequence[RouteDestination],
) -> Iterator[Finding]:
    """Check that of several destinations at least one gets something."""
    if len(shares) > 1 and sum(share.weight for share in shares) == 0:
        remedy = "Give each destination a weight; they need not add up to 100."
        yield invalid(("route",), "all weights are 0, so no destination gets anything", remedy)


def _redirect(redirect: HttpRedirect) -> Iterator[Finding]:
    asked = (redirect.uri, redirect.authority, redirect.scheme, redirect.prefix_rewrite)
    if not any(asked) and redirect.port is None and redirect.derive_port is None:
        yield missing((), "a redirect needs a uri, authority, scheme or port")
    if redirect.uri and redirect.prefix_rewrite:
        yield conflict(("prefixRewrite",), "uri and prefixRewrite exclude each other")
    if redirect.port is not None and redirect.derive_port is not None:
        yield conflict(("derivePort",), "port and derivePort exclude each other")
    if redirect.redirect_code and redirect.redirect_code not in _REDIRECT_CODES:
        codes = ", ".join(map(str, _REDIRECT_CODES))
        message = f"must be one of {codes}, not {redirect.redirect_code}"
        yield invalid(("redirectCode",), message)
    if redirect.scheme and redirect.scheme not in _SCHEMES:
        yield invalid(("scheme",), f"must be http or https, not {redirect.scheme!r}")


def _body(body: HttpBody) -> Iterator[Finding]:
    if body.string is not None and body.bytes is not None:
        yield conflict(("bytes",), "string and bytes exclude each other")
    size = len((body.string or "").encode())
    if body.bytes is not None:
        try:
            size = len(b64decode(body.bytes, validate=True))
        except (binascii.Error, ValueError):
            yield invalid(("bytes",), "is not base64")
    if size > _MAX_BODY_BYTES:
        yield invalid((), f"must have at most 1 MiB, not {size} bytes")


def _rewrite(rewrite: HttpRewrite) -> Iterator[Finding]:
    regex = rewrite.uri_regex_rewrite
    if not rewrite.uri and not rewrite.authority and regex is None:
        yield missing((), "a rewrite needs a uri, uriRegexRewrite or authority")
    if regex is None:
        return
    if rewrite.uri:
        yield conflict(("uriRegexRewrite",), "uri and uriRegexRewrite exclude each other")
    wrong = expression_error(regex.match)
    if wrong:
        yield invalid(("uriRegexRewrite", "match"), f"{regex.match!r} {wrong}")
    if not regex.rewrite:
        yield missing(("uriRegexRewrite", "rewrite"), "rewrite is required")


def _retries(retry: HttpRetry) -> Iterator[Finding]:
    if retry.attempts < 0:
        yield invalid(("attempts",), f"must be at least 0, not {retry.attempts}")
    set_up = (retry.per_try_timeout, retry.retry_on or None, retry.retry_remote_localities)
    if retry.attempts == 0 and any(part is not None for part in set_up):
        message = "attempts 0 switches retries off, so nothing else of retries goes with it"
        yield conflict(("attempts",), message, "Set attempts, or remove the other fields.")
    for word in filter(None, map(str.strip, retry.retry_on.split(","))):
        if word not in _RETRY_ON and not _is_status(word):
            yield invalid(("retryOn",), f"{word!r} is no retry condition and no HTTP status")


def _is_status(word: str) -> bool:
    return word.isdigit() and 100 <= int(word) <= 599


def _operations(operations: HeaderOperations | None) -> Iterator[Finding]:
    if operations is None:
        return
    for field, names in (("set", operations.set), ("add", operations.add)):
        for name in names:
            if field == "set" and name == ":authority":
                continue
            yield from _header_name((field, name), name)
    for index, name in enumerate(operations.remove):
        yield from _header_name(("remove", index), name)


def _header_name(path: Path, name: str) -> Iterator[Finding]:
    if not _HEADER_NAME.fullmatch(name):
        yield invalid(path, f"{name!r} is not a header's name")


def check_header_name(path: Path, name: str) -> Iterator[Finding]:
    """Check the name of a header that is matched."""
    if name.startswith(":"):
        remedy = "Match method, scheme, authority and path with the fields of those names."
        yield invalid(path, f"{name!r} is a pseudo-header", remedy)
    elif not name.startswith("@"):
        yield from _header_name(path, name)


def _authority_once(rule: HttpRule) -> Iterator[Finding]:
    request = rule.headers.request if rule.headers else None
    names = [*request.set, *request.add] if request else []
    times = sum(name.lower() in _HOST_HEADERS for name in names)
    if times + bool(rule.rewrite and rule.rewrite.authority) > 1:
        yield conflict(("headers", "request"), "the authority is rewritten more than once")


def _delegate(delegate: Delegate) -> Iterator[Finding]:
    if not delegate.name:
        yield missing(("name",), "a delegate needs a name")
    for field, name in (("name", delegate.name), ("namespace", delegate.namespace)):
        if name and not is_name(name):
            yield invalid((field,), f"{name!r} is not an object's name")


def _side_effects(rule: HttpRule) -> Iterator[Finding]:
    if rule.mirror is not None and rule.mirrors:
        yield conflict(("mirrors",), "mirror and mirrors exclude each other")
    if rule.mirror is not None:
        yield from at(("mirror",), check_destination(rule.mirror))
    for index, mirror in enumerate(rule.mirrors):
        yield from at(("mirrors", index, "destination"), check_destination(mirror.destination))
    if rule.fault is not None:
        yield from at(("fault",), _fault(rule.fault))
    if rule.cors_policy is not None:
        yield from at(("corsPolicy",), _cors(rule.cors_policy))


def _fault(fault: FaultInjection) -> Iterator[Finding]:
    if fault.delay is None and fault.abort is None:
        yield missing((), "a fault needs a delay or an abort")
    delay = fault.delay
    if delay is not None and delay.fixed_delay is None and delay.exponential_delay is None:
        yield missing(("delay", "fixedDelay"), "fixedDelay is required")
    if delay is not None and delay.percentage is None and not delay.percent:
        yield _no_share("delay", "delayed")
    if fault.abort is not None:
        yield from at(("abort",), _abort(fault.abort))
        if fault.abort.percentage is None:
            yield _no_share("abort", "aborted")


def _no_share(field: str, done: str) -> Finding:
    message = f"without a percentage no request is {done}"
    return Finding(NO_EFFECT, (field, "percentage"), message, "Write percentage: {value: 100}.")


def _abort(abort: FaultAbort) -> Iterator[Finding]:
    kinds = (abort.http_status, abort.grpc_status, abort.http2_error)
    if sum(kind is not None for kind in kinds) != 1:
        yield conflict((), "an abort has one of httpStatus, grpcStatus and http2Error")
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUSES:
        message = f"{abort.grpc_status!r} is not the name of a gRPC status"
        yield invalid(("grpcStatus",), message, f"Write one of {', '.join(GRPC_STATUSES)}.")


def _cors(cors: CorsPolicy) -> Iterator[Finding]:
    for index, origin in enumerate(cors.allow_origins):
        path: Path = ("allowOrigins", index)
        ways = (origin.exact, origin.prefix, origin.regex)
        if sum(way is not None for way in ways) != 1:
            yield conflict(path, "an origin has one of exact, prefix and regex")
        wrong = expression_error(origin.regex) if origin.regex is not None else ""
        if wrong:
            yield invalid((*path, "regex"), f"{origin.regex!r} {wrong}")
    for field, names in (
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
        ("allowMethods", cors.allow_methods),
    ):
        for index, name in enumerate(names):
            yield from _header_name((field, index), name)
    if cors.max_age is not None and cors.max_age.microseconds:
        yield invalid(("maxAge",), "must be of whole seconds")
