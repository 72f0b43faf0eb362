"""A Sidecar is read as Istio reads it; what Istio refuses is refused at its field."""

from __future__ import annotations

import pytest

from mizzen.model.gateway import CertificateFiles, ServerTls, ServerTlsMode, TlsVersion
from mizzen.model.kube import Protocol
from mizzen.model.meta import Labels
from mizzen.model.sidecar import (
    Egress,
    EgressProxy,
    Import,
    Ingress,
    OutboundPolicy,
    Sidecar,
)
from mizzen.model.traffic import ConnectionPool
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


def test_a_sidecar_has_imports_ports_and_a_policy() -> None:
    """With all fields that are translated; ``.`` is its own namespace and ``~/*`` nothing."""
    found = value(read_manifest("sidecar.yaml")["Sidecar web"])
    assert isinstance(found, Sidecar)
    assert found.selector == Labels((("app", "web"),))
    assert found.egress == (
        Egress(
            port=9000,
            hosts=(Import("bank", "db.bank.svc.cluster.local"),),
            bind="127.0.0.2",
            captured=False,
        ),
        Egress(
            hosts=(
                Import("shop", "*"),
                Import("istio-system", "*"),
                Import("bank", "*", excluded=True),
            )
        ),
    )
    pool = ConnectionPool(max_connections=5, max_retries=2)
    assert found.ingress == (
        Ingress(
            port=8080,
            protocol=Protocol.HTTP,
            endpoint="127.0.0.1:9090",
            free_bind="0.0.0.0",
            connection_pool=pool,
        ),
        Ingress(port=8081, protocol=Protocol.TCP, own_port=9091),
        Ingress(port=8082, protocol=Protocol.TCP, endpoint="unix:///var/run/app", bind="127.0.0.1"),
        Ingress(
            port=8443,
            protocol=Protocol.HTTPS,
            tls=ServerTls(
                mode=ServerTlsMode.MUTUAL,
                files=(CertificateFiles(certificate="/cert", key="/key"),),
                ca_file="/ca",
                crl_file="/crl",
                key_hashes=("a",),
                certificate_hashes=("b",),
                min_version=TlsVersion.V1_2,
                max_version=TlsVersion.V1_3,
                ciphers=("ECDHE-RSA-AES256-GCM-SHA384",),
                insecure_skip_verify=True,
            ),
        ),
    )
    assert found.inbound_pool == ConnectionPool(http2_max_requests=7)
    proxy = EgressProxy(host="egress.shop.svc.cluster.local", subset="v1", port=80)
    assert found.outbound == OutboundPolicy(registry_only=False, egress_proxy=proxy)


def test_what_is_not_translated_is_told_of() -> None:
    """Names resolved on the way."""
    parsed = read_manifest("sidecar_later.yaml")["Sidecar later"]
    assert isinstance(parsed.object, Sidecar)
    assert [path for _, path, _ in told(parsed)] == [
        "spec.outboundTrafficPolicy.mode",
    ]


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("", ("", None)),
        ("127.0.0.1:80", ("127.0.0.1:80", None)),
        (":80", ("127.0.0.1:80", None)),
        ("0.0.0.0:80", ("", 80)),
        ("[::1]:80", ("[::1]:80", None)),
        ("[::]:80", ("", 80)),
        ("unix:///a", ("unix:///a", None)),
    ],
)
def test_an_endpoint_is_an_address_or_a_port_of_the_workload(
    endpoint: str, expected: tuple[str, int | None]
) -> None:
    """Every form that Istio takes."""
    spec = f"ingress: [{{port: {{number: 80}}, defaultEndpoint: '{endpoint}'}}]"
    found = value(read_spec("Sidecar", spec))
    assert isinstance(found, Sidecar)
    assert (found.ingress[0].endpoint, found.ingress[0].own_port) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "egress: [{hosts: ['*/*']}]",
        "egress: [{hosts: ['./*', '~/*', 'a/b.c', '*/*.b.c', 'b/*', '~a/b.c', '~*/b.c']}]",
        "egress: [{port: {number: 80}, hosts: ['*/*']}, {hosts: ['*/*']}]",
        "egress: [{port: {number: 80, protocol: http}, hosts: ['*/*']}]",
        "ingress: [{port: {number: 80}}]",
        "ingress: [{port: {number: 80, protocol: GRPC-WEB}, defaultEndpoint: '[::1]:1'}]",
        "ingress: [{port: {number: 80}}, {port: {number: 81}}]",
        "outboundTrafficPolicy: {}",
        "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
        "outboundTrafficPolicy: {mode: ALLOW_ANY}",
        "inboundConnectionPool: {tcp: {maxConnections: 1}}",
        "{workloadSelector: {labels: {a: b}}, egress: [{hosts: ['*/*']}]}",
    ],
)
def test_nothing_is_said_of_a_sound_sidecar(spec: str) -> None:
    """Each of these is in force as it is written."""
    assert isinstance(value(read_spec("Sidecar", spec)), Sidecar)


_BOUND = "ingress: [{port: {number: 80}, %scaptureMode: NONE, defaultEndpoint: '%s'}]"
_TLS = "ingress: [{port: {number: 80, protocol: HTTPS}, tls: {%s}}]"
_INGRESS = "ingress: [{port: {number: 80}, defaultEndpoint: '%s'}]"
_HOSTS = "egress: [{hosts: ['%s']}]"


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("{}", "MZ0104", ""),
        ("workloadSelector: {labels: {a: b}}", "MZ0104", ""),
        (
            "{workloadSelector: {labels: {a: 'b*'}}, egress: [{hosts: ['*/*']}]}",
            "MZ0103",
            "workloadSelector.labels.a",
        ),
        ("egress: [{}]", "MZ0104", "egress[0].hosts"),
        ("egress: [{port: {number: 70000}, hosts: ['*/*']}]", "MZ0103", "egress[0].port.number"),
        ("ingress: [{port: {number: -1}}]", "MZ0103", "ingress[0].port.number"),
        (
            "ingress: [{port: {number: 80, protocol: X}}]",
            "MZ0103",
            "ingress[0].port.protocol",
        ),
        (
            "ingress: [{port: {number: 80, targetPort: 1}}]",
            "MZ0103",
            "ingress[0].port.targetPort",
        ),
        (
            "ingress: [{port: {number: 80}, captureMode: NONE}]",
            "MZ0104",
            "ingress[0].defaultEndpoint",
        ),
        (_BOUND % ("", "127.0.0.1:80"), "MZ0202", "ingress[0].defaultEndpoint"),
        (_BOUND % ("bind: 127.0.0.1, ", ":80"), "MZ0202", "ingress[0].defaultEndpoint"),
        (_BOUND % ("", "0.0.0.0:81"), "MZ0202", "ingress[0].defaultEndpoint"),
        (_TLS % "mode: SIMPLE, privateKey: /k", "MZ0104", "ingress[0].tls.serverCertificate"),
        (_TLS % "mode: SIMPLE, serverCertificate: /c", "MZ0104", "ingress[0].tls.privateKey"),
        (
            _TLS % "mode: MUTUAL, serverCertificate: /c, privateKey: /k",
            "MZ0104",
            "ingress[0].tls.caCertificates",
        ),
        (_TLS % "httpsRedirect: true", "MZ0103", "ingress[0].tls.httpsRedirect"),
        (_TLS % "credentialNames: [a]", "MZ0103", "ingress[0].tls.credentialNames"),
        (_TLS % "tlsCertificates: [{}]", "MZ0103", "ingress[0].tls.tlsCertificates"),
        (_TLS % "subjectAltNames: [a]", "MZ0103", "ingress[0].tls.subjectAltNames"),
        (
            "inboundConnectionPool: {http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}",
            "MZ0202",
            "inboundConnectionPool.http.useClientProtocol",
        ),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {port: {number: 80}}}",
            "MZ0104",
            "outboundTrafficPolicy.egressProxy.host",
        ),
    ],
)
def test_mistakes_of_a_sidecar_are_errors(spec: str, code: str, path: str) -> None:
    """At their field, and the Sidecar is not in force."""
    parsed = read_spec("Sidecar", spec)
    assert parsed.object is None
    found = [(each, where) for each, where, _ in errors(parsed)]
    assert found == [(code, f"spec.{path}" if path else "spec")]


def test_listening_for_oneself_is_read() -> None:
    """An address that is not written is loopback for clients of one's own, every address for callers."""
    parsed = read_spec(
        "Sidecar",
        """
ingress:
- {port: {number: 80}, captureMode: NONE, defaultEndpoint: "127.0.0.1:81"}
- {port: {number: 81}, captureMode: NONE, bind: 127.0.0.1, defaultEndpoint: "unix:///a"}
egress:
- {port: {number: 80}, captureMode: NONE, hosts: ["*/*"]}
- {port: {}, bind: "unix:///b", hosts: ["*/*"]}
""",
    )
    assert isinstance(parsed.object, Sidecar)
    assert [each.bind for each in parsed.object.ingress] == ["0.0.0.0", "127.0.0.1"]
    assert [each.address for each in parsed.object.egress] == ["127.0.0.1", "unix:///b"]
    assert [each.is_socket for each in parsed.object.egress] == [False, True]


@pytest.mark.parametrize("more", ["", ", captureMode: IPTABLES, defaultEndpoint: '127.0.0.1:81'"])
def test_the_address_of_a_captured_port_is_of_no_use(more: str) -> None:
    """Connections come to the address that they went to."""
    parsed = read_spec("Sidecar", f"ingress: [{{port: {{number: 80}}, bind: 10.0.0.1{more}}}]")
    assert isinstance(parsed.object, Sidecar)
    assert [path for _, path, _ in told(parsed)] == ["spec.ingress[0].bind"]
    (port,) = parsed.object.ingress
    assert (port.bind, port.free_bind) == ("", "")


@pytest.mark.parametrize(
    ("entry", "bind"),
    [
        ("defaultEndpoint: '127.0.0.1:81'", "0.0.0.0"),
        ("defaultEndpoint: '127.0.0.1:81', bind: 10.0.0.1", "10.0.0.1"),
        ("defaultEndpoint: 'unix:///run/app'", "0.0.0.0"),
        ("captureMode: IPTABLES, defaultEndpoint: '127.0.0.1:81'", ""),
        ("defaultEndpoint: '127.0.0.1:80'", ""),
        ("defaultEndpoint: '0.0.0.0:81'", ""),
        ("connectionPool: {tcp: {maxConnections: 1}}", ""),
    ],
)
def test_a_port_may_be_bound_where_nothing_is_captured(entry: str, bind: str) -> None:
    """Unless its connections would come back to the proxy, or it is said to be captured."""
    parsed = read_spec("Sidecar", f"ingress: [{{port: {{number: 80}}, {entry}}}]")
    found = value(parsed)
    assert isinstance(found, Sidecar)
    assert (found.ingress[0].bind, found.ingress[0].free_bind) == ("", bind)
