"""A Gateway is read as Istio reads it."""

from __future__ import annotations

import pytest

from mizzen.model.gateway import (
    CertificateFiles,
    Gateway,
    Server,
    ServerKind,
    ServerTls,
    ServerTlsMode,
    TlsVersion,
)
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Labels
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


_PASSTHROUGH = ServerTls(mode=ServerTlsMode.PASSTHROUGH)


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
            tls=_PASSTHROUGH,
        ),
        Server(
            port=ServicePort(name="https", number=448, protocol=Protocol.HTTPS),
            hosts=("f.example.com",),
            tls=_PASSTHROUGH,
        ),
    )
    kinds = [server.kind for server in found.servers]
    assert kinds == [*[ServerKind.HTTP] * 3, ServerKind.TCP, *[ServerKind.TLS] * 2]


def test_all_that_is_said_of_tls_is_taken() -> None:
    """Secrets, files, what is asked of clients, versions and ciphers; a mode is to be written."""
    found = value(read_manifest("gateway_tls.yaml")["Gateway tls"])
    assert isinstance(found, Gateway)
    assert [server.tls for server in found.servers] == [
        ServerTls(
            mode=ServerTlsMode.MUTUAL,
            files=(CertificateFiles(certificate="/etc/certs/tls.crt", key="/etc/certs/tls.key"),),
            ca_file="/etc/certs/ca.crt",
            crl_file="/etc/certs/crl.pem",
            subject_alt_names=("client.example.com",),
            key_hashes=("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A=",),
            certificate_hashes=(
                "df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a",
            ),
            min_version=TlsVersion.V1_2,
            max_version=TlsVersion.V1_3,
            ciphers=("ECDHE-RSA-AES128-GCM-SHA256",),
            insecure_skip_verify=True,
        ),
        ServerTls(mode=ServerTlsMode.SIMPLE, credentials=("b",)),
        ServerTls(
            mode=ServerTlsMode.OPTIONAL_MUTUAL,
            credentials=("c-rsa", "c-ecdsa"),
            ca_credential="c-ca",
        ),
        ServerTls(
            mode=ServerTlsMode.SIMPLE, files=(CertificateFiles(certificate="/a.crt", key="/a.key"),)
        ),
        ServerTls(mode=ServerTlsMode.ISTIO_MUTUAL),
        _PASSTHROUGH,
    ]


def test_a_server_that_is_not_translated_is_left_out_and_told_of() -> None:
    """Each of its fields by name; the other servers stay."""
    parsed = read_manifest("gateway_later.yaml")["Gateway later"]
    assert isinstance(parsed.object, Gateway)
    hosts = [server.hosts for server in parsed.object.servers]
    assert hosts == [("b.example.com",), ("plain.example.com",)]
    assert {(code, path.removeprefix("spec.")) for code, path, _ in told(parsed)} == {
        ("MZ0201", "servers[0].port.protocol"),
        ("MZ0201", "servers[0].port.targetPort"),
        ("MZ0201", "servers[0].defaultEndpoint"),
        ("MZ0201", "servers[1].tls.tlsCertificates[0].caCertificates"),
    }


def test_of_a_server_without_tls_only_this_is_told() -> None:
    """HTTPS is translated: what is missing is no matter of a later version."""
    server = "{port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.example.com]}"
    parsed = read_spec("Gateway", f"servers: [{server}]")
    assert {code for code, _, _ in told(parsed)} == {"MZ0104"}


_PORT = "port: {number: 443, name: p, protocol: HTTPS}, hosts: [a.example.com]"
_PLAIN = "port: {number: 80, name: p, protocol: HTTP}"


@pytest.mark.parametrize(
    ("servers", "code", "path"),
    [
        ("[]", "MZ0104", ""),
        ("[{port: {number: 80, name: p, protocol: HTTP}}]", "MZ0104", "[0].hosts"),
        (
            f"[{{{_PORT}, tls: {{mode: SIMPLE, tlsCertificates: [{{privateKey: a}}]}}}}]",
            "MZ0104",
            "[0].tls.tlsCertificates[0].serverCertificate",
        ),
        (
            f"[{{{_PORT}, tls: {{mode: SIMPLE, serverCertificate: a, privateKey: b,"
            " tlsCertificates: [{serverCertificate: a, privateKey: b}]}}]",
            "MZ0202",
            "[0].tls.tlsCertificates",
        ),
        (
            f"[{{{_PORT}, tls: {{mode: MUTUAL, credentialName: a, caCertificates: b,"
            " caCertCredentialName: c}}]",
            "MZ0202",
            "[0].tls.caCertCredentialName",
        ),
    ],
)
def test_mistakes_are_errors_at_their_field(servers: str, code: str, path: str) -> None:
    """A Gateway with one broken server does not come into force at all, as with Istio."""
    parsed = read_spec("Gateway", f"selector: {{a: b}}\nservers: {servers}")
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.servers{path}")]


def test_a_cipher_that_envoy_has_not_is_left_out() -> None:
    """It would refuse the whole listener; as with Istio the others hold."""
    ciphers = "cipherSuites: [NULL-MD5, AES128-SHA]"
    spec = f"selector: {{a: b}}\nservers: [{{{_PORT}, tls: {{mode: SIMPLE, credentialName: a, {ciphers}}}}}]"
    parsed = read_spec("Gateway", spec)
    assert [(code, path) for code, path, _ in told(parsed)] == [
        ("MZ0203", "spec.servers[0].tls.cipherSuites[0]")
    ]
    assert isinstance(parsed.object, Gateway)
    assert parsed.object.servers[0].tls is not None
    assert parsed.object.servers[0].tls.ciphers == ("AES128-SHA",)


def test_who_passes_tls_on_waits_for_no_certificate() -> None:
    """What is written of one is told of, and is not looked for."""
    for mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
        tls = f"tls: {{mode: {mode}, credentialName: a, caCertificates: /b}}"
        parsed = read_spec("Gateway", f"selector: {{a: b}}\nservers: [{{{_PORT}, {tls}}}]")
        assert [(code, path) for code, path, _ in told(parsed)] == [
            ("MZ0203", "spec.servers[0].tls.mode")
        ]
        assert isinstance(parsed.object, Gateway)
        assert parsed.object.servers[0].tls == ServerTls(mode=ServerTlsMode(mode))


def test_a_selector_is_labels() -> None:
    """Without wildcards."""
    spec = f"selector: {{a: '*'}}\nservers: [{{{_PLAIN}, hosts: [a.com]}}]"
    assert errors(read_spec("Gateway", spec)) == [("MZ0103", "spec.selector.a", 5)]
