"""Bytes that are not HTTP, as connections meet them: by endpoint, by range, by server name."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    ANY_PORT,
    TCP_PORT,
    UNDECLARED_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_STRICT: Final = istio("PeerAuthentication", "strict", "mtls: {mode: STRICT}", namespace="test")
_RANGE: Final = "10.77.0.0/16"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a headless service of two pods with ports of every sort, and two pods without one."""
    files = {
        "db.yaml": pod("db-1", 11, app="db")
        + pod("db-2", 12, app="db")
        + service("db", 11, ("db-1", 11), ("db-2", 12), headless=True),
        "others.yaml": pod("ann", 2) + pod("left", 21) + pod("right", 22),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


@pytest.mark.parametrize("port", [TCP_PORT, ANY_PORT])
@pytest.mark.parametrize("number", [11, 12])
def test_a_headless_pod_is_reached_with_mutual_tls(mesh: LiveMesh, port: int, number: int) -> None:
    """Bytes of declared and undeclared ports use the cluster of the service, so STRICT lets them in."""
    assert mesh.tcp("ann", pod_ip(number), port)
    with mesh.having(_STRICT):
        eventually(lambda: mesh.tcp("ann", pod_ip(number), port), "mutual TLS on the headless port")


def _entry(name: str, address: str, protocol: str, endpoint: int, port: int = TCP_PORT) -> str:
    return istio(
        "ServiceEntry",
        name,
        f"""
        hosts: [{name}.example.com]
        addresses: [{address}]
        resolution: STATIC
        ports: [{{number: {port}, name: p, protocol: {protocol}}}]
        endpoints: [{{address: {pod_ip(endpoint)}, ports: {{p: {TCP_PORT}}}}}]
        """,
        namespace="test",
    )


def test_a_range_takes_its_own_connections_alone(mesh: LiveMesh) -> None:
    """An address in the range goes to the entry's endpoint; the port's other connections pass through."""
    with mesh.having(_entry("range", _RANGE, "TCP", 21, UNDECLARED_PORT)):
        eventually(lambda: _says(mesh, "left", "10.77.1.1", UNDECLARED_PORT), "the range")
        assert _says(mesh, "right", pod_ip(22), UNDECLARED_PORT)


def _says(mesh: LiveMesh, name: str, address: str, port: int, data: bytes = b"hello\n") -> bool:
    """Tell whether it is an application of this name that answers."""
    return mesh.tcp("ann", address, port, data).startswith(name.encode())


def _hello(server_name: str) -> bytes:
    """Return what a client says first that asks for a server's name."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_tls_is_told_by_its_server_name(mesh: LiveMesh) -> None:
    """Two entries without addresses on one port: each gets what asks for it."""
    left, right, neither = (_hello(f"{name}.example.com") for name in ("left", "right", "other"))
    with mesh.having(_entry("left", "", "TLS", 21, 8443), _entry("right", "", "TLS", 22, 8443)):
        eventually(lambda: _says(mesh, "left", "10.78.0.1", 8443, left), "the first name")
        eventually(lambda: _says(mesh, "right", "10.78.0.1", 8443, right), "the second name")
        assert not mesh.tcp("ann", pod_ip(21), 8443, neither)
