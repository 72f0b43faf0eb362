"""What a schema cannot say of what an HTTP rule does besides: copies, faults and CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api.expressions import expression_error
from mizzen.api.findings import (
    Finding,
    at,
    conflict,
    deprecated,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.http_checks import check_destination, check_plain_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.api.http_action import CorsPolicy, FaultAbort, FaultInjection, PercentValue
    from mizzen.api.http_match import StringMatch
    from mizzen.api.virtual_service import HttpRule

_LEAST_PERCENT: Final = 0.0001  # Envoy counts in millionths
_METHODS: Final = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    *("CONNECT", "OPTIONS", "TRACE"),
)

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


def check_side_effects(rule: HttpRule) -> Iterator[Finding]:
    """Check what is done besides: copies, faults and answers to browsers."""
    if rule.mirror is not None and rule.mirrors:
        yield conflict(("mirrors",), "mirror and mirrors exclude each other")
    if rule.mirror is not None:
        yield from at(("mirror",), check_destination(rule.mirror))
    if rule.mirror_percent is not None:
        yield deprecated(("mirrorPercent",), "mirrorPercent is now mirrorPercentage: {value: ...}")
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
        yield without_effect(("delay", "fixedDelay"), "without fixedDelay nothing is delayed")
    elif delay is not None and delay.percentage is None and not delay.percent:
        yield _no_share("delay", "delayed")
    if delay is not None:
        yield from at(("delay",), _share_of_requests(delay.percentage))
    if fault.abort is not None:
        yield from at(("abort",), _abort(fault.abort))
        if fault.abort.percentage is None:
            yield _no_share("abort", "aborted")


def _no_share(field: str, done: str) -> Finding:
    message = f"without a percentage no request is {done}"
    return without_effect((field, "percentage"), message, "Write percentage: {value: 100}.")


def _share_of_requests(share: PercentValue | None) -> Iterator[Finding]:
    if share is not None and 0 < share.value < _LEAST_PERCENT:
        yield invalid(("percentage", "value"), f"must be 0, or from {_LEAST_PERCENT:.4f} to 100")


def _abort(abort: FaultAbort) -> Iterator[Finding]:
    kinds = (abort.http_status, abort.grpc_status, abort.http2_error)
    written = sum(kind is not None for kind in kinds)
    if written > 1:
        yield conflict((), "an abort has one of httpStatus, grpcStatus and http2Error")
    elif not written:
        yield without_effect((), "without httpStatus or grpcStatus nothing is aborted")
    yield from _share_of_requests(abort.percentage)
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_STATUSES:
        message = f"{abort.grpc_status!r} is not the name of a gRPC status"
        yield invalid(("grpcStatus",), message, f"Write one of {', '.join(GRPC_STATUSES)}.")


def _cors(cors: CorsPolicy) -> Iterator[Finding]:
    if cors.allow_origin:
        message = "allowOrigin is now allowOrigins, whose entries are {exact: ...}"
        yield deprecated(("allowOrigin",), message)
    for index, origin in enumerate(cors.allow_origins):
        yield from at(("allowOrigins", index), _origin(origin))
    yield from _words(cors)
    if cors.max_age is not None and cors.max_age.microseconds:
        yield invalid(("maxAge",), "must be of whole seconds")


def _words(cors: CorsPolicy) -> Iterator[Finding]:
    for field, names in (
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
    ):
        for index, name in enumerate(names):
            yield from check_plain_header((field, index), name)
    for index, method in enumerate(cors.allow_methods):
        if method not in _METHODS:
            remedy = f"Use some of {', '.join(_METHODS)}."
            yield invalid(("allowMethods", index), f"{method!r} is not a method of HTTP", remedy)


def _origin(origin: StringMatch) -> Iterator[Finding]:
    ways = (origin.exact, origin.prefix, origin.regex)
    if sum(way is not None for way in ways) != 1:
        yield conflict((), "an origin has one of exact, prefix and regex")
    elif not any(ways):
        yield invalid((), "an origin must not be empty")
    wrong = expression_error(origin.regex) if origin.regex else ""
    if wrong:
        yield invalid(("regex",), f"{origin.regex!r} {wrong}")
