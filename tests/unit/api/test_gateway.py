"""A Gateway is read as Istio reads it."""

from __future__ import annotations

import pytest

from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Labels
from mizzen.model.traffic import Gateway, Server, ServerKind
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


def test_servers_of_http_and_of_bytes_are_translated() -> None:
    """The protocol in any case of letters, hosts in lower case with their namespaces."""
    found = value(read_manifest("gateway.yaml")["Gateway public"])
    assert isinstance(found, Gateway)
    assert found.selector == Labels((("istio", "ingressgateway"),))
    assert found.servers == (
        Server(
            port=ServicePort(name="http", number=80, protocol=Protocol.HTTP),
            hosts=("*.example.com", "shop/reviews.example.com"),
            bind="0.0.0.0",
            name="web",
            https_redirect=True,
        ),
        Server(port=ServicePort(name="h2c", number=8080, protocol=Protocol.HTTP2), hosts=("*",)),
        Server(
            port=ServicePort(name="grpc", number=9000, protocol=Protocol.GRPC),
            hosts=("./grpc.example.com",),
        ),
        Server(port=ServicePort(name="mysql", number=3306, protocol=Protocol.TCP), hosts=("*",)),
        Server(
            port=ServicePort(name="tls", number=447, protocol=Protocol.TLS),
            hosts=("e.example.com",),
            passthrough=True,
        ),
        Server(
            port=ServicePort(name="https", number=448, protocol=Protocol.HTTPS),
            hosts=("f.example.com",),
            passthrough=True,
        ),
    )
    kinds = [server.kind for server in found.servers]
    assert kinds == [*[ServerKind.HTTP] * 3, ServerKind.TCP, *[ServerKind.PASSTHROUGH] * 2]


def test_a_server_that_is_not_translated_is_left_out_and_told_of() -> None:
    """Each of its fields by name; the other servers stay."""
    parsed = read_manifest("gateway_later.yaml")["Gateway later"]
    assert isinstance(parsed.object, Gateway)
    assert [server.hosts for server in parsed.object.servers] == [("plain.example.com",)]
    assert {code for code, _, _ in told(parsed)} == {"MZ0201"}
    paths = {path.removeprefix("spec.") for _, path, _ in told(parsed)}
    assert {f"servers[{index}].port.protocol" for index in range(4)} <= paths
    assert {
        "servers[0].port.targetPort",
        "servers[0].defaultEndpoint",
        "servers[0].tls.mode",
        "servers[0].tls.cipherSuites",
        "servers[2].tls.credentialNames",
        "servers[3].tls.tlsCertificates",
    } <= paths


_PORT = "port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.example.com]"
_PLAIN = "port: {number: 80, name: p, protocol: HTTP}"


@pytest.mark.parametrize(
    ("servers", "code", "path"),
    [
        ("[]", "MZ0104", ""),
        ("[{hosts: [a]}]", "MZ0104", "[0].port"),
        ("[{port: {number: 80, name: p, protocol: HTTP}}]", "MZ0104", "[0].hosts"),
        (f"[{{{_PLAIN}, hosts: []}}]", "MZ0103", "[0].hosts"),
        (f"[{{{_PLAIN}, hosts: [a b]}}]", "MZ0103", "[0].hosts[0]"),
        (f"[{{{_PLAIN}, hosts: ['a_b/x.com']}}]", "MZ0103", "[0].hosts[0]"),
        (f"[{{{_PLAIN}, hosts: [a], bind: here}}]", "MZ0103", "[0].bind"),
        (f"[{{{_PLAIN}, hosts: [a]}}, {{{_PLAIN}, hosts: [b]}}]", "MZ0103", "[1].port.name"),
        ("[{port: {number: 80, name: p}, hosts: [a]}]", "MZ0104", "[0].port.protocol"),
        (
            "[{port: {number: 80, name: p, protocol: GOPHER}, hosts: [a]}]",
            "MZ0103",
            "[0].port.protocol",
        ),
        ("[{port: {number: 0, name: p, protocol: HTTP}, hosts: [a]}]", "MZ0103", "[0].port.number"),
        ("[{port: {number: 80, protocol: HTTP}, hosts: [a]}]", "MZ0104", "[0].port.name"),
        (f"[{{{_PLAIN}, hosts: [a], tls: {{mode: SIMPLE}}}}]", "MZ0202", "[0].tls.mode"),
        (f"[{{{_PORT}}}]", "MZ0104", "[0].tls"),
        (f"[{{{_PORT}, tls: {{httpsRedirect: true}}}}]", "MZ0202", "[0].tls.httpsRedirect"),
        (f"[{{{_PORT}, tls: {{mode: SIMPLE}}}}]", "MZ0104", "[0].tls.credentialName"),
        (f"[{{{_PORT}, tls: {{mode: HARD, credentialName: a}}}}]", "MZ0103", "[0].tls.mode"),
        (
            f"[{{{_PORT}, tls: {{mode: SIMPLE, credentialName: a, privateKey: b}}}}]",
            "MZ0202",
            "[0].tls.credentialName",
        ),
        (
            f"[{{{_PORT}, tls: {{mode: PASSTHROUGH, credentialName: a}}}}]",
            "MZ0202",
            "[0].tls.mode",
        ),
        (
            f"[{{{_PORT}, tls: {{mode: MUTUAL, serverCertificate: a, privateKey: b}}}}]",
            "MZ0104",
            "[0].tls.caCertificates",
        ),
    ],
)
def test_mistakes_are_errors_at_their_field(servers: str, code: str, path: str) -> None:
    """A Gateway with one broken server does not come into force at all, as with Istio."""
    parsed = read_spec("Gateway", f"selector: {{a: b}}\nservers: {servers}")
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.servers{path}")]


def test_a_selector_is_labels() -> None:
    """Without wildcards."""
    spec = f"selector: {{a: '*'}}\nservers: [{{{_PLAIN}, hosts: [a]}}]"
    assert errors(read_spec("Gateway", spec)) == [("MZ0103", "spec.selector.a", 5)]
