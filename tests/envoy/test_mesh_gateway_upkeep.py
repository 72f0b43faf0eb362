"""Certificates of gateways come and go while visitors are there: new ones, broken ones, and those of files."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from ssl import TLSVersion
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import Issued, TestAuthority, tls_secret
from tests.support.live_mesh import LiveMesh, eventually, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor, request

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_OWN_HTTPS: Final = 8443
_CA: Final = TestAuthority()
_HOST: Final = "web.example.org"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway in a namespace of its own, and a service behind it."""
    files = {
        "gate.yaml": router("gate", 80, namespace="ingress")
        + service("gate", 80, ("gate", 80), ports="https:443:8443", namespace="ingress"),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _server(host: str, tls: str, name: str) -> str:
    port = f"{{number: 443, name: {name}, protocol: HTTPS}}"
    return f"  - {{port: {port}, hosts: [{host}], tls: {{{tls}}}}}"


def _gateway(*servers: str) -> str:
    spec = "selector: {istio: gate}\nservers:\n" + "\n".join(servers)
    return istio("Gateway", "gate", spec, namespace="ingress")


_SIMPLE: Final = _server(_HOST, "mode: SIMPLE, credentialName: web-cert", "https")
_BOUND: Final = istio(
    "VirtualService",
    "web",
    "hosts: ['*']\ngateways: [ingress/gate]\n"
    "http: [{route: [{destination: {host: web, port: {number: 80}}}]}]",
    namespace="test",
)


def _visitor(mesh: LiveMesh) -> Visitor:
    return Visitor(mesh=mesh, address=_GATE, port=_OWN_HTTPS, roots=_CA.pem)


def _shows(visitor: Visitor, issued: Issued, host: str = _HOST) -> bool:
    return visitor.shake_hands(host).certificate_hash == issued.hash


def test_a_new_certificate_cuts_no_connection(mesh: LiveMesh) -> None:
    """Ten times under way: a connection of before lives on, new ones are shown the new one, all are answered."""
    mesh.write("cert.yaml", tls_secret("web-cert", "ingress", _CA.issue(_HOST)))
    visitor, failed = _visitor(mesh), []
    with mesh.having(_gateway(_SIMPLE), _BOUND), visitor.connected(_HOST) as kept:
        drained = mesh.stats("gate", r"^listener_manager\.listener_(modified|in_place_updated)$")
        for _ in range(10):
            issued = _CA.issue(_HOST)
            mesh.write("cert.yaml", tls_secret("web-cert", "ingress", issued))
            deadline = time.monotonic() + 10
            while not _shows(visitor, issued):
                assert time.monotonic() < deadline
                replies = [request(kept, _HOST), visitor.call(_HOST)]
                failed += [reply for reply in replies if reply.status != 200]
            failed += [reply for reply in [request(kept, _HOST)] if reply.status != 200]
        again = mesh.stats("gate", r"^listener_manager\.listener_(modified|in_place_updated)$")
    mesh.remove("cert.yaml")
    mesh.settle()
    assert failed == []
    assert again == drained


def test_a_broken_certificate_does_not_replace_a_good_one(mesh: LiveMesh) -> None:
    """A key of another certificate is refused by Envoy, which is told on Gateway and Secret; the last good one stays."""
    good, other, better = (_CA.issue(_HOST) for _ in range(3))
    broken = replace(good, chain=other.chain)
    mesh.write("cert.yaml", tls_secret("web-cert", "ingress", good))
    with mesh.having(_gateway(_SIMPLE), _BOUND):
        visitor = _visitor(mesh)
        assert _shows(visitor, good)
        mesh.write("cert.yaml", tls_secret("web-cert", "ingress", broken))
        eventually(lambda: _codes(mesh, "Gateway", "ingress/gate") == ["MZ0501"], "it is told of")
        said = _codes(mesh, "Secret", "ingress/web-cert")
        stays = _shows(visitor, good)
        mesh.apply("cert.yaml", tls_secret("web-cert", "ingress", better))
        mended = _shows(visitor, better)
        left = _codes(mesh, "Gateway", "ingress/gate")
    mesh.remove("cert.yaml")
    mesh.settle()
    assert said == ["MZ0501"]
    assert (stays, mended, left) == (True, True, [])


def test_a_broken_certificate_costs_its_own_server_only(mesh: LiveMesh) -> None:
    """Even where there never was a good one: the others of its port are up after a while."""
    good, other = _CA.issue(_HOST), _CA.issue("b.example.org")
    mesh.write("cert.yaml", tls_secret("web-cert", "ingress", good))
    mesh.write("other.yaml", tls_secret("other", "ingress", replace(other, chain=good.chain)))
    server = _server("b.example.org", "mode: SIMPLE, credentialName: other", "other")
    mesh.write("gateway.yaml", _gateway(_SIMPLE, server))
    mesh.write("bound.yaml", _BOUND)
    visitor = _visitor(mesh)
    eventually(lambda: _shows(visitor, good), "the good server is up")
    lost = visitor.call("b.example.org")
    for name in ("cert.yaml", "other.yaml", "gateway.yaml", "bound.yaml"):
        mesh.remove(name)
    mesh.settle()
    assert lost.failure


def _codes(mesh: LiveMesh, kind: str, name: str) -> list[str]:
    return [one["code"] for one in mesh.object(kind, name).get("diagnostics", ())]


def _mount(folder: Path, issued: Issued, *revoked: Issued) -> None:
    """Put files in place as the kubelet does: all at once, by renaming a link in their folder."""
    data = folder / f"..{time.monotonic_ns()}"
    data.mkdir()
    (data / "tls.crt").write_text(issued.chain)
    (data / "tls.key").write_text(issued.key)
    (data / "ca.crt").write_text(_CA.pem)
    (data / "ca.crl").write_text(_CA.revoking(revoked))
    draft = folder / "..draft"
    draft.symlink_to(data.name)
    draft.rename(folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt", "ca.crl"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


@pytest.fixture
def mounted() -> Iterator[Path]:
    """A folder that the gateway's own user may read."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_certificates_of_files_are_watched(mesh: LiveMesh, mounted: Path) -> None:
    """A Secret that is mounted into the gateway's pod is read again when it changes."""
    old, new, visitor_own = (_CA.issue(name) for name in (_HOST, _HOST, "ann.example"))
    _mount(mounted, old)
    files = f"serverCertificate: {mounted}/tls.crt, privateKey: {mounted}/tls.key"
    tls = f"mode: MUTUAL, {files}, caCertificates: {mounted}/ca.crt"
    with mesh.having(_gateway(_server(_HOST, tls, "https")), _BOUND):
        visitor = replace(_visitor(mesh), shows=visitor_own)
        found = visitor.call(_HOST).status, _visitor(mesh).call(_HOST).status
        shown = _shows(visitor, old)
        _mount(mounted, new)
        eventually(lambda: _shows(visitor, new), "the new one is shown")
    assert (found, shown) == ((200, 0), True)


def test_several_certificates_of_files(mesh: LiveMesh, mounted: Path) -> None:
    """Each visitor is shown the one whose signature it knows."""
    pairs = {"ec": _CA.issue(_HOST), "rsa": _CA.issue(_HOST, with_rsa=True)}
    for name, pair in pairs.items():
        (mounted / name).mkdir()
        _mount(mounted / name, pair)
    listed = ", ".join(
        f"{{serverCertificate: {mounted}/{name}/tls.crt, privateKey: {mounted}/{name}/tls.key}}"
        for name in pairs
    )
    tls = f"mode: SIMPLE, tlsCertificates: [{listed}]"
    with mesh.having(_gateway(_server(_HOST, tls, "https")), _BOUND):
        second = replace(_visitor(mesh), versions=(TLSVersion.TLSv1_2, TLSVersion.TLSv1_2))
        of_rsa = replace(second, ciphers="ECDHE-RSA-AES128-GCM-SHA256")
        of_ec = replace(second, ciphers="ECDHE-ECDSA-AES128-GCM-SHA256")
        found = [_shows(of_ec, pairs["ec"]), _shows(of_rsa, pairs["rsa"])]
        pairs["rsa"] = _CA.issue(_HOST, with_rsa=True)
        _mount(mounted / "rsa", pairs["rsa"])
        eventually(lambda: _shows(of_rsa, pairs["rsa"]), "the new one is shown")
    assert found == [True, True]


def test_what_a_file_revokes_is_not_let_in(mesh: LiveMesh, mounted: Path) -> None:
    """From when the file says so."""
    own, ann, bob = (_CA.issue(name) for name in (_HOST, "ann.example", "bob.example"))
    _mount(mounted, own, ann)
    files = f"serverCertificate: {mounted}/tls.crt, privateKey: {mounted}/tls.key"
    tls = f"mode: MUTUAL, {files}, caCertificates: {mounted}/ca.crt, caCrl: {mounted}/ca.crl"
    with mesh.having(_gateway(_server(_HOST, tls, "https")), _BOUND):
        visitors = [replace(_visitor(mesh), shows=shown) for shown in (ann, bob)]
        before = [visitor.call(_HOST).status for visitor in visitors]
        _mount(mounted, own, ann, bob)
        eventually(lambda: visitors[1].call(_HOST).status == 0, "the other one is out as well")
    assert before == [0, 200]
