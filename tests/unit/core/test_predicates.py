"""What the values of an AuthorizationPolicy mean, field by field."""

from __future__ import annotations

import re
from typing import Final

import pytest

from mizzen.ir import (
    AllOf,
    AnyOf,
    DestinationAddress,
    DestinationPort,
    FilterMetadata,
    Never,
    PeerIdentity,
    Predicate,
    RequestHeader,
    RequestPath,
    RequestPathTemplate,
    ServerName,
    SourceAddress,
    Text,
    TextKind,
    TokenClaim,
)
from mizzen.resolve import predicates as p

READER: Final = p.Reader(namespace="shop", trust_domains=("mesh.test", "old.test"))
PRESENT: Final = Text(TextKind.PRESENT)


def exact(value: str) -> Text:
    return Text(TextKind.EXACT, value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", exact("a")),
        ("a*", Text(TextKind.PREFIX, "a")),
        ("*a", Text(TextKind.SUFFIX, "a")),
        ("*", PRESENT),
        ("a*b", exact("a*b")),
        ("", exact("")),
    ],
)
def test_a_wildcard_stands_at_an_end(value: str, text: Text) -> None:
    """Prefix, suffix, presence; in the middle a star is a star."""
    assert p.text(value) == text


@pytest.mark.parametrize(
    ("value", "identities"),
    [
        ("other/ns/a/sa/b", ["spiffe://other/ns/a/sa/b"]),
        (
            "cluster.local/ns/a/sa/b",
            ["spiffe://mesh.test/ns/a/sa/b", "spiffe://old.test/ns/a/sa/b"],
        ),
        ("old.test/ns/a/sa/b", ["spiffe://mesh.test/ns/a/sa/b", "spiffe://old.test/ns/a/sa/b"]),
    ],
)
def test_a_principal_of_ours_may_come_from_any_trust_domain_of_ours(
    value: str, identities: list[str]
) -> None:
    """``cluster.local`` means our own trust domain, and its aliases count too."""
    terms = tuple(PeerIdentity(exact(one)) for one in identities)
    assert READER.principal(value) == (terms[0] if len(terms) == 1 else AnyOf(terms))


def test_one_trust_domain_makes_one_term() -> None:
    """No alternatives where there is nothing to choose."""
    reader = p.Reader(namespace="shop", trust_domains=("cluster.local",))
    assert reader.principal("cluster.local/ns/a/sa/b") == PeerIdentity(
        exact("spiffe://cluster.local/ns/a/sa/b")
    )


@pytest.mark.parametrize(
    ("value", "accepts", "refuses"),
    [
        ("*", "spiffe://x/ns/a/sa/b", ""),
        ("*/ns/a/sa/b.c", "spiffe://x/ns/a/sa/b.c", "spiffe://x/ns/a/sa/bxc"),
    ],
)
def test_a_principal_with_a_wildcard_in_front_is_any_certificate_that_ends_so(
    value: str, accepts: str, refuses: str
) -> None:
    """``*`` alone asks for a certificate at all."""
    found = READER.principal(value)
    assert isinstance(found, PeerIdentity)
    assert re.fullmatch(found.text.value, accepts)
    assert not re.fullmatch(found.text.value, refuses)


def test_a_principal_with_a_wildcard_behind_is_a_prefix() -> None:
    """Of the whole URI; in a domain of ours, of each of ours."""
    assert READER.principal("other/ns/*") == PeerIdentity(
        Text(TextKind.PREFIX, "spiffe://other/ns/")
    )
    assert READER.principal("mesh.test/ns/a/*") == AnyOf(
        tuple(
            PeerIdentity(Text(TextKind.PREFIX, f"spiffe://{td}/ns/a/"))
            for td in ("mesh.test", "old.test")
        )
    )


@pytest.mark.parametrize(
    ("predicate", "accepts", "refuses"),
    [
        (p.namespace("a.b"), "spiffe://x/ns/a.b/sa/c", "spiffe://x/ns/axb/sa/c"),
        (p.namespace("a*"), "spiffe://x/ns/abc/sa/c", "spiffe://x/ns/b/sa/a"),
        (p.namespace("*"), "spiffe://x/ns/abc/sa/c", "spiffe://x"),
        (READER.service_account("cart"), "spiffe://x/ns/shop/sa/cart", "spiffe://x/ns/b/sa/cart"),
        (READER.service_account("b/cart"), "spiffe://x/ns/b/sa/cart", "spiffe://x/ns/shop/sa/cart"),
        (p.trust_domain("a.test"), "spiffe://a.test/ns/b/sa/c", "spiffe://aatest/ns/b/sa/c"),
        (p.trust_domain("*.test"), "spiffe://a.test/ns/b/sa/c", "spiffe://a/x.test/b"),
    ],
)
def test_parts_of_an_identity_are_expressions(
    predicate: Predicate, accepts: str, refuses: str
) -> None:
    """Namespace, service account and trust domain, with what is not a wildcard taken literally."""
    assert isinstance(predicate, PeerIdentity)
    assert predicate.text.kind is TextKind.REGEX
    assert re.fullmatch(predicate.text.value, accepts)
    assert not re.fullmatch(predicate.text.value, refuses)


def claims(issuer: Text, subject: Text) -> Predicate:
    return AllOf((TokenClaim(("iss",), issuer), TokenClaim(("sub",), subject)))


@pytest.mark.parametrize(
    ("value", "predicate"),
    [
        ("*", claims(PRESENT, PRESENT)),
        ("https://i.test/sub", claims(exact("https://i.test"), exact("sub"))),
        ("i/*", claims(exact("i"), PRESENT)),
        ("*/s", claims(PRESENT, exact("s"))),
        ("admin", Never()),
        ("i*", TokenClaim(("iss",), Text(TextKind.PREFIX, "i"))),
        ("*s", TokenClaim(("sub",), Text(TextKind.SUFFIX, "s"))),
    ],
)
def test_a_request_principal_is_issuer_and_subject(value: str, predicate: Predicate) -> None:
    """Split at the last slash; without one, a wildcard reaches one half."""
    assert p.request_principal(value) == predicate


@pytest.mark.parametrize(
    ("predicate", "made"),
    [
        (
            p.host("Example.com"),
            RequestHeader(":authority", Text(TextKind.EXACT, "Example.com", True)),
        ),
        (p.method("GET"), RequestHeader(":method", exact("GET"))),
        (p.path("/a*"), RequestPath(Text(TextKind.PREFIX, "/a"))),
        (p.path("/a/{*}/b/{**}"), RequestPathTemplate("/a/*/b/**")),
        (p.path("/{**}"), RequestPathTemplate("/**")),
        (p.destination_port("80"), DestinationPort(80)),
        (p.destination_port("http"), Never()),
        (p.destination_address("10.0.0.0/8"), DestinationAddress("10.0.0.0/8")),
        (p.server_name("*.test"), ServerName(Text(TextKind.SUFFIX, ".test"))),
        (p.peer_address("10.0.0.1"), SourceAddress("10.0.0.1")),
        (p.client_address("10.0.0.1"), SourceAddress("10.0.0.1", original=True)),
    ],
)
def test_a_field_is_one_word(predicate: Predicate, made: Predicate) -> None:
    """Hosts ignore case; a port that is no number matches nothing."""
    assert predicate == made


@pytest.mark.parametrize(
    ("key", "value", "made"),
    [
        ("source.ip", "10.0.0.1", SourceAddress("10.0.0.1")),
        ("remote.ip", "10.0.0.1", SourceAddress("10.0.0.1", original=True)),
        ("source.namespace", "a", p.namespace("a")),
        ("source.principal", "*", READER.principal("*")),
        ("source.serviceAccount", "a", READER.service_account("a")),
        ("source.trustDomain", "a", p.trust_domain("a")),
        ("request.auth.principal", "a/b", p.request_principal("a/b")),
        ("request.auth.audiences", "a", TokenClaim(("aud",), exact("a"))),
        ("request.auth.presenter", "a", TokenClaim(("azp",), exact("a"))),
        ("request.auth.claims[a]", "x*", TokenClaim(("a",), Text(TextKind.PREFIX, "x"))),
        ("request.auth.claims[a][b.c]", "x", TokenClaim(("a", "b.c"), exact("x"))),
        ("request.headers[X-Token]", "x", RequestHeader("x-token", exact("x"))),
        ("made.up", "x", Never()),
    ],
)
def test_a_condition_is_read_by_its_key(key: str, value: str, made: Predicate) -> None:
    """An unknown key, which reading refuses already, matches nothing."""
    assert p.source_reader(key, READER)(value) == made


@pytest.mark.parametrize(
    ("key", "value", "made"),
    [
        ("destination.ip", "10.0.0.1", DestinationAddress("10.0.0.1")),
        ("destination.port", "80", DestinationPort(80)),
        ("connection.sni", "a*", ServerName(Text(TextKind.PREFIX, "a"))),
        (
            "experimental.envoy.filters.network.mysql_proxy[db.table]",
            "[insert]",
            FilterMetadata(
                "envoy.filters.network.mysql_proxy", "db.table", exact("insert"), listed=True
            ),
        ),
        (
            "experimental.envoy.filters.http.lua[a]",
            "*",
            FilterMetadata("envoy.filters.http.lua", "a", Text(TextKind.PRESENT)),
        ),
    ],
)
def test_a_condition_on_what_is_asked_for_is_read_by_its_key(
    key: str, value: str, made: Predicate
) -> None:
    """Of the metadata of filters, a value in brackets is an element of a list."""
    read = p.operation_reader(key)
    assert read is not None
    assert read(value) == made


@pytest.mark.parametrize("key", ["source.ip", "request.headers[a]", "request.auth.claims[a]"])
def test_all_other_conditions_are_about_who_asks(key: str) -> None:
    """They become principals."""
    assert p.operation_reader(key) is None
