"""The policies are read as Istio reads them, and never become weaker than they are written."""

from __future__ import annotations

import pytest

from mizzen.model.meta import Labels
from mizzen.model.security import (
    AuthorizationPolicy,
    Condition,
    MtlsMode,
    Operation,
    PeerAuthentication,
    PolicyAction,
    Rule,
    Source,
    Target,
)
from tests.unit.api.reading import errors, read_manifest, read_one, read_spec, told, value

pytestmark = pytest.mark.unit


def _policy(spec: str) -> AuthorizationPolicy:
    found = read_spec("AuthorizationPolicy", spec).object
    assert isinstance(found, AuthorizationPolicy)
    return found


def test_a_peer_authentication_has_modes() -> None:
    """Of all ports and of single ones, whose keys YAML may take for numbers."""
    found = value(read_manifest("security.yaml")["PeerAuthentication default"])
    assert isinstance(found, PeerAuthentication)
    assert found.selector == Labels((("app", "reviews"),))
    assert found.mode is MtlsMode.STRICT
    assert found.port_modes == ((8080, MtlsMode.PERMISSIVE), (9090, MtlsMode.DISABLE))


def test_an_empty_peer_authentication_inherits_everything() -> None:
    """For the whole namespace."""
    for spec in ("{}", "{selector: {}}", "{selector: {matchLabels: {}}, mtls: {}}"):
        parsed = read_spec("PeerAuthentication", spec)
        found = parsed.object
        assert isinstance(found, PeerAuthentication)
        assert [code for code, _, _ in told(parsed)] == ["MZ0205"] * ("selector" in spec)
        assert (found.selector, found.mode) == (None, MtlsMode.UNSET)


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("mtls: {mode: HARD}", "MZ0103", "mtls.mode"),
        ("portLevelMtls: {80: {mode: STRICT}}", "MZ0202", "portLevelMtls"),
        ("{selector: {matchLabels: {a: b}}, portLevelMtls: {}}", "MZ0103", "portLevelMtls"),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {http: {}}}",
            "MZ0103",
            "portLevelMtls.http",
        ),
        (
            "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}}",
            "MZ0103",
            "portLevelMtls[0]",
        ),
        ("selector: {matchLabels: {a: '*'}}", "MZ0103", "selector.matchLabels.a"),
    ],
)
def test_mistakes_of_a_peer_authentication_are_errors(spec: str, code: str, path: str) -> None:
    """At their field."""
    parsed = read_spec("PeerAuthentication", spec)
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.{path}")]


def test_a_rule_has_sources_operations_and_conditions() -> None:
    """With all their fields."""
    found = value(read_manifest("security.yaml")["AuthorizationPolicy reviews"])
    assert isinstance(found, AuthorizationPolicy)
    assert found.selector == Labels((("app", "reviews"),))
    assert found.action is PolicyAction.DENY
    assert found.rules == (
        Rule(
            sources=(
                Source(
                    principals=("cluster.local/ns/shop/sa/web",),
                    not_principals=("*/sa/bad",),
                    request_principals=("issuer/subject",),
                    not_request_principals=("*",),
                    namespaces=("shop",),
                    not_namespaces=("test-*",),
                    ip_blocks=("10.0.0.0/8",),
                    not_ip_blocks=("10.1.0.0/16",),
                    remote_ip_blocks=("192.0.2.1",),
                    not_remote_ip_blocks=("2001:db8::/32",),
                ),
                Source(service_accounts=("web", "shop/cart"), not_service_accounts=("bad",)),
            ),
            operations=(
                Operation(
                    hosts=("reviews", "reviews:*"),
                    not_hosts=("secret",),
                    ports=("8080",),
                    not_ports=("9090",),
                    methods=("GET",),
                    not_methods=("DELETE",),
                    paths=("/reviews/*", "/items/{*}/x/{**}"),
                    not_paths=("*.html",),
                ),
            ),
            conditions=(
                Condition(
                    key="request.headers[x-user]", values=("jason", "admin-*"), not_values=("root",)
                ),
                Condition(key="request.auth.claims[iss]", values=("me",)),
                Condition(key="connection.sni", values=("reviews",)),
            ),
        ),
    )


def test_an_allow_policy_without_rules_allows_nothing() -> None:
    """And one with an empty rule everything; ALLOW is the default."""
    nothing, everything = _policy("{}"), _policy("rules: [{}]")
    assert (nothing.action, nothing.rules) == (PolicyAction.ALLOW, ())
    assert everything.rules == (Rule(),)


def test_a_policy_has_targets() -> None:
    """A single one in the old form."""
    parsed = read_manifest("security_later.yaml")
    for name, target in (
        ("attached", Target(kind="Gateway", name="edge")),
        ("attached-once", Target(kind="Service", name="reviews")),
    ):
        policy = value(parsed[f"AuthorizationPolicy {name}"])
        assert isinstance(policy, AuthorizationPolicy)
        assert policy.targets == (target,)


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("targetRefs: [{kind: Pod, name: a}]", "MZ0103", "targetRefs[0].kind"),
        ("targetRefs: [{kind: Gateway, name: a}]", "MZ0103", "targetRefs[0].kind"),
        (
            "targetRef: {group: networking.istio.io, kind: Gateway, name: a}",
            "MZ0103",
            "targetRef.kind",
        ),
        ("targetRef: {group: apps, kind: Service, name: a}", "MZ0103", "targetRef.kind"),
        ("targetRef: {kind: Service, name: a, namespace: b}", "MZ0103", "targetRef.namespace"),
        (
            "{targetRefs: [{kind: Service, name: a}], selector: {matchLabels: {a: b}}}",
            "MZ0202",
            "targetRefs",
        ),
    ],
)
def test_mistakes_of_targets_are_errors(spec: str, code: str, path: str) -> None:
    """What a policy may be attached to is as in Istio."""
    parsed = read_spec("AuthorizationPolicy", spec)
    assert parsed.object is None
    assert (code, f"spec.{path}") in [(code, path) for code, path, _ in errors(parsed)]


def test_a_custom_policy_has_a_provider() -> None:
    """By its name."""
    parsed = read_manifest("security_later.yaml")["AuthorizationPolicy custom"]
    assert isinstance(parsed.object, AuthorizationPolicy)
    assert (parsed.object.action, parsed.object.provider) == (PolicyAction.CUSTOM, "opa")
    assert told(parsed) == []


@pytest.mark.parametrize(
    ("action", "written", "dry"),
    [
        ("ALLOW", "true", True),
        ("DENY", "True", True),
        ("DENY", "false", False),
        ("ALLOW", "1", True),
    ],
)
def test_a_dry_run_is_of_allow_and_deny(action: str, written: str, *, dry: bool) -> None:
    """By annotation; others refuse nothing, or ask somebody."""
    parsed = read_one(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
        f"metadata: {{name: a, annotations: {{istio.io/dry-run: '{written}'}}}}\n"
        f"spec: {{action: {action}, rules: [{{}}]}}"
    )
    found = value(parsed)
    assert isinstance(found, AuthorizationPolicy)
    assert found.dry_run == dry


def test_trust_domains_and_filters_metadata_are_read() -> None:
    """In sources and conditions."""
    found = value(read_manifest("security_later.yaml")["AuthorizationPolicy domains"])
    assert isinstance(found, AuthorizationPolicy)
    source, condition, metadata = found.rules
    domains = Source(trust_domains=("other.example",), not_trust_domains=("bad.example",))
    assert source == Rule(sources=(domains,))
    assert condition.conditions[0].key == "source.trustDomain"
    assert metadata.conditions[0].values == ("[insert]",)


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        *(
            (
                f"{{action: CUSTOM, provider: {{name: a}}, "
                f"rules: [{{from: [{{source: {{{field}: [a]}}}}]}}]}}",
                "MZ0202",
                f"rules[0].from[0].source.{field}",
            )
            for field in (
                "principals",
                "notPrincipals",
                "requestPrincipals",
                "notRequestPrincipals",
                "namespaces",
                "notNamespaces",
                "serviceAccounts",
                "notServiceAccounts",
            )
        ),
        *(
            (
                f"{{action: CUSTOM, provider: {{name: a}}, "
                f"rules: [{{when: [{{key: '{attribute}', values: [a]}}]}}]}}",
                "MZ0202",
                "rules[0].when[0].key",
            )
            for attribute in (
                "source.namespace",
                "source.principal",
                "source.serviceAccount",
                "request.auth.principal",
                "request.auth.audiences",
                "request.auth.claims[iss]",
            )
        ),
        *(
            (
                f"rules: [{{from: [{{source: {{{field}: [a, '']}}}}]}}]",
                "MZ0103",
                f"rules[0].from[0].source.{field}[1]",
            )
            for field in (
                "notPrincipals",
                "requestPrincipals",
                "notRequestPrincipals",
                "namespaces",
                "notNamespaces",
                "trustDomains",
                "notTrustDomains",
            )
        ),
        *(
            (
                f"rules: [{{to: [{{operation: {{{field}: ['']}}}}]}}]",
                "MZ0103",
                f"rules[0].to[0].operation.{field}[0]",
            )
            for field in ("hosts", "notHosts", "methods", "notMethods", "paths", "notPaths")
        ),
        *(
            (
                f"rules: [{{when: [{{key: '{attribute}', notValues: ['']}}]}}]",
                "MZ0103",
                "rules[0].when[0].notValues[0]",
            )
            for attribute in (
                "source.ip",
                "remote.ip",
                "destination.ip",
                "source.namespace",
                "source.principal",
                "source.serviceAccount",
                "source.trustDomain",
                "request.auth.principal",
                "request.auth.claims[a]",
                "request.headers[a]",
                "connection.sni",
                "experimental.envoy.filters.http.lua[a]",
            )
        ),
        *(
            (
                f"rules: [{{when: [{{key: '{attribute}', values: [a]}}]}}]",
                "MZ0103",
                "rules[0].when[0].key",
            )
            for attribute in (
                "request.headers",
                "request.headers[]",
                "request.auth.claims",
                "request.auth.claims[]",
                "request.auth.claims.iss",
                "experimental.envoy.filters",
                "experimental.envoy.filters.http.lua",
                "destination.namespace",
                "destination.user",
                "destination.name",
                "source.port",
            )
        ),
        ("selector: {matchLabels: {a: 'b*'}}", "MZ0103", "selector.matchLabels.a"),
        ("rules: [7]", "MZ0103", "rules[0]"),
        ("targetRefs: [{kind: '7', name: a}]", "MZ0103", "targetRefs[0].kind"),
    ],
)
def test_mistakes_of_a_policy_are_errors(spec: str, code: str, path: str) -> None:
    """A policy that says something wrong is not in force, and its last good version stays."""
    parsed = read_spec("AuthorizationPolicy", spec)
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.{path}")]


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("a/{*}", "begin with /"),
        ("/a//{*}", "between two slashes"),
        ("/a/{*}//", "between two slashes"),
        ("/a{*}", "between its slashes"),
        ("/{*}.js", "between its slashes"),
        ("/a b/{*}", "between its slashes"),
        ("/ä/{*}", "between its slashes"),
        ("/a?b/{*}", "between its slashes"),
        ("/{**}/{*}", "before another"),
        ("/{**}/a/{**}", "before another"),
        (f"/{'x' * 256}/{{*}}", "at most 256"),
    ],
)
def test_a_template_that_envoy_does_not_survive_is_an_error(template: str, word: str) -> None:
    """Envoy 1.40 aborts over one that it cannot read, instead of rejecting it."""
    (found,) = read_spec(
        "AuthorizationPolicy", f"rules: [{{to: [{{operation: {{paths: ['{template}']}}}}]}}]"
    ).diagnostics
    assert found.code.id == "MZ0103"
    assert word in found.message


def test_templates_stand_between_slashes() -> None:
    """``{**}`` as the last one; plain text may follow it."""
    paths = "['/{*}', '/{**}', '/a/{*}/b/{**}/c', '/a/{*}/', \"/a-._~%!$&'()+,;:@=1/{*}\"]"
    parsed = read_spec(
        "AuthorizationPolicy", f"rules: [{{to: [{{operation: {{paths: {paths}}}}}]}}]"
    )
    assert errors(parsed) == []


def test_an_unknown_condition_names_the_nearest_one() -> None:
    """In the remedy."""
    spec = "rules: [{when: [{key: source.principle, values: [a]}]}]"
    (found,) = read_spec("AuthorizationPolicy", spec).diagnostics
    assert found.remedy == "Did you mean source.principal?"
