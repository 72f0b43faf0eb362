"""Mutual TLS as people meet it: who reaches whom in which mode, and whom the server believes to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    ANY_PORT,
    GREETING_PORT,
    HTTP_PORT,
    TCP_PORT,
    UNDECLARED_PORT,
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

_SERVERS: Final = {"strict": 11, "permissive": 12, "disable": 13, "mixed": 14}
_MODES: Final = {
    "strict": "mtls: {mode: STRICT}",
    "permissive": "mtls: {mode: PERMISSIVE}",
    "disable": "mtls: {mode: DISABLE}",
    # Port by port, by the pods' own numbers: the rest of the pod is strict.
    "mixed": f"""
        mtls: {{mode: STRICT}}
        portLevelMtls:
          {HTTP_PORT}: {{mode: PERMISSIVE}}
          {TCP_PORT}: {{mode: DISABLE}}
        """,
}
_ANN: Final = "spiffe://cluster.local/ns/test/sa/ann"


def _peer_authentication(server: str) -> str:
    spec = f"selector: {{matchLabels: {{app: {server}}}}}\n{_dedented(_MODES[server])}"
    return istio("PeerAuthentication", server, spec, namespace="test")


def _dedented(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[margin:] for line in lines)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a stranger without a sidecar, and a server in each mode."""
    files = {
        f"{name}.yaml": pod(name, number)
        + service(name, number, (name, number))
        + _peer_authentication(name)
        for name, number in _SERVERS.items()
    }
    files["clients.yaml"] = pod("ann", 2) + pod("stranger", 3, sidecar=False)
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


@pytest.mark.parametrize("server", _SERVERS)
def test_a_sidecar_reaches_every_server_over_http(mesh: LiveMesh, server: str) -> None:
    """Nobody has to say which mode a server is in: the client's Envoy finds out by the endpoint."""
    reply = mesh.call("ann", f"http://{server}/hello")
    assert (reply.status, reply.pod) == (200, server)


@pytest.mark.parametrize("server", ["strict", "permissive", "mixed"])
@pytest.mark.parametrize("port", [80, ANY_PORT])
def test_the_server_sees_who_called(mesh: LiveMesh, server: str, port: int) -> None:
    """On HTTP ports and on sniffed ones, it is the client's SPIFFE id, proved by its certificate."""
    assert mesh.call("ann", f"http://{server}:{port}/").caller == _ANN


def test_without_mutual_tls_the_server_sees_nobody(mesh: LiveMesh) -> None:
    """What a plaintext client claims to be is taken off."""
    claim = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/test/sa/root"}
    for caller, server in (("ann", "disable"), ("stranger", "disable"), ("stranger", "permissive")):
        at = f"http://{pod_ip(_SERVERS[server])}:{HTTP_PORT}/"
        reply = mesh.call(caller, f"http://{server}/" if caller == "ann" else at, headers=claim)
        assert (reply.pod, reply.caller) == (server, "")


def test_a_claim_beside_a_certificate_is_not_believed(mesh: LiveMesh) -> None:
    """The last identity in the header is the one that was proved."""
    claim = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/test/sa/root"}
    assert mesh.call("ann", "http://strict/", headers=claim).caller == _ANN


@pytest.mark.parametrize("server", _SERVERS)
@pytest.mark.parametrize("port", [TCP_PORT, ANY_PORT])
def test_a_sidecar_reaches_every_server_over_tcp(mesh: LiveMesh, server: str, port: int) -> None:
    """Bytes that are not HTTP pass in every mode, on TCP ports and on sniffed ones."""
    assert mesh.tcp("ann", server, port) == f"{server}: hello\n".encode()


@pytest.mark.parametrize("server", _SERVERS)
def test_a_server_may_speak_first(mesh: LiveMesh, server: str) -> None:
    """Nothing waits for the client's first bytes on a port that is declared as TCP."""
    assert mesh.tcp("ann", server, GREETING_PORT, b"") == f"220 {server}\r\n".encode()


@pytest.mark.parametrize("server", ["permissive", "disable"])
def test_a_stranger_reaches_who_takes_plaintext(mesh: LiveMesh, server: str) -> None:
    """HTTP, TCP and sniffed ports."""
    at = pod_ip(_SERVERS[server])
    assert mesh.call("stranger", f"http://{at}:{HTTP_PORT}/").pod == server
    assert mesh.call("stranger", f"http://{at}:{ANY_PORT}/").pod == server
    assert mesh.tcp("stranger", at, TCP_PORT) == f"{server}: hello\n".encode()
    assert mesh.tcp("stranger", at, ANY_PORT) == f"{server}: hello\n".encode()


def test_a_stranger_hears_a_server_that_speaks_first_where_tls_is_off(mesh: LiveMesh) -> None:
    """Under PERMISSIVE the client's first bytes are waited for, to see whether it is TLS (as in Istio)."""
    at = pod_ip(_SERVERS["disable"])
    assert mesh.tcp("stranger", at, GREETING_PORT, b"") == b"220 disable\r\n"


@pytest.mark.parametrize("port", [HTTP_PORT, TCP_PORT, ANY_PORT, GREETING_PORT, UNDECLARED_PORT])
def test_strict_refuses_a_stranger(mesh: LiveMesh, port: int) -> None:
    """On every port, whether a service has it or not."""
    at = pod_ip(_SERVERS["strict"])
    assert mesh.call("stranger", f"http://{at}:{port}/").status == 0
    assert mesh.tcp("stranger", at, port) == b""


def test_ports_have_modes_of_their_own(mesh: LiveMesh) -> None:
    """``portLevelMtls`` opens two ports of a strict pod and leaves the others closed."""
    at = pod_ip(_SERVERS["mixed"])
    assert mesh.call("stranger", f"http://{at}:{HTTP_PORT}/").pod == "mixed"
    assert mesh.tcp("stranger", at, TCP_PORT) == b"mixed: hello\n"
    assert mesh.tcp("stranger", at, ANY_PORT) == b""
    assert mesh.tcp("stranger", at, UNDECLARED_PORT) == b""


def test_a_mode_is_of_whom_it_selects(mesh: LiveMesh) -> None:
    """Before that of its namespace, which goes before the mesh's."""
    strict = "mtls: {mode: STRICT}"
    everyone = [
        istio("PeerAuthentication", "default", strict, namespace=namespace)
        for namespace in ("test", "istio-system")
    ]
    with mesh.having(*everyone):
        found = [
            mesh.call("stranger", f"http://{pod_ip(number)}:{HTTP_PORT}/").pod
            for number in _SERVERS.values()
        ]
    assert found == ["", "permissive", "disable", "mixed"]


def test_a_port_that_no_service_has_may_have_a_mode_too(mesh: LiveMesh) -> None:
    """And leaves the others as they are."""
    at = pod_ip(_SERVERS["strict"])
    spec = f"""
        selector: {{matchLabels: {{app: strict}}}}
        mtls: {{mode: STRICT}}
        portLevelMtls: {{{UNDECLARED_PORT}: {{mode: DISABLE}}}}
        """
    with mesh.having(istio("PeerAuthentication", "a-first", spec, namespace="test")):
        eventually(
            lambda: mesh.tcp("stranger", at, UNDECLARED_PORT) == b"strict: hello\n",
            "the port is open",
        )
        assert mesh.tcp("stranger", at, TCP_PORT) == b""
    eventually(lambda: mesh.tcp("stranger", at, UNDECLARED_PORT) == b"", "it is closed again")


def test_a_permissive_port_that_no_service_has_takes_plaintext(mesh: LiveMesh) -> None:
    """What no service speaks of passes through the pod's Envoy to where it was going."""
    at = pod_ip(_SERVERS["permissive"])
    assert mesh.call("ann", f"http://{at}:{UNDECLARED_PORT}/").pod == "permissive"
    assert mesh.tcp("stranger", at, UNDECLARED_PORT) == b"permissive: hello\n"


@pytest.mark.parametrize(("server", "holds"), [("strict", False), ("permissive", True)])
def test_tls_switched_off_by_a_client_fails_where_it_is_demanded(
    mesh: LiveMesh, server: str, *, holds: bool
) -> None:
    """DestinationRule ``tls.mode: DISABLE`` towards STRICT is 503 (UC), as Istio documents it."""
    rule = f"""
        host: {server}
        trafficPolicy: {{tls: {{mode: DISABLE}}}}
        """
    with mesh.having(istio("DestinationRule", "plain", rule, namespace="test")):
        eventually(
            lambda: mesh.call("ann", f"http://{server}/").caller == "",
            "the changed cluster is warm",
        )
        reply = mesh.call("ann", f"http://{server}/")
        answered = mesh.tcp("ann", server, TCP_PORT)
    assert (reply.status, reply.pod) == ((200, server) if holds else (503, ""))
    assert bool(answered) is holds


def test_tls_demanded_by_a_client_fails_where_it_is_switched_off(mesh: LiveMesh) -> None:
    """DestinationRule ``tls.mode: ISTIO_MUTUAL`` does not look whether the server can."""
    text = """
        host: "*.test.svc.cluster.local"
        trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
        """
    with mesh.having(istio("DestinationRule", "mutual", text, namespace="test")):
        eventually(lambda: mesh.call("ann", "http://disable/").status == 503, "TLS is demanded")
        assert mesh.call("ann", "http://strict/").caller == _ANN
    eventually(lambda: mesh.call("ann", "http://disable/").status == 200, "the rule is gone")


@pytest.mark.parametrize(("account", "status"), [("strict", 200), ("permissive", 503)])
def test_a_server_has_to_be_who_it_is_said_to_be(mesh: LiveMesh, account: str, status: int) -> None:
    """A client's Envoy sends nothing to a certificate that is not among the service's accounts."""
    entry = istio(
        "ServiceEntry",
        "said",
        f"""
        hosts: [said.example.org]
        addresses: [{service_ip(50)}]
        location: MESH_INTERNAL
        resolution: STATIC
        ports: [{{name: http, number: 80, protocol: HTTP, targetPort: {HTTP_PORT}}}]
        endpoints:
          - address: {pod_ip(_SERVERS["strict"])}
            serviceAccount: {account}
            labels: {{security.istio.io/tlsMode: istio}}
        """,
        namespace="test",
    )
    with mesh.having(entry):
        assert mesh.call("ann", "http://said.example.org/", at=service_ip(50)).status == status


def test_a_mode_changes_while_it_is_used(mesh: LiveMesh) -> None:
    """The namespace's mode holds for pods without one of their own, from the moment it is in force."""
    at = f"http://{pod_ip(_SERVERS['permissive'])}:{HTTP_PORT}/"
    own = mesh.mesh.folder / "permissive.yaml"
    before = own.read_text(encoding="utf-8")
    with mesh.load("ann", "http://permissive/") as load:
        mesh.apply("permissive.yaml", before.replace("PERMISSIVE", "UNSET"))
        with mesh.having(
            istio("PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test")
        ):
            assert mesh.call("stranger", at).status == 0
            assert mesh.call("ann", "http://permissive/").caller == _ANN
        eventually(lambda: mesh.call("stranger", at).pod == "permissive", "plaintext is taken")
        mesh.apply("permissive.yaml", before)
    assert not load.failures
