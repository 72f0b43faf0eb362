"""Validation of tokens: RequestAuthentications.

What a token says is left in the metadata that authorization reads. A request without a token passes; one
whose token is not valid, or of nobody's, is answered with 401 (Istio: ``authn/policy_applier.go``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, JwtProvider
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.render.chain import Side
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtRequirement

    from mizzen.model.security import JwtRule
    from mizzen.render.chain import Chain

FILTER: Final = "envoy.filters.http.jwt_authn"
PAYLOAD: Final = "payload"
"""The key of a token's claims in the filter's metadata."""

_FETCH_TIMEOUT: Final = timedelta(seconds=5)  # Istio
_KEPT: Final = timedelta(minutes=5)  # Istio, where Envoy fetches
# Claims that are lists of words wherever they are written as one text (Istio).
_WORD_LISTS: Final = ("scope", "permission")
# A key to which nobody has the private half: where keys are not known, no token is valid.
_NOBODYS_KEYS: Final = (
    '{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"nobody",'
    '"x":"dE5wsYdCXPoucoZEEPXZdT6xAu-_8DWFRZlgL9HyiX0",'
    '"y":"woDI1ow8N5dtL5vfpHjzufXw8RvYOYw5VwP156MyqKA"}]}'
)


def authenticate(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter where tokens are validated; none where no policy speaks of tokens."""
    rules = chain.tokens.rules
    if not rules:
        return ()
    sources = dict(chain.tokens.sources)
    config = JwtAuthentication(bypass_cors_preflight=True)
    for number, rule in enumerate(rules):
        provider = config.providers[_name(number)]
        _fill_provider(provider, rule)
        _fill_keys(provider, rule, sources.get(rule.jwks_uri, ""))
        # Routes of a gateway may ask for claims, and are chosen before claims are known.
        provider.clear_route_cache = chain.side is Side.GATEWAY
    required = config.rules.add()
    required.match.prefix = "/"
    _fill_requirement(required.requires, len(rules))
    return (HttpFilter(name=FILTER, typed_config=pack(config)),)


def _name(number: int) -> str:
    return f"origins-{number}"


def _fill_provider(provider: JwtProvider, rule: JwtRule) -> None:
    provider.issuer = rule.issuer
    provider.audiences.extend(rule.audiences)
    provider.forward = rule.forward_original_token
    provider.forward_payload_header = rule.output_payload_to_header
    provider.payload_in_metadata = PAYLOAD
    words = provider.normalize_payload_in_metadata.space_delimited_claims
    words.extend(dict.fromkeys((*_WORD_LISTS, *rule.space_delimited_claims)))
    for name, prefix in rule.from_headers:
        provider.from_headers.add(name=name, value_prefix=prefix)
    provider.from_params.extend(rule.from_params)
    provider.from_cookies.extend(rule.from_cookies)
    for header, claim in rule.output_claim_to_headers:
        provider.claim_to_headers.add(header_name=header, claim_name=claim)


def _fill_keys(provider: JwtProvider, rule: JwtRule, cluster: str) -> None:
    """Write the keys, or where the proxy fetches them; as nobody's where neither is known."""
    if rule.jwks or not cluster:
        provider.local_jwks.inline_string = rule.jwks or _NOBODYS_KEYS
        return
    source = provider.remote_jwks.http_uri
    source.uri, source.cluster = rule.jwks_uri, cluster
    source.timeout.CopyFrom(duration(rule.timeout or _FETCH_TIMEOUT))
    provider.remote_jwks.cache_duration.CopyFrom(duration(_KEPT))
    # Fetched ahead, so that the first token is not the one that waits; the listener does not.
    provider.remote_jwks.async_fetch.fast_listener = True


def _fill_requirement(requirement: JwtRequirement, count: int) -> None:
    """Write: a valid token of one of the issuers, or none at all."""
    options = requirement.requires_any.requirements
    if count == 1:
        options.add().provider_name = _name(0)
        options.add().allow_missing.SetInParent()
        return
    for number in range(count):
        options.add().provider_name = _name(number)
    # Where a token could stand that is somebody else's, it is missing for all of them.
    missing = options.add().requires_all.requirements
    for number in range(count):
        either = missing.add().requires_any.requirements
        either.add().provider_name = _name(number)
        either.add().allow_missing.SetInParent()
