"""TLS that proxies begin towards the outside: whom they believe, what they show, and where they have it from.

The server outside is a gateway that ends TLS and says whose certificate it was shown.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import Issued, TestAuthority, tls_secret
from tests.support.live_mesh import (
    LiveMesh,
    Reply,
    eventually,
    pod,
    pod_ip,
    router,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_URL: Final = "http://api.example.org/"
_AT: Final = service_ip(60)
_CA: Final = TestAuthority()
_OTHER: Final = TestAuthority("another")
_CLIENTS: Final = TestAuthority("clients")
_ANN: Final = _CLIENTS.issue("ann.example", "spiffe://clients.example/ann")
_BOB: Final = _CLIENTS.issue("bob.example", "spiffe://clients.example/bob")
_SERVER: Final = _CA.issue("api.example.org")

# A certificate is shown when a connection is made.
_ONCE: Final = "connectionPool: {http: {maxRequestsPerConnection: 1}}"

_OUTSIDE: Final = istio(
    "ServiceEntry",
    "api",
    f"""
    hosts: [api.example.org]
    addresses: [{_AT}]
    location: MESH_EXTERNAL
    resolution: STATIC
    ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8443}}]
    endpoints: [{{address: {pod_ip(80)}}}]
    """,
    namespace="test",
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Two clients, a gateway on the way out, and a gateway that stands for the outside."""
    files = {
        "gate.yaml": router("gate", 80, namespace="outside")
        + service("gate", 80, ("gate", 80), ports="https:443:8443", namespace="outside"),
        "egress.yaml": router("egress", 81, namespace="egress")
        + service("egress", 81, ("egress", 81), ports="http:80:8080", namespace="egress"),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": _OUTSIDE,
        "ann.yaml": pod("ann", 2),
        "bob.yaml": pod("bob", 3),
        "cert.yaml": tls_secret("api-cert", "outside", _SERVER, ca__crt=_CLIENTS.pem),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Certificates in files that proxies may read."""
    with TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        for file, text in (
            ("roots.pem", _CA.pem),
            ("other.pem", _OTHER.pem),
            ("ann.pem", _ANN.chain),
            ("ann.key", _ANN.key),
            ("revoked.pem", _CA.revoking([_SERVER])),
            ("none.pem", _CA.revoking([])),
        ):
            _write(path / file, text)
        yield path


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.chmod(0o644)
    draft.replace(path)


def _rule(tls: str, more: str = "", *, namespace: str = "test") -> str:
    spec = f"host: api.example.org\n{more}\ntrafficPolicy: {{{_ONCE}, tls: {{{tls}}}}}"
    return istio("DestinationRule", "api", spec, namespace=namespace)


def _server(mode: str) -> str:
    """Return the outside, which asks for certificates or not."""
    gateway = f"""
    selector: {{istio: gate}}
    servers:
    - port: {{number: 443, name: https, protocol: HTTPS}}
      hosts: ["*.example.org"]
      tls: {{mode: {mode}, credentialName: api-cert}}
    """
    routes = """
    hosts: ["*.example.org"]
    gateways: [outside/gate]
    http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
    """
    outside = istio("Gateway", "gate", gateway, namespace="outside")
    return outside + "---" + istio("VirtualService", "outside", routes, namespace="test")


def _call(mesh: LiveMesh, of: str = "ann") -> Reply:
    return mesh.call(of, _URL, at=_AT)


def _shown(reply: Reply) -> str:
    """Return what the outside says it was shown; empty where nothing."""
    said = str(reply.seen.get("headers", {}).get("x-forwarded-client-cert", ""))
    found = [part for part in said.split(";") if part.startswith("URI=spiffe://clients.example/")]
    return found[0].rpartition("/")[2] if found else ""


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        ("caCertificates: {}/roots.pem, sni: api.example.org", 200),
        ("caCertificates: {}/roots.pem", 200),
        ("caCertificates: {}/other.pem", 503),
        ("sni: api.example.org", 503),
        ("insecureSkipVerify: true", 200),
        ("caCertificates: {}/roots.pem, subjectAltNames: [api.example.org]", 200),
        ("caCertificates: {}/roots.pem, subjectAltNames: [www.example.org]", 503),
        ("caCertificates: {}/roots.pem, caCrl: {}/none.pem", 200),
        ("caCertificates: {}/roots.pem, caCrl: {}/revoked.pem", 503),
        ("caCertificates: {}/nowhere.pem", 503),
        ("caCertificates: {}/roots.pem, sni: www.example.com", 503),
    ],
)
def test_only_who_is_believed_is_spoken_to(
    mesh: LiveMesh, folder: Path, tls: str, status: int
) -> None:
    """By roots, names and what was revoked; the server is called by the request's host, or as is written."""
    with mesh.having(_rule(f"mode: SIMPLE, {tls.replace('{}', str(folder))}"), _server("SIMPLE")):
        assert _call(mesh).status == status


def test_a_file_that_is_not_there_is_told_of(mesh: LiveMesh, folder: Path) -> None:
    """On the rule that names it, with Envoy's own words."""

    def said() -> list[str]:
        found = mesh.object("DestinationRule", "test/api").get("diagnostics", [])
        return [one["message"] for one in found if one["code"] == "MZ0501"]

    with mesh.having(_rule(f"mode: SIMPLE, caCertificates: {folder}/nowhere.pem")):
        eventually(lambda: any("nowhere.pem" in text for text in said()), "it is told of")


def test_a_certificate_of_files_is_shown(mesh: LiveMesh, folder: Path) -> None:
    """Where the server asks for one; a new one is read as soon as it is there."""
    files = f"clientCertificate: {folder}/ann.pem, privateKey: {folder}/ann.key"
    rule = _rule(f"mode: MUTUAL, {files}, caCertificates: {folder}/roots.pem")
    with mesh.having(rule, _server("MUTUAL")):
        assert (_call(mesh).status, _shown(_call(mesh))) == (200, "ann")
        _replace(folder, _BOB)
        eventually(lambda: _shown(_call(mesh)) == "bob", "the new certificate is shown")
        _replace(folder, _ANN)
    with mesh.having(_rule(f"mode: SIMPLE, caCertificates: {folder}/roots.pem"), _server("MUTUAL")):
        assert _call(mesh).status == 503


def _replace(folder: Path, issued: Issued) -> None:
    _write(folder / "ann.key", issued.key)
    _write(folder / "ann.pem", issued.chain)


def test_a_certificate_of_a_secret_is_shown_by_whom_a_rule_selects(mesh: LiveMesh) -> None:
    """A sidecar of the Secret's namespace; others go on in plain text, which the server does not take."""
    selected = "workloadSelector: {matchLabels: {app: ann}}"
    own = tls_secret("own", "test", _ANN, ca__crt=_CA.pem)
    with mesh.having(_rule("mode: MUTUAL, credentialName: own", selected), _server("MUTUAL"), own):
        assert _shown(_call(mesh)) == "ann"
        assert _call(mesh, "bob").status != 200
        renewed = tls_secret("own", "test", _BOB, ca__crt=_CA.pem)
        mesh.apply("having-2.yaml", renewed)
        eventually(lambda: _shown(_call(mesh)) == "bob", "the new certificate is shown")


def test_without_its_secret_a_cluster_leads_nowhere(mesh: LiveMesh) -> None:
    """It is not half of TLS that is spoken; and it begins as soon as the Secret is there."""
    selected = "workloadSelector: {matchLabels: {app: ann}}"
    with mesh.having(_rule("mode: SIMPLE, credentialName: own", selected), _server("SIMPLE")):
        assert _call(mesh).status == 503
        mesh.apply("own.yaml", tls_secret("own", "test", _ANN, ca__crt=_CA.pem))
        status = _call(mesh).status
        mesh.remove("own.yaml")
    assert status == 200


def test_a_gateway_on_the_way_out_begins_tls(mesh: LiveMesh) -> None:
    """Clients come to it in the mesh's own TLS; the certificate is of a Secret of its namespace."""
    way = istio(
        "Gateway",
        "egress",
        """
        selector: {istio: egress}
        servers:
        - port: {number: 80, name: https, protocol: HTTPS}
          hosts: [api.example.org]
          tls: {mode: ISTIO_MUTUAL}
        """,
        namespace="egress",
    )
    routes = istio(
        "VirtualService",
        "out",
        """
        hosts: [api.example.org]
        gateways: [mesh, egress/egress]
        http:
        - match: [{gateways: [mesh]}]
          route: [{destination: {host: egress.egress.svc.cluster.local, port: {number: 80}}}]
        - match: [{gateways: [egress/egress]}]
          route: [{destination: {host: api.example.org, port: {number: 80}}}]
        """,
        namespace="test",
    )
    rule = _rule("mode: MUTUAL, credentialName: out", namespace="egress")
    mutual = istio(
        "DestinationRule",
        "egress",
        "host: egress\ntrafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: api.example.org}}",
        namespace="egress",
    )
    own = tls_secret("out", "egress", _ANN, ca__crt=_CA.pem)
    with mesh.having(way, routes, rule, mutual, _server("MUTUAL"), own):
        reply = _call(mesh)
        assert (reply.status, _shown(reply)) == (200, "ann")
        assert mesh.stats("egress", "^cluster.outbound.80..api.example.org;?.ssl.handshake$")


def test_a_subset_with_certificates_of_its_own_comes_and_goes_under_load(
    mesh: LiveMesh, folder: Path
) -> None:
    """Routes wait for its cluster, and that for its secrets: no request meets either too early."""
    base = "host: api.example.org\ntrafficPolicy: {tls: {mode: SIMPLE, sni: api.example.org, insecureSkipVerify: true}}"
    tls = f"{{tls: {{mode: SIMPLE, sni: api.example.org, caCertificates: {folder}/roots.pem}}}}"
    subset = f"{base}\nsubsets: [{{name: own, trafficPolicy: {tls}}}]"
    named = "hosts: [api.example.org]\nhttp:\n- rewrite: {authority: api.example.org}\n"
    route = f"{named}  route: [{{destination: {{host: api.example.org}}}}]"
    to_subset = f"{named}  route: [{{destination: {{host: api.example.org, subset: own}}}}]"

    def rules(rule: str, routes: str) -> str:
        made = istio("DestinationRule", "api", rule, namespace="test")
        return f"{made}---{istio('VirtualService', 'api', routes, namespace='test')}"

    url = f"http://{_AT}/"  # an address of the host, which the load's clients call it by
    with mesh.having(_server("SIMPLE")):
        mesh.apply("rules.yaml", rules(base, route))
        with mesh.load("ann", url) as load:
            for _ in range(5):
                mesh.apply("rules.yaml", rules(subset, to_subset))
                mesh.apply("rules.yaml", rules(base, route))
        mesh.remove("rules.yaml")
    assert not load.failures
