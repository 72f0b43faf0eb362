"""The stream of an injected proxy outlives the roots and the token that it began with."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from tests.support.kubelet import Mounts, start_injected
from tests.support.live_mesh import LiveMesh, eventually, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTED: Final = "control_plane.connected_state"
_UNTRUSTED: Final = "cluster.xds-grpc.ssl.fail_verify_error"
_TRIED: Final = "cluster.xds-grpc.upstream_rq_total"


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveMesh, Mounts]]:
    """A mesh of one injected proxy, and the volumes of its pod."""
    text = pod("web", 11)
    written: dict[str, Any] = yaml.safe_load(text.replace("---", ""))
    with LiveMesh(tmp_path_factory.mktemp("mesh"), {"web.yaml": text}) as made:
        made.kill_proxy("web")
        mounts = start_injected(made, inject_pod(written, InjectSettings()).pod)
        made.settle()
        yield made, mounts


def _restart(mesh: LiveMesh) -> None:
    mesh.mesh.stop_control_plane()
    mesh.mesh.start_control_plane()


def _stat(mesh: LiveMesh, name: str) -> int:
    return mesh.stats("web", f"^{name}$").get(name, 0)


def test_roots_and_token_are_read_anew(mesh: tuple[LiveMesh, Mounts]) -> None:
    """A proxy that was started under other roots, or with a token long expired, finds its way back."""
    live, mounts = mesh
    assert _stat(live, _CONNECTED) == 1

    mounts.publish(root=_foreign_root())
    _restart(live)
    eventually(lambda: _stat(live, _UNTRUSTED) > 0, "the control plane is another's by these roots")
    assert _stat(live, _CONNECTED) == 0
    mounts.publish()
    eventually(lambda: _stat(live, _CONNECTED) == 1, "the roots are read anew")

    mounts.publish(token="expired")
    _restart(live)
    tried = _stat(live, _TRIED)
    eventually(lambda: _stat(live, _TRIED) > tried + 1, "a stream with this token is refused")
    assert live.status()["mesh"]["proxies"]["connected"] == 0
    mounts.publish()
    eventually(lambda: _stat(live, _CONNECTED) == 1, "the token is read anew")
    live.settle()


def _foreign_root() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
