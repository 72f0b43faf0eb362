"""TLS that ends at a gateway: whose certificate is shown, who is let in, and what is spoken."""

from __future__ import annotations

from dataclasses import replace
from ssl import TLSVersion
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import TestAuthority, secret, tls_secret
from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import LiveMesh, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor, request

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_OWN_HTTPS: Final = 8443
_CA: Final = TestAuthority()
_WEB: Final = _CA.issue("web.example.org", "*.example.org")
# Clients' certificates are of another authority than the gateway's.
_CLIENTS: Final = TestAuthority("clients")
_ANN: Final = _CLIENTS.issue("ann.example", "spiffe://clients.example/ann")
_BOB: Final = _CLIENTS.issue("bob.example")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway in a namespace of its own, and two strict services behind it."""
    files = {
        "gate.yaml": router("gate", 80, namespace="ingress")
        + service(
            "gate", 80, ("gate", 80), ports="https:443:8443 http:80:8080", namespace="ingress"
        ),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "strict.yaml": istio(
            "PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test"
        ),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _server(hosts: str, tls: str, *, name: str = "https", protocol: str = "HTTPS") -> str:
    return f"{{port: {{number: 443, name: {name}, protocol: {protocol}}}, hosts: [{hosts}], tls: {{{tls}}}}}"


def _gateway(*servers: str, name: str = "gate") -> str:
    lines = "\n".join(f"  - {server}" for server in servers)
    spec = f"selector: {{istio: gate}}\nservers:\n{lines}"
    return istio("Gateway", name, spec, namespace="ingress")


def _bound(to: str, hosts: str, *, part: str = "http", name: str = "", port: int = 80) -> str:
    rule = f"{{route: [{{destination: {{host: {to}, port: {{number: {port}}}}}}}]}}"
    spec = f"hosts: [{hosts}]\ngateways: [ingress/gate]\n{part}: [{rule}]"
    return istio("VirtualService", name or to, spec, namespace="test")


def _visitor(mesh: LiveMesh) -> Visitor:
    return Visitor(mesh=mesh, address=_GATE, port=_OWN_HTTPS, roots=_CA.pem)


_SIMPLE: Final = "mode: SIMPLE, credentialName: web-cert"


def test_a_server_shows_the_certificate_of_its_secret(mesh: LiveMesh) -> None:
    """And speaks HTTP/1.1 or HTTP/2, as the visitor prefers; behind it there is mutual TLS."""
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        _gateway(_server("web.example.org", _SIMPLE)),
        _bound("web", "web.example.org"),
    ):
        reply = _visitor(mesh).call("web.example.org", "/path")
        agreed = _visitor(mesh).shake_hands("web.example.org")
        second = replace(_visitor(mesh), protocols=("h2", "http/1.1")).shake_hands(
            "web.example.org"
        )
    assert (reply.status, reply.seen["path"]) == (200, "/path")
    assert reply.caller == "spiffe://cluster.local/ns/ingress/sa/gate"
    assert reply.seen["headers"]["x-forwarded-proto"] == "https"
    assert (agreed.certificate_hash, agreed.protocol, agreed.version) == (
        _WEB.hash,
        "http/1.1",
        "TLSv1.3",
    )
    assert second.protocol == "h2"


def test_each_server_shows_its_own_certificate(mesh: LiveMesh) -> None:
    """By the name that the visitor asks for, of several Gateways on one port; other names get no answer."""
    api = _CA.issue("api.example.org")
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        secret("api-cert", "ingress", cert=api.chain, key=api.key),
        _gateway(_server("web.example.org", _SIMPLE)),
        _gateway(
            _server("api.example.org", "mode: SIMPLE, credentialName: api-cert"), name="second"
        ),
        _bound("web", "web.example.org"),
        istio(
            "VirtualService",
            "api",
            "hosts: [api.example.org]\ngateways: [ingress/second]\n"
            "http: [{route: [{destination: {host: api, port: {number: 80}}}]}]",
            namespace="test",
        ),
    ):
        visitor = _visitor(mesh)
        replies = [visitor.call(f"{name}.example.org") for name in ("web", "api", "else")]
        shown = visitor.shake_hands("api.example.org").certificate_hash
        with visitor.connected("web.example.org") as made:
            lost = request(made, "api.example.org")
    assert [reply.seen.get("service", "") for reply in replies] == ["web", "api", ""]
    assert replies[2].failure
    assert shown == api.hash
    assert lost.status == 404


def test_a_visitor_shows_a_certificate(mesh: LiveMesh) -> None:
    """One of the clients' authority; what it says reaches the application, whatever the visitor claims."""
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB, ca__crt=_CLIENTS.pem),
        _gateway(_server("web.example.org", "mode: MUTUAL, credentialName: web-cert")),
        _bound("web", "web.example.org"),
    ):
        visitor = _visitor(mesh)
        claim = {"X-Forwarded-Client-Cert": "URI=spiffe://clients.example/root"}
        known = replace(visitor, shows=_ANN).call("web.example.org", headers=claim)
        others = [replace(visitor, shows=shown).call("web.example.org") for shown in (None, _WEB)]
    said = known.seen["headers"]["x-forwarded-client-cert"]
    assert known.status == 200
    assert "URI=spiffe://clients.example/ann" in said
    assert "clients.example/root" not in said
    assert [(reply.status, bool(reply.failure)) for reply in others] == [(0, True)] * 2


def test_a_visitor_may_show_a_certificate(mesh: LiveMesh) -> None:
    """Without one it is let in; with one that is nobody's it is not."""
    roots = secret("web-cert-cacert", "ingress", ca__crt=_CLIENTS.pem)
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB) + roots,
        _gateway(_server("web.example.org", "mode: OPTIONAL_MUTUAL, credentialName: web-cert")),
        _bound("web", "web.example.org"),
    ):
        visitor = _visitor(mesh)
        found = [
            replace(visitor, shows=shown).call("web.example.org") for shown in (None, _ANN, _WEB)
        ]
    assert [reply.status for reply in found] == [200, 200, 0]


@pytest.mark.parametrize(
    "wanted",
    [
        "subjectAltNames: [ann.example]",
        "subjectAltNames: ['spiffe://clients.example/ann']",
        f"verifyCertificateHash: [{_ANN.hash}]",
        f"verifyCertificateSpki: ['{_ANN.key_hash}']",
    ],
    ids=["dns_name", "identity", "hash", "key_hash"],  # the same in every process: keys are not
)
def test_of_visitors_some_are_let_in(mesh: LiveMesh, wanted: str) -> None:
    """By their names, or by the hash of their certificate or key."""
    tls = f"mode: MUTUAL, credentialName: web-cert, caCertCredentialName: clients, {wanted}"
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        secret("clients", "ingress", cacert=_CLIENTS.pem),
        _gateway(_server("web.example.org", tls)),
        _bound("web", "web.example.org"),
    ):
        visitor = _visitor(mesh)
        found = [replace(visitor, shows=shown).call("web.example.org") for shown in (_ANN, _BOB)]
    assert [reply.status for reply in found] == [200, 0]


def test_certificates_of_anybody_may_do(mesh: LiveMesh) -> None:
    """``insecureSkipVerify`` asks for one, and believes it."""
    tls = "mode: MUTUAL, credentialName: web-cert, insecureSkipVerify: true"
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB, ca__crt=_CLIENTS.pem),
        _gateway(_server("web.example.org", tls)),
        _bound("web", "web.example.org"),
    ):
        visitor = _visitor(mesh)
        found = [replace(visitor, shows=shown).call("web.example.org") for shown in (_WEB, None)]
    assert [reply.status for reply in found] == [200, 0]


def test_what_is_revoked_is_not_let_in(mesh: LiveMesh) -> None:
    """As the Secret's list says; other visitors are."""
    revoked = _CLIENTS.revoking([_BOB])
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB, ca__crt=_CLIENTS.pem, ca__crl=revoked),
        _gateway(_server("web.example.org", "mode: MUTUAL, credentialName: web-cert")),
        _bound("web", "web.example.org"),
    ):
        visitor = _visitor(mesh)
        found = [replace(visitor, shows=shown).call("web.example.org") for shown in (_ANN, _BOB)]
    assert [reply.status for reply in found] == [200, 0]


def test_versions_and_ciphers_are_what_the_server_says(mesh: LiveMesh) -> None:
    """TLS 1.2 to 1.3 by default; a visitor that cannot agree gets nothing."""
    names = ("old", "new", "one")
    servers = (
        _server("old.example.org", f"{_SIMPLE}, maxProtocolVersion: TLSV1_2", name="old"),
        _server("new.example.org", f"{_SIMPLE}, minProtocolVersion: TLSV1_3", name="new"),
        _server(
            "one.example.org",
            f"{_SIMPLE}, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384, ECDHE-RSA-AES128-SHA]",
            name="one",
        ),
    )
    with mesh.having(tls_secret("web-cert", "ingress", _WEB), _gateway(*servers)):
        second = replace(_visitor(mesh), versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2))
        any_version = [_visitor(mesh).shake_hands(f"{name}.example.org") for name in names]
        found = [second.shake_hands(f"{name}.example.org") for name in names]
        weak = replace(second, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        others = [bool(weak.shake_hands(f"{name}.example.org").failure) for name in names]
    assert [hands.version for hands in any_version] == ["TLSv1.2", "TLSv1.3", "TLSv1.3"]
    assert [hands.version for hands in found] == ["TLSv1.2", "", "TLSv1.2"]
    assert found[2].cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert others == [False, True, True]


def test_the_mesh_says_what_servers_leave_open(mesh: LiveMesh) -> None:
    """``tlsDefaults``: each of versions and ciphers, where a server does not say it itself."""
    config = mesh_config("tlsDefaults: {minProtocolVersion: TLSV1_3}", "istio")
    servers = (
        _server("open.example.org", _SIMPLE, name="open"),
        _server("own.example.org", f"{_SIMPLE}, minProtocolVersion: TLSV1_2", name="own"),
    )
    found = []
    with mesh.having(tls_secret("web-cert", "ingress", _WEB), _gateway(*servers), config):
        second = replace(_visitor(mesh), versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2))
        found += [second.shake_hands(f"{name}.example.org").version for name in ("open", "own")]
    weaker = config.replace(
        "minProtocolVersion: TLSV1_3", "cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384]"
    )
    with mesh.having(tls_secret("web-cert", "ingress", _WEB), _gateway(servers[0]), weaker):
        found.append(second.shake_hands("open.example.org").cipher)
    assert found == ["", "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"]


def test_routes_are_called_by_the_server(mesh: LiveMesh) -> None:
    """By the name of its port: Envoy counts what it is told of them under that."""
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        _gateway(_server("web.example.org", _SIMPLE, name="https-shop")),
        _bound("web", "web.example.org"),
    ):
        assert _visitor(mesh).call("web.example.org").status == 200
        found = mesh.stats("gate", r"rds\.https\.443\.https-shop\.gate\.ingress\.update_success$")
    assert sum(found.values()) >= 1


def test_two_certificates_of_a_server(mesh: LiveMesh) -> None:
    """Each visitor is shown the one whose signature it knows."""
    other = _CA.issue("web.example.org", with_rsa=True)
    tls = "mode: SIMPLE, credentialNames: [web-cert, web-rsa]"
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        tls_secret("web-rsa", "ingress", other),
        _gateway(_server("web.example.org", tls)),
    ):
        second = replace(_visitor(mesh), versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2))
        found = [
            replace(second, ciphers=cipher).shake_hands("web.example.org").certificate_hash
            for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256")
        ]
    assert found == [other.hash, _WEB.hash]


def test_bytes_come_in_over_tls(mesh: LiveMesh) -> None:
    """A server of protocol TLS ends it, and what is inside goes where the rule of ``tcp`` says."""
    with mesh.having(
        tls_secret("web-cert", "ingress", _WEB),
        _gateway(_server("web.example.org", _SIMPLE, protocol="TLS")),
        _bound("web", "web.example.org", part="tcp", port=9000),
    ):
        visitor = replace(_visitor(mesh), protocols=())
        assert visitor.say("web.example.org", b"hello\n").startswith(b"web:")
        assert visitor.say("else.example.org", b"hello\n") == b""


def test_a_missing_secret_costs_its_own_server_only(mesh: LiveMesh) -> None:
    """Which ends, after a while, when the Secret goes, and begins again at once when it comes."""
    servers = (
        _server("web.example.org", _SIMPLE),
        _server("api.example.org", "mode: SIMPLE, credentialName: api-cert", name="api"),
    )
    web, api = (_bound(name, f"{name}.example.org") for name in ("web", "api"))
    names = ("web.example.org", "api.example.org")
    cert = tls_secret("web-cert", "ingress", _WEB)
    other = tls_secret("api-cert", "ingress", _CA.issue("api.example.org"))
    mesh.write("api-cert.yaml", other)
    with mesh.having(cert, _gateway(*servers), web, api):
        visitor = _visitor(mesh)
        having = [visitor.call(name).status for name in names]
        mesh.remove("api-cert.yaml")
        mesh.notice()
        going = [visitor.call(name).status for name in names]
        codes = [one["code"] for one in mesh.object("Gateway", "ingress/gate")["diagnostics"]]
        mesh.settle()
        without = [visitor.call(name).status for name in names]
        mesh.apply("api-cert.yaml", other)
        again = [visitor.call(name).status for name in names]
    mesh.remove("api-cert.yaml")
    mesh.settle()
    assert codes == ["MZ0320"]
    assert (having, going, without, again) == ([200, 200], [200, 200], [200, 0], [200, 200])
