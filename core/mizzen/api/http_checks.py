"""What a schema cannot say of the actions of an HTTP rule (Istio: ValidateVirtualService)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from mizzen.api.expressions import expression_error
from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    costly,
    invalid,
    missing,
)
from mizzen.api.header_values import header_value_error
from mizzen.api.hosts import check_domain, is_label, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mizzen.api.http_action import (
        Delegate,
        Destination,
        HeaderOperations,
        Headers,
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
_LARGE_BODY_BYTES: Final = 102_400
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


def check_action(rule: HttpRule) -> Iterator[Finding]:
    """Check what is done with a request, and what with its headers."""
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
        yield from at(("retries",), check_retries(rule.retries))
    yield from _headers(rule.headers)
    yield from _authority_once(rule)
    if rule.delegate is not None:
        yield from at(("delegate",), _delegate(rule.delegate))


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
    yield from _headers(share.headers)


def check_destination(destination: Destination) -> Iterator[Finding]:
    """Check where traffic goes."""
    if destination.host.startswith("*"):
        yield invalid(("host",), f"{destination.host!r} is a wildcard; traffic goes to one host")
    else:
        yield from check_domain(("host",), destination.host)
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
    elif size > _LARGE_BODY_BYTES:
        yield costly((), f"a body of {size} bytes stands in the routes of every proxy")


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


def check_retries(retry: HttpRetry) -> Iterator[Finding]:
    """Check when and how often a request is tried again."""
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
    return word.isdecimal() and 100 <= int(word) <= 599


def _headers(headers: Headers | None) -> Iterator[Finding]:
    if headers is None:
        return
    yield from at(("headers", "request"), _operations(headers.request, of_request=True))
    yield from at(("headers", "response"), _operations(headers.response))


def _operations(
    operations: HeaderOperations | None, *, of_request: bool = False
) -> Iterator[Finding]:
    """Check changes of headers; a request's may give it another authority."""
    if operations is None:
        return
    for field, values in (("set", operations.set), ("add", operations.add)):
        for name, value in values.items():
            if not (of_request and name.lower() in _HOST_HEADERS):
                yield from _changed_name((field, name), name)
            if error := header_value_error(value):
                yield invalid((field, name), error, "See Envoy's formats of header values.")
    for index, name in enumerate(operations.remove):
        yield from _changed_name(("remove", index), name)


def _changed_name(path: Path, name: str) -> Iterator[Finding]:
    if name.lower() == "host":
        remedy = "Set it among the request's headers, or write rewrite.authority."
        yield invalid(path, "the host cannot be changed like this", remedy)
    else:
        yield from check_plain_header(path, name)


def check_plain_header(path: Path, name: str) -> Iterator[Finding]:
    """Check the name of a header that is no pseudo-header."""
    if not _HEADER_NAME.fullmatch(name):
        yield invalid(path, f"{name!r} is not a header's name")


def check_header_name(path: Path, name: str) -> Iterator[Finding]:
    """Check the name of a header that is matched."""
    if name.startswith(":"):
        remedy = "Match method, scheme, authority and path with the fields of those names."
        yield invalid(path, f"{name!r} is a pseudo-header", remedy)
    elif not name.startswith("@"):
        yield from check_plain_header(path, name)


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
