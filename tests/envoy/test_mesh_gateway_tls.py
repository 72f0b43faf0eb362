"""TLS that ends at a gateway: whose certificate is shown, who is let in, and what is spoken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import TestAuthority, tls_secret
from tests.support.live_mesh import LiveMesh, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_OWN_HTTPS: Final = 8443
_CA: Final = TestAuthority()
_WEB: Final = _CA.issue("web.example.org", "*.example.org")


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
