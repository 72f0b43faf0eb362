"""Certificates are replaced, the control plane dies and comes back, and the mesh does not notice."""

from __future__ import annotations

import json
import re
import signal
import socket
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.render.control_plane import SvidOverTls
from mizzen_certs import Authority, FileStore, SystemClock
from mizzen_cli.demo.mesh import SERVER_NAME, XDS
from mizzen_cli.demo.proxies import AskError, proxy_files, proxy_uid
from tests.support.live_mesh import TCP_PORT, LiveMesh, eventually, pod, service
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
_ANN: Final = "spiffe://cluster.local/ns/test/sa/ann"
# Counted when a stream ends; ``control_plane.connected_state`` is 1 again as soon as gRPC waits for a connection.
_STREAMS_LOST: Final = "^cluster_manager.cds.update_failure$"
# What an Envoy counts when it takes up a resource.
_TAKEN: Final = (
    "^(cluster_manager.cluster_(added|modified|removed|updated)"
    "|listener_manager.listener_(added|modified|removed|create_success)"
    "|http.*.(rds|vhds).*.config_reload"
    "|sds.*.update_success)$"
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients and a strict server."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "clients.yaml": pod("ann", 2) + pod("bob", 3) + pod("eve", 4),
        "strict.yaml": istio(
            "PeerAuthentication", "default", "mtls: {mode: STRICT}", namespace="test"
        ),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


# --- Certificates -----------------------------------------------------------------------------------


def _serials(mesh: LiveMesh) -> dict[str, str]:
    """Return the serial number of the certificate that each Envoy shows."""
    found = {}
    for spec in mesh.mesh.proxied:
        for entry in json.loads(mesh.admin(spec.name, "/certs"))["certificates"]:
            for chain in entry.get("cert_chain", ()):
                found[spec.name] = chain["serial_number"]
    return found


@contextmanager
def _conversation(mesh: LiveMesh) -> Iterator[list[bytes]]:
    """Keep a TCP connection through both Envoys open, and hear an answer before and after."""
    with mesh.connect("ann", (mesh.address("web"), TCP_PORT)) as made:
        heard = [_said(made)]
        yield heard
        heard.append(_said(made))


def _said(made: socket.socket) -> bytes:
    made.sendall(b"hello\n")
    return made.recv(100)


def test_certificates_are_replaced_under_load(mesh: LiveMesh) -> None:
    """Three times over: each Envoy has a new one, no request fails, no connection is dropped."""
    with mesh.load("ann", _WEB) as load, _conversation(mesh) as heard:
        for _ in range(3):
            before = _serials(mesh)
            status, body = mesh.mesh.ask_control_plane("/rotate", "POST")
            assert (status, json.loads(body)["replaced"] >= len(before)) == (200, True)
            eventually(
                lambda b=before: not b.items() & _serials(mesh).items(),  # type: ignore[misc]
                "every certificate is new",
            )
        mesh.settle()
    assert not load.failures
    assert heard == [b"web: hello\n"] * 2
    assert mesh.call("ann", _WEB).caller == _ANN


# --- Who may have what ------------------------------------------------------------------------------


@contextmanager
def _eve(
    mesh: LiveMesh, *, token: str = "", account: str = "eve", svid: SvidOverTls | None = None
) -> Iterator[None]:
    """Have eve's Envoy come with another token or certificate, claiming an account, while it lasts."""
    spec = mesh.pod("eve")
    root = (mesh.mesh.state / "root.pem").read_text(encoding="ascii")
    mesh.kill_proxy("eve")
    tokens = mesh.mesh._tokens  # the harness gives each pod its own
    own, tokens[spec.network] = tokens[spec.network], token
    try:
        mesh.mesh.start_proxy(replace(spec, service_account=account), root, svid)
        tokens[spec.network] = own
        yield
    finally:
        mesh.restart_proxy("eve")
        mesh.settle()


def _token(mesh: LiveMesh, account: str) -> str:
    return (mesh.mesh.state / "tokens" / f"test.{account}").read_text(encoding="ascii")


def _refused(mesh: LiveMesh) -> int:
    return mesh.counter("mizzen_xds_refused_streams_total")


def _has_nothing(mesh: LiveMesh) -> bool:
    """Tell whether eve's Envoy is up and has neither a certificate nor a cluster of the mesh."""
    try:
        return not mesh.identity("eve") and "outbound|" not in mesh.admin("eve", "/clusters")
    except AskError:
        return False


def test_nobody_gets_anothers_certificate(mesh: LiveMesh) -> None:
    """Bob's token with web's account in the node is refused: no certificate, no configuration."""
    before = _refused(mesh)
    with _eve(mesh, token=_token(mesh, "bob"), account="web"):
        eventually(lambda: _refused(mesh) > before, "the stream is refused")
        eventually(lambda: _has_nothing(mesh), "nothing was sent")
    assert mesh.identity("eve") == "spiffe://cluster.local/ns/test/sa/eve"


@pytest.mark.parametrize("token", ["nonsense", ""])
def test_a_token_of_nobody_is_refused(mesh: LiveMesh, token: str) -> None:
    """A made-up one, and none at all."""
    before = _refused(mesh)
    with _eve(mesh, token=token):
        eventually(lambda: _refused(mesh) > before, "the stream is refused")
        eventually(lambda: _has_nothing(mesh), "nothing was sent")


def test_who_claims_no_account_gets_its_own_certificate(mesh: LiveMesh) -> None:
    """Whatever pod it says it is: secrets go by what was proved."""
    with _eve(mesh, token=_token(mesh, "bob"), account=""):
        eventually(lambda: _identity_of_eve(mesh) != "", "a certificate")
        assert mesh.identity("eve") == "spiffe://cluster.local/ns/test/sa/bob"


def _identity_of_eve(mesh: LiveMesh) -> str:
    try:
        return mesh.identity("eve")
    except AskError:
        return ""


def _svid_files(mesh: LiveMesh, account: str) -> SvidOverTls:
    """Give eve's Envoy a certificate of an account in files, and return how it is used."""
    spec = mesh.pod("eve")
    store = FileStore(mesh.mesh.state / "ca")
    authority = Authority.open(store, DEFAULT_TRUST_DOMAIN, SystemClock())
    of = SpiffeId(trust_domain=DEFAULT_TRUST_DOMAIN, namespace="test", service_account=account)
    svid = authority.issue(of)
    folder = proxy_files(mesh.mesh.realm, spec).folder
    for name, content in (("chain.pem", svid.chain_pem), ("key.pem", svid.key.reveal())):
        file = folder / name
        file.write_bytes(content)
        mesh.mesh.realm.own(file, proxy_uid(mesh.mesh.realm))
    return SvidOverTls(
        endpoint=XDS,
        server_name=SERVER_NAME,
        root_file=str(folder / "root.pem"),
        certificate_file=str(folder / "chain.pem"),
        key_file=str(folder / "key.pem"),
    )


def test_a_certificate_is_as_good_as_a_token(mesh: LiveMesh) -> None:
    """An Envoy that shows an SVID in the handshake is served under that identity."""
    with _eve(mesh, svid=_svid_files(mesh, "eve")):
        eventually(lambda: _identity_of_eve(mesh) != "", "a certificate")
        mesh.settle()
        assert mesh.identity("eve") == "spiffe://cluster.local/ns/test/sa/eve"
        assert mesh.call("eve", _WEB).caller == "spiffe://cluster.local/ns/test/sa/eve"


def test_a_certificate_of_another_account_is_refused(mesh: LiveMesh) -> None:
    """The node says eve, the certificate says bob."""
    before = _refused(mesh)
    with _eve(mesh, svid=_svid_files(mesh, "bob")):
        eventually(lambda: _refused(mesh) > before, "the stream is refused")
        assert "outbound|" not in mesh.admin("eve", "/clusters")


# --- The control plane ------------------------------------------------------------------------------


def _counted(mesh: LiveMesh, pattern: str) -> dict[tuple[str, str], int]:
    """Return what each Envoy has counted since it started, by its pod and the counter."""
    return {
        (spec.name, stat): value
        for spec in mesh.mesh.proxied
        for stat, value in mesh.stats(spec.name, pattern).items()
    }


def _more(now: dict[tuple[str, str], int], before: dict[tuple[str, str], int]) -> set[str]:
    """Return the pods with a counter that has grown; those of what Envoy dropped late may be gone."""
    return {stat[0] for stat, value in now.items() if value > before.get(stat, 0)}


def test_a_killed_control_plane_is_not_missed(mesh: LiveMesh) -> None:
    """Killed and started again under load: nothing fails, and nothing is sent that had not changed."""
    with mesh.load("ann", _WEB) as load, _conversation(mesh) as heard:
        taken, streams = _counted(mesh, _TAKEN), _counted(mesh, _STREAMS_LOST)
        pods = {spec.name for spec in mesh.mesh.proxied}
        mesh.mesh.stop_control_plane(signal.SIGKILL)
        eventually(
            lambda: _more(_counted(mesh, _STREAMS_LOST), streams) == pods,
            "every Envoy has lost its stream",
        )
        assert mesh.call("ann", _WEB).caller == _ANN
        mesh.mesh.start_control_plane()
        mesh.settle()
        assert not _more(_counted(mesh, _TAKEN), taken)
        sent = mesh.counter("mizzen_xds_response_bytes_total")
    assert not load.failures
    assert heard == [b"web: hello\n"] * 2
    assert sent < 4_000


def test_what_was_edited_meanwhile_is_all_that_is_sent(mesh: LiveMesh) -> None:
    """A route saved while there was no control plane comes with the next one, alone."""
    route = istio(
        "VirtualService",
        "web",
        "hosts: [web]\nhttp: [{headers: {response: {set: {x-mark: new}}},"
        " route: [{destination: {host: web, port: {number: 80}}}]}]",
        namespace="test",
    )
    with mesh.load("ann", _WEB) as load:
        mesh.mesh.stop_control_plane(signal.SIGKILL)
        mesh.write("route.yaml", route)
        mesh.mesh.start_control_plane()
        mesh.settle()
        assert mesh.call("ann", _WEB).headers["x-mark"] == "new"
        sent = {
            of: mesh.counter("mizzen_xds_response_bytes_total", type=of)
            for of in ("Cluster", "ClusterLoadAssignment", "Listener", "Secret")
        }
        mesh.remove("route.yaml")
        mesh.settle()
    assert not load.failures
    assert max(sent.values()) < 1_000, sent


# --- Size -------------------------------------------------------------------------------------------


def _large_rule(subsets: int) -> str:
    """Return a rule that makes a cluster of each subset for each port, each with long lists in it."""
    names = [f"spiffe://cluster.local/ns/test/sa/somebody-{number:04}" for number in range(300)]
    listed = "\n".join(
        f"  - {{name: s{number}, labels: {{none: has}}}}" for number in range(subsets)
    )
    return istio(
        "DestinationRule",
        "large",
        f"host: api\ntrafficPolicy:\n  tls: {{mode: ISTIO_MUTUAL, subjectAltNames: {names}}}\n"
        f"subsets:\n{listed}",
        namespace="test",
    )


def test_a_large_configuration_arrives_in_parts(mesh: LiveMesh) -> None:
    """More clusters for each proxy than gRPC takes in one message, in responses of a megabyte."""
    subsets = 75

    def sent(what: str) -> float:
        return mesh.counter(f"mizzen_xds_{what}_total", type="Cluster") / len(mesh.mesh.proxied)

    with mesh.load("ann", _WEB) as load:
        mesh.apply("api.yaml", service("api", 13, ("web", 11)))
        before = sent("responses"), sent("response_bytes")
        mesh.apply("large.yaml", _large_rule(subsets))
        responses, size = sent("responses") - before[0], sent("response_bytes") - before[1]
        assert size > 4.2e6
        assert size / responses < 1.1e6
        found = set(re.findall(r"outbound\|80\|(s\d+)\|api", mesh.admin("ann", "/clusters")))
        assert len(found) == subsets
        mesh.restart_proxy("bob")
        mesh.settle()
        assert mesh.call("bob", _WEB).pod == "web"
        mesh.remove("large.yaml")
        mesh.remove("api.yaml")
        mesh.settle()
    assert not load.failures
