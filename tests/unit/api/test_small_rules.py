"""Durations, protocols, expressions, hosts: the words that manifests are made of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.api.durations import parse_duration
from mizzen.api.expressions import expression_error
from mizzen.api.findings import render_path
from mizzen.api.hosts import check_export_to, check_labels, is_block, is_name, is_wildcard_name
from mizzen.api.protocols import parse_protocol, service_protocol
from mizzen.model.kube import Protocol
from tests.unit.api.reading import errors, read_spec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5s", 1.5),
        ("100ms", 0.1),
        ("1h5m", 3900),
        ("1h0m0.5s", 3600.5),
        ("10us", 0.00001),
        ("10µs", 0.00001),
        ("1000ns", 0.000001),
        (".5s", 0.5),
        ("5.s", 5),
        ("0s", 0),
        ("0", 0),
        ("-3s", -3),
        ("+3s", 3),
    ],
)
def test_durations_are_those_of_go(text: str, seconds: float) -> None:
    """Sums of numbers with units."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "1 s", "1d", "1s5", "1s-2s", "ten", "1e3s", "3000000h"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    """Days are not of Go, and a number needs a unit."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 10**9), st.integers(0, 59), st.integers(0, 999_999))
def test_what_is_written_is_read(minutes: int, seconds: int, microseconds: int) -> None:
    """Within Go's range."""
    expected = timedelta(minutes=minutes, seconds=seconds, microseconds=microseconds)
    if expected < timedelta(days=106_751):
        assert parse_duration(f"{minutes}m{seconds}s{microseconds}us") == expected


@pytest.mark.parametrize(
    ("number", "name", "transport", "app_protocol", "expected"),
    [
        (80, "http", "TCP", "", Protocol.HTTP),
        (80, "http-web", "TCP", "", Protocol.HTTP),
        (80, "HTTP2-web", "TCP", "", Protocol.HTTP2),
        (80, "grpc-web", "TCP", "", Protocol.GRPC_WEB),
        (80, "grpc-web-extra", "TCP", "", Protocol.GRPC_WEB),
        (80, "grpc-x", "TCP", "", Protocol.GRPC),
        (443, "https", "TCP", "", Protocol.HTTPS),
        (443, "tls-x", "TCP", "", Protocol.TLS),
        (9, "tcp", "TCP", "", Protocol.TCP),
        (9, "mongo-a", "TCP", "", Protocol.MONGO),
        (9, "redis", "TCP", "", Protocol.REDIS),
        (9, "mysql", "TCP", "", Protocol.MYSQL),
        (80, "web", "TCP", "", Protocol.UNSET),
        (80, "", "TCP", "", Protocol.UNSET),
        (80, "httpx", "TCP", "", Protocol.UNSET),
        (3306, "", "TCP", "", Protocol.TCP),
        (53, "dns", "TCP", "", Protocol.TCP),
        (25, "web", "TCP", "", Protocol.TCP),
        (27017, "http", "TCP", "", Protocol.HTTP),
        (80, "http", "UDP", "", Protocol.UDP),
        (80, "http", "SCTP", "", Protocol.UDP),
        (80, "tcp", "TCP", "grpc", Protocol.GRPC),
        (80, "tcp", "TCP", "kubernetes.io/h2c", Protocol.HTTP2),
        (80, "tcp", "TCP", "kubernetes.io/ws", Protocol.HTTP),
        (80, "tcp", "TCP", "kubernetes.io/wss", Protocol.HTTPS),
        (80, "http", "TCP", "example.com/own", Protocol.UNSET),
    ],
)
def test_a_ports_protocol_is_selected_as_istio_does(
    number: int, name: str, transport: str, app_protocol: str, expected: Protocol
) -> None:
    """By appProtocol, else by the name, else by the well-known ports of servers that speak first."""
    assert service_protocol(number, name, transport, app_protocol) is expected


def test_an_unknown_protocol_is_sniffed() -> None:
    """In any case of letters."""
    assert parse_protocol("Http") is Protocol.HTTP
    assert parse_protocol("gopher") is Protocol.UNSET


@pytest.mark.parametrize(
    "text",
    ["[0-9]+", ".*", "a|b", r"\d+\.\d+", "(?i)abc", "[[:alpha:]]+", r"\pL+", "(?P<x>a)", r"\+\+"],
)
def test_expressions_of_re2_pass(text: str) -> None:
    """Also those that only RE2 knows."""
    assert expression_error(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("", "(", "[a", "a)", "*a", "a{3,2}", "a++", "a*+", "[z-a]", "a\\", "x" * 1025),
        *("(?=a)", "(?!a)", "(?<=a)", r"(a)\1", "(?P=x)", "(?>a)"),
    ],
)
def test_expressions_that_are_not_of_re2_are_refused(text: str) -> None:
    """Look-around, back-references and what is broken."""
    assert expression_error(text)


@pytest.mark.parametrize(
    ("text", "name", "wildcard"),
    [
        ("reviews", True, True),
        ("reviews.shop.svc.cluster.local", True, True),
        ("Reviews.example.com.", True, True),
        ("*", False, True),
        ("*.example.com", False, True),
        ("*-a.example.com", False, True),
        ("*a.example.com", False, True),
        ("a.*.com", False, False),
        ("-a.com", False, False),
        ("a_b.com", False, False),
        ("a..com", False, False),
        ("", False, False),
        ("10.0.0.1", False, False),
        ("a" * 64, False, False),
        (".".join(["a" * 60] * 5), False, False),
    ],
)
def test_names_are_those_of_dns(text: str, name: bool, wildcard: bool) -> None:
    """With a wildcard only at the start of the first label."""
    assert is_name(text) is name
    assert is_wildcard_name(text) is wildcard


def test_blocks_are_addresses_and_cidrs() -> None:
    """Of both families."""
    assert all(map(is_block, ("10.0.0.1", "10.0.0.0/8", "10.1.2.3/8", "2001:db8::/32")))
    assert not any(map(is_block, ("", "10.0.0", "10.0.0.0/33", "shop")))


def test_export_to_is_namespaces_or_all_or_none() -> None:
    """All and none stand alone, and none is for services; the own namespace has two names."""
    assert not list(check_export_to((), ("shop", ".")))
    assert not list(check_export_to((), ("*",)))
    assert list(check_export_to((), ("*", "shop")))
    assert not list(check_export_to((), ("~",), hidden=True))
    assert list(check_export_to((), ("~", "."), hidden=True))
    assert list(check_export_to((), ("~",)))
    assert list(check_export_to((), ("shop", "."), "shop"))
    assert list(check_export_to((), ("shop", "shop")))
    assert list(check_export_to((), ("Shop/a",)))


def test_labels_of_selectors_have_no_wildcards() -> None:
    """Nor empty keys, nor values that no label can have."""
    assert not list(check_labels((), {"app": "reviews", "version": ""}))
    for wrong in ({"": "a"}, {"a*": "b"}, {"a": "*"}, {"a": "b c"}):
        assert list(check_labels((), wrong))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("spec",), "spec"),
        (("spec", "http", 0, "route", 1, "weight"), "spec.http[0].route[1].weight"),
        (("spec", "headers", "x-user"), "spec.headers[x-user]"),
        (("metadata", "labels", "a/b"), "metadata.labels[a/b]"),
    ],
)
def test_paths_are_written_as_kubernetes_does(path: tuple[str | int, ...], text: str) -> None:
    """Indexes and odd keys in brackets."""
    assert render_path(path) == text


def test_a_digit_that_is_no_decimal_is_no_number() -> None:
    """Such as a superscript, of which Python says that it is a digit and refuses to read it."""
    route = "{route: [{destination: {host: web}}], retries: {attempts: 1, retryOn: '%s'}}"
    parsed = read_spec("VirtualService", f"hosts: [web]\nhttp: [{route % '¹'}]")
    assert [code for code, _, _ in errors(parsed)] == ["MZ0103"]
