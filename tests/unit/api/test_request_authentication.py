"""A RequestAuthentication is read as Istio reads it, and lets nothing pass that cannot be verified."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mizzen.api.jwks import key_set_error
from mizzen.model.meta import Labels
from mizzen.model.security import JwtRule, RequestAuthentication, Target
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit

_KEYS = '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'


def test_a_rule_has_an_issuer_keys_and_places() -> None:
    """With all fields."""
    found = value(read_manifest("request_authentication.yaml")["RequestAuthentication web"])
    assert isinstance(found, RequestAuthentication)
    assert found.selector == Labels((("app", "web"),))
    assert found.rules == (
        JwtRule(
            issuer="https://issuer.example",
            audiences=("web",),
            jwks='{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}',
            from_headers=(("x-token", "Bearer "),),
            from_params=("token",),
            from_cookies=("session",),
            output_payload_to_header="x-payload",
            output_claim_to_headers=(("x-user", "sub"),),
            forward_original_token=True,
            space_delimited_claims=("roles",),
        ),
    )


def test_keys_are_where_their_place_is_written_or_the_issuer_says() -> None:
    """Of the others the issuer is asked, which has to be a URL."""
    parsed = read_manifest("request_authentication_later.yaml")
    fetched = parsed["RequestAuthentication fetched"]
    assert isinstance(fetched.object, RequestAuthentication)
    assert told(fetched) == []
    assert [rule.is_to_be_asked for rule in fetched.object.rules] == [False, True]
    nobody = read_spec("RequestAuthentication", "jwtRules: [{issuer: me@example.com}]")
    assert [each[:2] for each in told(nobody)] == [("MZ0203", "spec.jwtRules[0].issuer")]
    assert fetched.object.rules[0].timeout == timedelta(seconds=3)
    for name in ("attached", "attached-once"):
        attached = value(parsed[f"RequestAuthentication {name}"])
        assert isinstance(attached, RequestAuthentication)
        assert attached.targets == (Target(kind="Gateway", name="edge"),)


@pytest.mark.parametrize(
    "spec",
    [
        "{}",
        "jwtRules: []",
        f"jwtRules: [{{issuer: a, jwks: '{_KEYS}'}}]",
        f"jwtRules: [{{issuer: a@b.example, jwks: '{_KEYS}', audiences: [x, y]}}]",
        f"jwtRules: [{{issuer: a, jwks: '{_KEYS}', fromHeaders: [{{name: x}}]}}]",
        f"jwtRules: [{{issuer: a, jwks: '{_KEYS}', jwksUri: 'http://a.example:8080/k'}}]",
        f"jwtRules: [{{issuer: a, jwks: '{_KEYS}'}}, {{issuer: a, jwks: '{_KEYS}'}}]",
        "selector: {matchLabels: {app: web}}",
    ],
)
def test_nothing_is_said_of_a_sound_policy(spec: str) -> None:
    """Each of these is in force as it is written."""
    assert isinstance(value(read_spec("RequestAuthentication", spec)), RequestAuthentication)


def _rule(field: str) -> str:
    return f"jwtRules: [{{issuer: a, jwks: '{_KEYS}', {field}}}]"


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("selector: {matchLabels: {a: 'b*'}}", "MZ0103", "selector.matchLabels.a"),
        (
            "{selector: {matchLabels: {a: b}}, targetRef: {kind: Service, name: a}}",
            "MZ0202",
            "targetRef",
        ),
        ("targetRef: {kind: Service}", "MZ0104", "targetRef.name"),
        ("targetRef: {group: __, kind: Service, name: a}", "MZ0103", "targetRef.group"),
        ("targetRef: {kind: Serv_ice, name: a}", "MZ0103", "targetRef.kind"),
        ("jwtRules: [7]", "MZ0103", "jwtRules[0]"),
        (f"jwtRules: [{{jwks: '{_KEYS}'}}]", "MZ0104", "jwtRules[0].issuer"),
        (
            _rule('fromHeaders: [{name: a, prefix: "a\\n"}]'),
            "MZ0103",
            "jwtRules[0].fromHeaders[0].prefix",
        ),
        (
            _rule("outputClaimToHeaders: [{claim: '', header: h}]"),
            "MZ0103",
            "jwtRules[0].outputClaimToHeaders[0].claim",
        ),
        (_rule("spaceDelimitedClaims: ['']"), "MZ0103", "jwtRules[0].spaceDelimitedClaims[0]"),
        (_rule("forwardOriginalToken: 'yes'"), "MZ0103", "jwtRules[0].forwardOriginalToken"),
    ],
)
def test_mistakes_of_a_policy_are_errors(spec: str, code: str, path: str) -> None:
    """At their field, and the policy is not in force."""
    parsed = read_spec("RequestAuthentication", spec)
    assert parsed.object is None
    assert [(each, where) for each, where, _ in errors(parsed)] == [(code, f"spec.{path}")]


_EC = {"kty": "EC", "crv": "P-256", "x": "YQ", "y": "Yg"}


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "one", "alg": "RS256"},
        _EC,
        _EC | {"crv": "P-384"},
        _EC | {"crv": "P-521"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "Ed25519", "x": "YQ"},
    ],
)
def test_keys_of_every_type_are_taken(key: dict[str, str]) -> None:
    """RSA, elliptic curves, Edwards curves and shared secrets."""
    assert key_set_error(json.dumps({"keys": [key]})) == ""


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("no", "not JSON"),
        ("[]", "no keys"),
        ('{"keys": []}', "no keys"),
        ('{"keys": {}}', "no keys"),
        ('{"keys": [7]}', "not a mapping"),
        ('{"keys": [{}]}', "no kty"),
        ('{"keys": [{"kty": "DSA"}]}', "no kty"),
        ('{"keys": [{"kty": ["RSA"]}]}', "no kty"),
        ('{"keys": [{"kty": "RSA", "e": "AQAB"}]}', "no n"),
        ('{"keys": [{"kty": "RSA", "n": "a+b", "e": "AQAB"}]}', "no n"),
        ('{"keys": [{"kty": "RSA", "n": "AQAB", "e": 3}]}', "no e"),
        ('{"keys": [{"kty": "EC", "crv": "P-1", "x": "YQ", "y": "YQ"}]}', "no crv"),
        ('{"keys": [{"kty": "EC", "crv": "P-256", "x": "YQ"}]}', "no y"),
        ('{"keys": [{"kty": "OKP", "crv": "X25519", "x": "YQ"}]}', "no crv"),
        ('{"keys": [{"kty": "oct", "k": ""}]}', "no k"),
    ],
)
def test_a_key_set_that_envoy_could_not_use_is_told_of(text: str, word: str) -> None:
    """By the number of the key, never by its content."""
    assert word in key_set_error(text)
