"""Sidecars as clients and callers meet them: what is seen, what is unknown, and what is served."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import TestAuthority
from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import (
    ANY_PORT,
    HTTP_PORT,
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_ADDRESSES: Final = {"web": service_ip(11), "api": service_ip(12), "outside": pod_ip(9)}


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients, one of which nothing is captured, services of two namespaces, a pod outside of the mesh."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api", 12, namespace="other")
        + service("api", 12, ("api", 12), namespace="other"),
        "clients.yaml": pod("ann", 2)
        + pod("bob", 3)
        + pod("free", 4, captured=False)
        + pod("outside", 9, sidecar=False),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _sidecar(spec: str, of: str = "ann") -> str:
    return istio(
        "Sidecar", of, f"workloadSelector: {{labels: {{app: {of}}}}}\n{spec}", namespace="test"
    )


def _get(mesh: LiveMesh, host: str, who: str = "ann", port: int = 80) -> int:
    """Return the status of a request by the full name of a host."""
    at = _ADDRESSES[host]
    name = {"web": "web.test", "api": "api.other"}.get(host, at)
    return mesh.call(who, f"http://{name}:{port}/", at=at).status


def _all(mesh: LiveMesh, who: str = "ann") -> list[int]:
    return [_get(mesh, "web", who), _get(mesh, "api", who), _get(mesh, "outside", who, HTTP_PORT)]


_CLOSED: Final = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"


def test_without_a_sidecar_everything_is_there(mesh: LiveMesh) -> None:
    """Services of all namespaces, and what nobody knows."""
    assert _all(mesh) == [200, 200, 200]


def test_registry_only_is_of_the_workload_that_it_selects(mesh: LiveMesh) -> None:
    """Unknown destinations end at the client; for others nothing changes."""
    with mesh.having(_sidecar(_CLOSED)):
        eventually(lambda: _get(mesh, "outside", port=HTTP_PORT) in (0, 502), "ann is shut in")
        assert _all(mesh)[:2] == [200, 200]
        assert not mesh.tcp("ann", pod_ip(9), TCP_PORT)
        assert _all(mesh, "bob") == [200, 200, 200]
    eventually(lambda: _all(mesh) == [200] * 3, "everything is there again")


def test_registry_only_is_of_the_mesh_where_its_config_says_so(mesh: LiveMesh) -> None:
    """By a ConfigMap; a Sidecar that allows all opens its own workload again."""
    config = mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "istio")
    with mesh.having(config, _sidecar("outboundTrafficPolicy: {mode: ALLOW_ANY}")):
        eventually(lambda: _get(mesh, "outside", "bob", HTTP_PORT) in (0, 502), "bob is shut in")
        assert _all(mesh, "bob")[:2] == [200, 200]
        assert _all(mesh) == [200, 200, 200]
    eventually(lambda: _all(mesh, "bob") == [200] * 3, "everything is there again")


def test_what_is_not_imported_is_unknown(mesh: LiveMesh) -> None:
    """With REGISTRY_ONLY it is refused, by HTTP with 502 and by TCP without an answer."""
    with mesh.having(_sidecar(f"egress: [{{hosts: ['./*']}}]\n{_CLOSED}")):
        eventually(lambda: _get(mesh, "api") == 502, "api is not there")
        assert _get(mesh, "web") == 200
        assert mesh.tcp("ann", service_ip(11), TCP_PORT)
        assert not mesh.tcp("ann", service_ip(12), TCP_PORT)
        assert "web.test.svc" in mesh.admin("ann", "/clusters")
        eventually(lambda: "api.other.svc" not in mesh.admin("ann", "/clusters"), "it is forgotten")
    eventually(lambda: _all(mesh) == [200] * 3, "everything is there again")


def test_what_is_not_imported_passes_through_where_all_may(mesh: LiveMesh) -> None:
    """A pod's own address is reached, as plain text."""
    with mesh.having(_sidecar("egress: [{hosts: ['~/*']}]")):
        eventually(lambda: "web.test.svc" not in mesh.admin("ann", "/clusters"), "nothing is there")
        reply = mesh.call("ann", f"http://web.test:{HTTP_PORT}/", at=pod_ip(11))
        assert (reply.status, reply.caller) == (200, "")
    eventually(lambda: _all(mesh) == [200] * 3, "everything is there again")


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_a_port_may_have_imports_of_its_own(mesh: LiveMesh, protocol: str) -> None:
    """On HTTP's port the other namespace alone, on all others one's own; services know what they speak."""
    spec = f"""
egress:
  - port: {{number: 80, protocol: {protocol}}}
    hosts: ["other/*"]
  - hosts: ["./*"]
{_CLOSED}
"""
    with mesh.having(_sidecar(spec)):
        eventually(lambda: _get(mesh, "web") == 502, "web is not there by HTTP")
        assert _get(mesh, "api") == 200
        assert mesh.tcp("ann", service_ip(11), TCP_PORT)
        assert not mesh.tcp("ann", service_ip(12), TCP_PORT)


def test_an_imported_route_brings_its_destination(mesh: LiveMesh) -> None:
    """The host itself is not there; requests that the route sends to it arrive."""
    destination = "{destination: {host: api.other.svc.cluster.local, port: {number: 80}}}"
    route = istio(
        "VirtualService",
        "web",
        f"hosts: [web]\nhttp: [{{route: [{destination}]}}]",
        namespace="test",
    )
    with mesh.having(route, _sidecar(f"egress: [{{hosts: ['./*']}}]\n{_CLOSED}")):
        eventually(lambda: _get(mesh, "api") == 502, "api is not there")
        reply = mesh.call("ann", "http://web.test/")
        assert (reply.status, reply.pod) == (200, "api")


def test_an_egress_proxy_gets_what_is_unknown(mesh: LiveMesh) -> None:
    """By HTTP and by TCP; it is imported by being named."""
    proxy = "egressProxy: {host: web.test.svc.cluster.local, port: {number: 80}}"
    spec = f"egress: [{{hosts: ['~/*']}}]\noutboundTrafficPolicy: {{mode: ALLOW_ANY, {proxy}}}"
    with mesh.having(_sidecar(spec)):
        url = f"http://nobody.example:{HTTP_PORT}/"
        eventually(
            lambda: mesh.call("ann", url, at=pod_ip(9)).pod == "web", "web gets what is unknown"
        )


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        (f"127.0.0.1:{TCP_PORT}", TCP_PORT),
        (f"0.0.0.0:{TCP_PORT}", TCP_PORT),
        ("", HTTP_PORT),
    ],
)
def test_ingress_says_where_requests_arrive(mesh: LiveMesh, endpoint: str, port: int) -> None:
    """On a port of loopback, on another port of the workload, or where they were going."""
    spec = f"""
ingress:
  - port: {{number: {HTTP_PORT}, protocol: HTTP}}
    defaultEndpoint: "{endpoint}"
"""
    with mesh.having(_sidecar(spec, of="web")):
        eventually(
            lambda: mesh.call("ann", "http://web.test/").seen.get("port") == port,
            f"requests arrive on port {port}",
        )
        assert mesh.call("ann", "http://web.test/").caller.endswith("/sa/ann")


def test_clients_may_call_the_proxy_themselves(mesh: LiveMesh) -> None:
    """On loopback, by HTTP and by bytes: with captureMode NONE; other ports are captured as ever."""
    spec = f"""
egress:
  - port: {{number: 80, protocol: HTTP}}
    captureMode: NONE
    bind: 127.0.0.3
    hosts: ["*/*"]
  - port: {{number: {TCP_PORT}, protocol: TCP}}
    captureMode: NONE
    hosts: ["test/web.test.svc.cluster.local"]
  - hosts: ["*/*"]
"""
    url = "http://%s/"
    with mesh.having(_sidecar(spec)):
        eventually(
            lambda: mesh.call("ann", url % "api.other", at="127.0.0.3").pod == "api",
            "the proxy listens on loopback",
        )
        assert mesh.call("ann", url % "web.test", at="127.0.0.3").caller.endswith("/sa/ann")
        assert mesh.tcp("ann", "127.0.0.1", TCP_PORT)
        reply = mesh.call("ann", f"http://web.test:{ANY_PORT}/", at=service_ip(11))
        assert reply.caller.endswith("/sa/ann")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that proxies, who are another user, can write to."""
    with TemporaryDirectory(prefix="mizzen-") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


def test_clients_may_call_by_a_socket(mesh: LiveMesh, open_folder: Path) -> None:
    """The Host header says which service and port is meant."""
    path = open_folder / "all.sock"
    spec = f"""
egress:
  - port: {{number: 0, protocol: HTTP, name: all}}
    bind: unix://{path}
    hosts: ["*/*"]
  - hosts: ["*/*"]
"""
    with mesh.having(_sidecar(spec)):
        eventually(lambda: "200 OK" in _by_socket(path, "web.test"), "the proxy listens there")
        assert '"pod": "api"' in _by_socket(path, "api.other:80")
        assert "503" in _by_socket(path, "web.test:81")


def _by_socket(path: Path, host: str) -> str:
    """Return what answers a request by a Unix socket; empty where nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.settimeout(5)
        try:
            made.connect(str(path))
            made.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: made.recv(1 << 16), b"")).decode()
        except OSError:
            return ""


def test_callers_may_call_the_proxy_themselves(mesh: LiveMesh) -> None:
    """On an address and port that nothing is captured for; the application is elsewhere."""
    spec = f"""
ingress:
  - port: {{number: 6060, protocol: HTTP}}
    bind: 127.0.0.1
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:{HTTP_PORT}
"""
    with mesh.having(_sidecar(spec, of="web")):
        eventually(
            lambda: mesh.call("web", "http://any.example:6060/", at="127.0.0.1").pod == "web",
            "the proxy listens there",
        )
        reply = mesh.call("web", "http://any.example:6060/", at="127.0.0.1")
        assert reply.headers["server"] == "istio-envoy"


def test_where_nothing_is_captured_the_proxy_is_called(mesh: LiveMesh) -> None:
    """By clients and by callers, though ``captureMode`` is not written; by mutual TLS like everything else."""
    spec = f"""
egress:
  - port: {{number: 80, protocol: HTTP}}
    hosts: ["*/*"]
ingress:
  - port: {{number: 6060, protocol: HTTP}}
    defaultEndpoint: 127.0.0.1:{HTTP_PORT}
"""
    free = service("free", 24, ("free", 4), ports="http:80:6060")
    with mesh.having(free, _sidecar(spec, of="free")):
        url = "http://web.test/"
        eventually(
            lambda: mesh.call("free", url, at="127.0.0.1").caller.endswith("/sa/free"),
            "the proxy listens for its own",
        )
        eventually(
            lambda: mesh.call("ann", "http://free.test/", at=service_ip(24)).pod == "free",
            "the proxy listens for callers",
        )
        reply = mesh.call("ann", "http://free.test/", at=service_ip(24))
        assert reply.caller.endswith("/sa/ann")
    eventually(lambda: mesh.call("free", url, at="127.0.0.1").status == 0, "nobody listens")


@pytest.mark.parametrize(
    "spec",
    [
        "inboundConnectionPool: {http: {http2MaxRequests: 1}}",
        f"ingress: [{{port: {{number: {HTTP_PORT}, protocol: HTTP}},"
        " connectionPool: {http: {http2MaxRequests: 1}}}]",
    ],
)
def test_what_comes_in_is_limited(mesh: LiveMesh, spec: str) -> None:
    """What is too much is refused by the server's own proxy, before the application is asked."""

    def _refused() -> int:
        replies = mesh.at_once("ann", "http://web.test/?delay=0.3", 4)
        return sum(reply.status == 503 for reply in replies)

    with mesh.having(_sidecar(spec, of="web")):
        eventually(lambda: _refused() == 3, "one request at a time")
    eventually(lambda: _refused() == 0, "the limit is lifted")


_CA: Final = TestAuthority()
_OUTSIDERS: Final = TestAuthority("outsiders")


@pytest.mark.parametrize(
    ("mode", "shown", "answers"),
    [
        ("SIMPLE", None, True),
        ("MUTUAL", None, False),
        ("MUTUAL", "client", True),
        ("MUTUAL", "stranger", False),
        ("OPTIONAL_MUTUAL", None, True),
        ("OPTIONAL_MUTUAL", "stranger", False),
    ],
)
def test_a_port_may_end_tls_of_its_own(
    mesh: LiveMesh, open_folder: Path, mode: str, shown: str | None, answers: bool
) -> None:
    """With a certificate from files, for callers outside of the mesh."""
    files = _certificates(open_folder)
    spec = f"""
ingress:
  - port: {{number: {HTTP_PORT}, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:{HTTP_PORT}
    tls:
      mode: {mode}
      serverCertificate: {open_folder}/server.pem
      privateKey: {open_folder}/server.key
      caCertificates: {open_folder}/roots.pem
"""
    plain = istio(
        "PeerAuthentication",
        "web",
        "selector: {matchLabels: {app: web}}\nmtls: {mode: DISABLE}",
        namespace="test",
    )
    pair = files.get(shown or "")
    with mesh.having(_sidecar(spec, of="web"), plain):
        eventually(
            lambda: ("200 OK" in _by_tls(mesh, pair)) is answers and _by_tls(mesh, files["client"]),
            f"{mode} with {shown} answers: {answers}",
        )


def _certificates(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Write certificates that proxies may read, and return those of clients."""
    pairs = {
        "server": _CA.issue("web.example"),
        "client": _CA.issue("client.example"),
        "stranger": _OUTSIDERS.issue("stranger.example"),
    }
    for name, pair in pairs.items():
        (folder / f"{name}.pem").write_text(pair.chain)
        (folder / f"{name}.key").write_text(pair.key)
    (folder / "roots.pem").write_text(_CA.pem)
    for path in folder.iterdir():
        path.chmod(0o644)
    return {name: (folder / f"{name}.pem", folder / f"{name}.key") for name in pairs}


def _by_tls(mesh: LiveMesh, pair: tuple[Path, Path] | None) -> str:
    """Return what answers a request over TLS to the pod itself; empty where nothing does."""
    context = ssl.create_default_context(cadata=_CA.pem)
    if pair is not None:
        context.load_cert_chain(*pair)
    try:
        with (
            mesh.connect("outside", (pod_ip(11), HTTP_PORT)) as plain,
            context.wrap_socket(plain, server_hostname="web.example") as made,
        ):
            made.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: made.recv(1 << 16), b"")).decode()
    except OSError:
        return ""


def test_it_is_told_on_whose_proxies_a_sidecar_is_live(mesh: LiveMesh) -> None:
    """Those for which it holds, though it only takes things away."""
    with mesh.having(_sidecar("egress: [{hosts: ['./*']}]")):

        def _standing() -> tuple[int, int]:
            told = mesh.object("Sidecar", "test/ann")["programmed"]
            return told["live"], told["of"]

        eventually(lambda: _standing() == (1, 1), "live on one of one proxies")
