"""What a gateway bears with of its clients: limits and times, who stands before it, and what a change costs them."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import TestAuthority, tls_secret
from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import HUB, LiveMesh, eventually, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor, request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.live_mesh import Reply

_GATE: Final = pod_ip(80)
_CA: Final = TestAuthority()
_HOST: Final = "web.example.org"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_MAX_STREAMS: Final = 3
_STREAM_WINDOW: Final = 4

Settings = dict[str, object]


def _gate(**config: object) -> str:
    """Return the gateway's pod, which says so of itself."""
    text = router("gate", 80, namespace="ingress")
    if not config:
        return text
    note = json.dumps(json.dumps(config))
    return text.replace("  labels:", f"  annotations: {{proxy.istio.io/config: {note}}}\n  labels:")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway with one plain port and one of TLS, and a service behind it."""
    gateway = """
selector: {istio: gate}
servers:
- {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
- {port: {number: 443, name: https, protocol: HTTPS}, hosts: [web.example.org], tls: {mode: SIMPLE, credentialName: cert}}
"""
    rules = """
hosts: ['*']
gateways: [ingress/gate]
http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
"""
    files = {
        "gate.yaml": _gate(),
        "ports.yaml": service(
            "gate", 80, ("gate", 80), ports="http:80:8080 https:443:8443", namespace="ingress"
        ),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "cert.yaml": tls_secret("cert", "ingress", _CA.issue("*.example.org")),
        "gateway.yaml": istio("Gateway", "gate", gateway, namespace="ingress"),
        "rules.yaml": istio("VirtualService", "rules", rules, namespace="test"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


@pytest.fixture(autouse=True)
def _as_it_was(mesh: LiveMesh) -> Iterator[None]:
    yield
    mesh.apply("gate.yaml", _gate())


def _with(mesh: LiveMesh, **settings: object) -> None:
    mesh.apply("gate.yaml", _gate(connectionSettings=settings))


def _before(mesh: LiveMesh, **topology: object) -> None:
    mesh.apply("gate.yaml", _gate(gatewayTopology=topology))


def _visit(mesh: LiveMesh, path: str = "/", headers: Mapping[str, str] | None = None) -> Reply:
    return mesh.call(HUB, f"http://{_HOST}:8080{path}", headers=headers, at=_GATE)


def test_proxies_before_the_gateway_are_believed(mesh: LiveMesh) -> None:
    """As many of them as are said to stand there; policies go by the address that they tell."""
    deny = istio(
        "AuthorizationPolicy",
        "nobody",
        "selector: {matchLabels: {istio: gate}}\naction: DENY\n"
        "rules: [{from: [{source: {remoteIpBlocks: [203.0.113.9]}}]}]",
        namespace="ingress",
    ).replace("networking.istio.io", "security.istio.io")
    told = {"X-Forwarded-For": "203.0.113.9"}
    with mesh.having(deny):
        found = [_visit(mesh, headers=told).status]
        _before(mesh, numTrustedProxies=1)
        eventually(lambda: _visit(mesh, headers=told).status == 403, "the proxy is believed")
        found.append(_visit(mesh).status)
    assert found == [200, 200]


def test_connections_say_first_who_they_are_of(mesh: LiveMesh) -> None:
    """By the PROXY protocol; whoever does not is not let in."""
    _before(mesh, proxyProtocol={})
    words = b"GET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n"
    head = b"PROXY TCP4 203.0.113.9 10.44.0.80 1234 8080\r\n"
    with mesh.connect(HUB, (_GATE, 8080)) as made:
        made.sendall(head)
        reply = request(made, _HOST)
    assert reply.seen["headers"]["x-forwarded-for"] == "203.0.113.9"
    assert mesh.tcp(HUB, _GATE, 8080, words) == b""


@pytest.mark.parametrize(
    ("mode", "is_passed"),
    [("ALWAYS_FORWARD_ONLY", True), ("SANITIZE", False), ("UNDEFINED", False)],
)
def test_certificates_that_a_proxy_tells_of(mesh: LiveMesh, mode: str, is_passed: bool) -> None:
    """Reach the application where the gateway is told to believe them."""
    _before(mesh, forwardClientCertDetails=mode)
    reply = _visit(mesh, headers={"X-Forwarded-Client-Cert": "URI=spiffe://elsewhere/ann"})
    said = reply.seen["headers"]["x-forwarded-client-cert"]
    assert ("spiffe://elsewhere/ann" in said) is is_passed


@pytest.mark.parametrize(
    ("settings", "headers", "path", "status", "seen"),
    [
        ({}, {"a_b": "c"}, "/", 200, ("a_b", "c")),
        ({"httpHeadersWithUnderscoresAction": "REJECT_REQUEST"}, {"a_b": "c"}, "/", 400, None),
        (
            {"httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_DROP_HEADER"},
            {"a_b": "c"},
            "/",
            200,
            ("a_b", None),
        ),
        ({}, {}, "//a//b", 200, ("path", "//a//b")),
        ({"httpMergeSlashes": True}, {}, "//a//b", 200, ("path", "/a/b")),
        ({"httpPathWithEscapedSlashesAction": "REJECT_REQUEST"}, {}, "/a%2Fb", 400, None),
        ({"httpPathWithEscapedSlashesAction": "UNESCAPE_AND_REDIRECT"}, {}, "/a%2Fb", 307, None),
        (
            {"httpPathWithEscapedSlashesAction": "UNESCAPE_AND_FORWARD"},
            {},
            "/a%2Fb",
            200,
            ("path", "/a/b"),
        ),
        ({"profile": "EDGE"}, {"a_b": "c"}, "/", 400, None),
        (
            {"profile": "EDGE", "httpHeadersWithUnderscoresAction": "ALLOW"},
            {"a_b": "c"},
            "//a",
            200,
            ("path", "/a"),
        ),
    ],
)
def test_requests_are_held_to_what_is_said(
    mesh: LiveMesh,
    settings: Settings,
    headers: Mapping[str, str],
    path: str,
    status: int,
    seen: tuple[str, str | None] | None,
) -> None:
    """The profile EDGE is Envoy's best practices; what is written goes before it."""
    _with(mesh, **settings)
    reply = _visit(mesh, path, headers)
    assert reply.status == status
    if seen is not None:
        all_seen = {**reply.seen["headers"], "path": reply.seen["path"]}
        assert all_seen.get(seen[0]) == seen[1]


def test_the_mesh_may_say_it_for_all_gateways(mesh: LiveMesh) -> None:
    """Of which one that says otherwise is told apart."""
    with mesh.having(mesh_config("defaultConfig: {connectionSettings: {profile: EDGE}}")):
        said = [_visit(mesh, headers={"a_b": "c"}).status]
        _with(mesh, httpHeadersWithUnderscoresAction="ALLOW")
        said.append(_visit(mesh, headers={"a_b": "c"}).status)
    assert said == [400, 200]


def test_idle_connections_are_closed(mesh: LiveMesh) -> None:
    """And requests that never come to their end are answered."""
    _with(mesh, httpIdleTimeout="200ms")
    with mesh.connect(HUB, (_GATE, 8080)) as made:
        reply = request(made, _HOST)
        closed = made.recv(1)
    assert (reply.status, closed) == (200, b"")
    beginning = b"GET / HTTP/1.1\r\nHost: web.example.org\r\n"
    _with(mesh, httpRequestHeadersTimeout="200ms")
    assert b"408 Request Timeout" in mesh.tcp(HUB, _GATE, 8080, beginning)
    body = b"POST / HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: 9\r\n\r\nabc"
    _with(mesh, httpRequestTimeout="200ms")
    assert b"408 Request Timeout" in mesh.tcp(HUB, _GATE, 8080, body)
    _with(mesh, httpStreamIdleTimeout="200ms")
    assert b"408 Request Timeout" in mesh.tcp(HUB, _GATE, 8080, body)


def test_http2_is_bounded(mesh: LiveMesh) -> None:
    """As the gateway's first words to a client say."""
    _with(mesh, httpMaxConcurrentStreams=7, http2InitialStreamWindowSize=70_000)
    with mesh.connect(HUB, (_GATE, 8080)) as made:
        made.sendall(_PREFACE)
        said = _settings(made.recv(9 + 6 * 20))
    assert (said[_MAX_STREAMS], said[_STREAM_WINDOW]) == (7, 70_000)


def _settings(frame: bytes) -> dict[int, int]:
    """Return what a SETTINGS frame says (RFC 9113, 6.5)."""
    length = int.from_bytes(frame[:3], "big")
    assert frame[3] == 4
    return dict(struct.unpack(">HI", frame[at : at + 6]) for at in range(9, 9 + length, 6))


def test_what_is_wrong_is_told_of_and_left_aside(mesh: LiveMesh) -> None:
    """The pod stays in the mesh."""
    _with(mesh, httpIdleTimeout="soon")
    found = mesh.object("Pod", "ingress/gate")["diagnostics"]
    assert [(one["code"], one["severity"]) for one in found] == [("MZ0203", "warning")]
    assert _visit(mesh).status == 200


def test_a_gateway_that_ends_sends_its_clients_away(mesh: LiveMesh) -> None:
    """Each is answered once more and told to connect anew; nothing is cut off."""
    leaving = _gate().replace("  labels:", "  deletionTimestamp: '2026-01-01T00:00:00Z'\n  labels:")
    with mesh.connect(HUB, (_GATE, 8080)) as made:
        before = request(made, _HOST)
        mesh.apply("gate.yaml", leaving)
        last = request(made, _HOST)
    again = _visit(mesh)
    assert [reply.status for reply in (before, last, again)] == [200, 200, 200]
    said = [reply.headers.get("connection", "") for reply in (before, last, again)]
    assert said == ["", "close", "close"]


def test_a_new_server_cuts_no_connection(mesh: LiveMesh) -> None:
    """Connections of the other servers of its port go on, while it comes and after it has gone."""
    server = """
selector: {istio: gate}
servers:
- {port: {number: 443, name: https, protocol: HTTPS}, hosts: [api.example.org], tls: {mode: SIMPLE, credentialName: cert}}
"""
    visitor = Visitor(mesh=mesh, address=_GATE, port=8443, roots=_CA.pem)
    with visitor.connected(_HOST) as made:
        replies = [request(made, _HOST)]
        with mesh.having(istio("Gateway", "second", server, namespace="ingress")):
            replies.append(request(made, _HOST))
            other = visitor.call("api.example.org").status
        replies.append(request(made, _HOST))
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert ["connection" in reply.headers for reply in replies] == [False, False, False]
    assert other == 404
