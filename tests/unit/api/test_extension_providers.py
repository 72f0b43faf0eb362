"""``extensionProviders`` of MeshConfig: who decides of CUSTOM policies, and what is wrong in saying so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mizzen.model.kube import ConfigMap
from mizzen.model.providers import Authorizer, BodyInCheck, HttpCheck
from tests.unit.api.reading import errors, read_one, told, value

pytestmark = pytest.mark.unit

_HEAD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
"""


def _text(*providers: str) -> str:
    listed = "".join(f"      - {provider}\n" for provider in providers)
    return f"{_HEAD}    extensionProviders:\n{listed}"


def _authorizers(*providers: str) -> tuple[Authorizer, ...]:
    parsed = read_one(_text(*providers))
    assert told(parsed) == []
    found = value(parsed)
    assert isinstance(found, ConfigMap)
    assert found.mesh is not None
    return found.mesh.authorizers


def test_who_is_asked_over_http() -> None:
    """With everything that can be written."""
    spec = (
        "service: ops/Judge.ops.svc.cluster.local, port: 8000, timeout: 2s, failOpen: true,"
        "clearRouteCache: true, statusOnError: '503', pathPrefix: /check,"
        "includeRequestHeadersInCheck: [x-a, 'x-*'], includeAdditionalHeadersInCheck: {b: 2, a: '1'},"
        "includeRequestBodyInCheck:"
        " {maxRequestBytes: 9, allowPartialMessage: true, packAsBytes: true},"
        "headersToUpstreamOnAllow: ['*-u'], headersToDownstreamOnDeny: [location],"
        "headersToDownstreamOnAllow: ['*']"
    ).replace("b: 2", "b: '2'")
    assert _authorizers(f"{{name: judge, envoyExtAuthzHttp: {{{spec}}}}}") == (
        Authorizer(
            name="judge",
            host="judge.ops.svc.cluster.local",
            namespace="ops",
            port=8000,
            http=HttpCheck(
                path_prefix="/check",
                shown=("x-a", "x-*"),
                added=(("a", "1"), ("b", "2")),
                to_upstream=("*-u",),
                to_client=("location",),
                to_client_on_allow=("*",),
            ),
            timeout=timedelta(seconds=2),
            fail_open=True,
            status_on_error=503,
            clear_route_cache=True,
            body=BodyInCheck(max_bytes=9, partial=True, raw=True),
        ),
    )


def test_numbers_may_be_quoted() -> None:
    """As Istio's documentation has it; other texts are no numbers."""
    body = "includeRequestBodyInCheck: {maxRequestBytes: '9'}"
    (found,) = _authorizers(
        f"{{name: a, envoyExtAuthzGrpc: {{service: x.y, port: '9000', {body}}}}}"
    )
    assert (found.port, found.body) == (9000, BodyInCheck(max_bytes=9))
    wrong = read_one(_text("{name: a, envoyExtAuthzGrpc: {service: x.y, port: '9k'}}"))
    assert errors(wrong)


def test_those_who_are_asked_are_sorted_by_name() -> None:
    """Over gRPC as over HTTP; an old name of a field counts where the new one is not written."""
    found = _authorizers(
        "{name: b, envoyExtAuthzHttp: {service: x.y, port: 1, includeHeadersInCheck: [h]}}",
        "{name: a, envoyExtAuthzGrpc: {service: x.y, port: 2}}",
    )
    assert found == (
        Authorizer(name="a", host="x.y", port=2),
        Authorizer(name="b", host="x.y", port=1, http=HttpCheck(shown=("h",))),
    )


def test_providers_of_telemetry_are_told_of() -> None:
    """And those who decide are in force beside them."""
    parsed = read_one(
        _text("{name: t, zipkin: {service: x.y}}", "{name: s, sds: {name: x}}")
        + "      - {name: a, envoyExtAuthzGrpc: {service: x.y, port: 2}}\n"
    )
    found = parsed.object
    assert isinstance(found, ConfigMap)
    assert found.mesh is not None
    assert [one.name for one in found.mesh.authorizers] == ["a"]
    assert [each[:2] for each in told(parsed)] == [
        ("MZ0201", "data.mesh.extensionProviders[0].zipkin"),
        ("MZ0201", "data.mesh.extensionProviders[1].sds"),
    ]


_GOOD = "service: x.y, port: 80"


@pytest.mark.parametrize(
    ("provider", "code", "path"),
    [
        ("{envoyExtAuthzGrpc: {service: x.y, port: 80}}", "MZ0104", ".name"),
        ("{name: 'a b', envoyExtAuthzGrpc: {service: x.y, port: 80}}", "MZ0103", ".name"),
        ("{name: 'a[b', envoyExtAuthzGrpc: {service: x.y, port: 80}}", "MZ0103", ".name"),
        ("{name: a}", "MZ0104", ""),
        (
            f"{{name: a, envoyExtAuthzGrpc: {{{_GOOD}}}, envoyExtAuthzHttp: {{{_GOOD}}}}}",
            "MZ0202",
            ".envoyExtAuthzGrpc",
        ),
        ("{name: a, envoyExtAuthzGrpc: {port: 80}}", "MZ0104", ".envoyExtAuthzGrpc.service"),
        (
            "{name: a, envoyExtAuthzGrpc: {service: a_b, port: 80}}",
            "MZ0103",
            ".envoyExtAuthzGrpc.service",
        ),
        (
            "{name: a, envoyExtAuthzGrpc: {service: a/b/c.d, port: 80}}",
            "MZ0103",
            ".envoyExtAuthzGrpc.service",
        ),
        (
            "{name: a, envoyExtAuthzGrpc: {service: '*.d', port: 80}}",
            "MZ0103",
            ".envoyExtAuthzGrpc.service",
        ),
        ("{name: a, envoyExtAuthzGrpc: {service: x.y}}", "MZ0104", ".envoyExtAuthzGrpc.port"),
        (
            "{name: a, envoyExtAuthzGrpc: {service: x.y, port: 70000}}",
            "MZ0103",
            ".envoyExtAuthzGrpc.port",
        ),
    ],
)
def test_mistakes_of_a_provider_are_errors(provider: str, code: str, path: str) -> None:
    """At their field; the last good settings stay."""
    parsed = read_one(_text(provider))
    assert parsed.object is None
    where = f"data.mesh.extensionProviders[0]{path}"
    assert (code, where) in [(each, at) for each, at, _ in errors(parsed)]


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("timeout: 0s", "timeout"),
        ("statusOnError: '418'", "statusOnError"),
        ("statusOnError: '100'", "statusOnError"),
        ("statusOnError: x", "statusOnError"),
        ("pathPrefix: check", "pathPrefix"),
        ("pathPrefix: '/a b'", "pathPrefix"),
        ("includeHeadersInCheck: ['a b']", "includeHeadersInCheck[0]"),
        ("includeRequestHeadersInCheck: ['a*b']", "includeRequestHeadersInCheck[0]"),
        ("headersToUpstreamOnAllow: ['']", "headersToUpstreamOnAllow[0]"),
        ("headersToDownstreamOnDeny: ['a:']", "headersToDownstreamOnDeny[0]"),
        ("headersToDownstreamOnAllow: ['**']", "headersToDownstreamOnAllow[0]"),
        ("includeAdditionalHeadersInCheck: {'a b': c}", "includeAdditionalHeadersInCheck[a b]"),
        (r'includeAdditionalHeadersInCheck: {a: "b\n"}', "includeAdditionalHeadersInCheck.a"),
        (
            "includeRequestBodyInCheck: {maxRequestBytes: 0}",
            "includeRequestBodyInCheck.maxRequestBytes",
        ),
        ("includeRequestBodyInCheck: {}", "includeRequestBodyInCheck.maxRequestBytes"),
    ],
)
def test_mistakes_of_a_question_are_errors(field: str, path: str) -> None:
    """At their field."""
    parsed = read_one(_text(f"{{name: a, envoyExtAuthzHttp: {{{_GOOD}, {field}}}}}"))
    assert [at for _, at, _ in errors(parsed)] == [
        f"data.mesh.extensionProviders[0].envoyExtAuthzHttp.{path}"
    ]


def test_a_name_is_one_providers() -> None:
    """A second of the same name is an error."""
    one = "{name: a, envoyExtAuthzGrpc: {service: x.y, port: 2}}"
    assert [at for _, at, _ in errors(read_one(_text(one, one)))] == [
        "data.mesh.extensionProviders[1]"
    ]
