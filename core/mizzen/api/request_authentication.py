"""RequestAuthentication (security.istio.io): which tokens are valid (Istio: request_authentication.proto).

A request without a token passes; who must have one says an AuthorizationPolicy. Keys are written in
place, or fetched by proxies from a service that the mesh knows; where they cannot be had, the issuer's tokens
are refused, so nothing passes unverified.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.durations import PositiveDuration
from mizzen.api.findings import Finding, Path, at, invalid, missing, without_effect
from mizzen.api.hosts import is_address, is_name
from mizzen.api.jwks import key_set_error
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import PolicyTargetReference, check_reach, targets_of
from mizzen.model.meta import NO_LABELS, Meta, labels
from mizzen.model.security import JwtRule, RequestAuthentication

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_HEADER_NAME: Final = re.compile(r"[-_A-Za-z0-9]+")
_HIGHEST_PORT: Final = 65_535
_Text = Annotated[str, Field(min_length=1)]


class JwtHeader(ApiModel):
    """A header that carries a token (Istio: JWTHeader)."""

    name: str = Field(min_length=1, description="The header.")
    prefix: str = Field(default="", description="What stands before the token, such as 'Bearer '.")


class ClaimToHeader(ApiModel):
    """A claim that the application gets as a header (Istio: ClaimToHeader)."""

    header: str = Field(min_length=1, description="The header.")
    claim: str = Field(min_length=1, description="The claim; a dot leads into a nested one.")


class JwtRuleSpec(ApiModel):
    """Whose tokens are valid, and where they are found (Istio: JWTRule)."""

    issuer: str = Field(default="", description="The token's iss.")
    audiences: list[_Text] = Field(default_factory=list, description="One of them is in its aud.")
    jwks_uri: str = Field(default="", max_length=2048, description="Where the issuer's keys are.")
    jwks: str = Field(default="", description="The issuer's keys themselves, as JSON.")
    from_headers: list[JwtHeader] = Field(
        default_factory=list, description="Headers that may carry it; Authorization by default."
    )
    from_params: list[_Text] = Field(
        default_factory=list, description="Query parameters; access_token by default."
    )
    from_cookies: list[_Text] = Field(default_factory=list, description="Cookies.")
    output_payload_to_header: str = Field(
        default="", description="A header that gets the payload, in base64url."
    )
    forward_original_token: bool = Field(
        default=False, description="Whether the application sees the token."
    )
    output_claim_to_headers: list[ClaimToHeader] = Field(
        default_factory=list, description="Claims as headers."
    )
    timeout: PositiveDuration | None = Field(
        default=None, description="For fetching keys; 5s by default."
    )
    space_delimited_claims: list[_Text] = Field(
        default_factory=list, description="Claims that are lists of words, beside scope."
    )


class RequestAuthenticationSpec(ApiModel):
    """A RequestAuthentication's spec (Istio: RequestAuthentication)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_ref: PolicyTargetReference | None = Field(
        default=None, description="Deprecated: use targetRefs."
    )
    target_refs: list[PolicyTargetReference] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    jwt_rules: list[JwtRuleSpec] = Field(
        default_factory=list, max_length=4096, description="Issuers; a token is of one of them."
    )


class RequestAuthenticationManifest(Manifest):
    """A RequestAuthentication."""

    spec: RequestAuthenticationSpec = Field(
        default_factory=RequestAuthenticationSpec,
        description="Its spec (Istio: RequestAuthentication).",
    )


def read_request_authentication(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the RequestAuthentication that a manifest means."""
    return read(raw, key, RequestAuthenticationManifest, _convert, _check)


def _check(manifest: RequestAuthenticationManifest) -> Iterator[Finding]:
    spec = manifest.spec
    yield from at(("spec",), check_reach(spec.selector, spec.target_ref, spec.target_refs))
    for index, rule in enumerate(spec.jwt_rules):
        yield from at(("spec", "jwtRules", index), _check_rule(rule))


def _check_rule(rule: JwtRuleSpec) -> Iterator[Finding]:
    if not rule.issuer and not rule.jwks_uri:
        yield missing(("issuer",), "a rule needs an issuer or a jwksUri")
    yield from _check_keys(rule)
    for index, header in enumerate(rule.from_headers):
        yield from _check_name(("fromHeaders", index, "name"), header.name)
        if not header.prefix.isprintable():
            path = ("fromHeaders", index, "prefix")
            yield invalid(path, f"{header.prefix!r} cannot stand in a header")
    for index, claim in enumerate(rule.output_claim_to_headers):
        yield from _check_name(("outputClaimToHeaders", index, "header"), claim.header)
    if rule.output_payload_to_header:
        yield from _check_name(("outputPayloadToHeader",), rule.output_payload_to_header)


def _check_name(path: Path, name: str) -> Iterator[Finding]:
    if not _HEADER_NAME.fullmatch(name):
        yield invalid(path, f"{name!r} is not a header's name")


def _check_keys(rule: JwtRuleSpec) -> Iterator[Finding]:
    if rule.jwks_uri and not is_uri(rule.jwks_uri):
        yield invalid(("jwksUri",), f"{rule.jwks_uri!r} is not an http or https URL")
    if rule.jwks:
        if error := key_set_error(rule.jwks):
            yield invalid(("jwks",), error)
    elif not rule.jwks_uri and not is_uri(rule.issuer):
        message = "cannot be asked for its keys, not being a URL; its tokens are refused"
        remedy = "Write the keys in jwks, or their place in jwksUri."
        yield without_effect(("issuer",), message, remedy)


def is_uri(text: str) -> bool:
    """Tell whether a text is an http or https URL with a sound host and port."""
    try:
        found = urlsplit(text)
        port = found.port
    except ValueError:
        return False
    sound = port is None or 0 < port <= _HIGHEST_PORT
    host = found.hostname or ""
    return found.scheme in ("http", "https") and (is_name(host) or is_address(host)) and sound


def _convert(manifest: RequestAuthenticationManifest, meta: Meta) -> RequestAuthentication:
    spec = manifest.spec
    return RequestAuthentication(
        meta=meta,
        selector=labels(spec.selector.match_labels) if spec.selector else NO_LABELS,
        rules=tuple(_rule(rule) for rule in spec.jwt_rules),
        targets=targets_of(spec.target_ref, spec.target_refs),
    )


def _rule(rule: JwtRuleSpec) -> JwtRule:
    return JwtRule(
        issuer=rule.issuer,
        audiences=tuple(rule.audiences),
        jwks=rule.jwks,
        jwks_uri=rule.jwks_uri,
        timeout=rule.timeout,
        from_headers=tuple((header.name, header.prefix) for header in rule.from_headers),
        from_params=tuple(rule.from_params),
        from_cookies=tuple(rule.from_cookies),
        output_payload_to_header=rule.output_payload_to_header,
        output_claim_to_headers=tuple((c.header, c.claim) for c in rule.output_claim_to_headers),
        forward_original_token=rule.forward_original_token,
        space_delimited_claims=tuple(rule.space_delimited_claims),
    )
