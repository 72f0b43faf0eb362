"""When a route applies: VirtualService ``match`` as Envoy's RouteMatch (Istio: ``TranslateRouteMatch``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.ir import RequestMatch
from mizzen.model.routing import MatchKind, StringMatch
from mizzen.render.filters import jwt_authn

if TYPE_CHECKING:
    from envoy.config.route.v3.route_components_pb2 import RouteMatch
    from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
    from envoy.type.matcher.v3.string_pb2 import StringMatcher


def fill_match(message: RouteMatch, wanted: RequestMatch) -> None:
    """Write a match into a message in place; the empty one is the prefix ``/``."""
    _fill_path(message, wanted)
    for name, value in (
        (":scheme", wanted.scheme),
        (":method", wanted.method),
        (":authority", wanted.authority),
    ):
        if value is not None:
            _fill_header(message, name, value)
    for name, value in wanted.headers:
        _fill_header(message, name, value)
    for name, value in wanted.without_headers:
        _fill_absence(message, name, value)
    for path, value in wanted.claims:
        _fill_claim(message.dynamic_metadata.add(), path, value)
    for path, value in wanted.without_claims:
        _fill_claim(message.dynamic_metadata.add(invert=True), path, value)
    for name, value in wanted.query_params:
        parameter = message.query_parameters.add(name=name)
        if value.kind is MatchKind.PRESENT:
            parameter.present_match = True
        else:
            fill_string(parameter.string_match, value)


def _fill_path(message: RouteMatch, wanted: RequestMatch) -> None:
    uri = wanted.uri
    if uri is None or uri.kind is MatchKind.PRESENT:
        message.prefix = "/"
        return
    if uri.kind is MatchKind.REGEX:
        message.safe_regex.regex = uri.value
        return
    if uri.kind is MatchKind.EXACT:
        message.path = uri.value
    else:
        message.prefix = uri.value
    if wanted.ignore_uri_case:
        message.case_sensitive.value = False


def _fill_header(message: RouteMatch, name: str, value: StringMatch) -> None:
    header = message.headers.add(name=name)
    if value.kind is MatchKind.PRESENT:
        header.present_match = True
    else:
        fill_string(header.string_match, value)


def _fill_absence(message: RouteMatch, name: str, value: StringMatch) -> None:
    """Write that a header is absent or different; an absent one counts as empty, so as different."""
    _fill_header(message, name, value)
    header = message.headers[-1]
    header.invert_match = True
    if value.kind is not MatchKind.PRESENT:
        header.treat_missing_header_as_empty = True


def _fill_claim(message: MetadataMatcher, path: tuple[str, ...], value: StringMatch) -> None:
    """Write a comparison of a claim that is a text, or a list of them."""
    message.filter = jwt_authn.FILTER
    for key in (jwt_authn.PAYLOAD, *path):
        message.path.add().key = key
    if value.kind is MatchKind.PRESENT:
        message.value.present_match = True
        return
    alternatives = message.value.or_match.value_matchers
    fill_string(alternatives.add().string_match, value)
    fill_string(alternatives.add().list_match.one_of.string_match, value)


def fill_string(message: StringMatcher, value: StringMatch) -> None:
    """Write a comparison into a message in place."""
    match value.kind:
        case MatchKind.EXACT:
            message.exact = value.value
        case MatchKind.PREFIX:
            message.prefix = value.value
        case MatchKind.REGEX | MatchKind.PRESENT:
            message.safe_regex.regex = value.value
