"""The bootstrap of a proxy: kept as text, and accepted by the real Envoy."""

from __future__ import annotations

import datetime
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mizzen.model.meta import labels
from mizzen.model.proxy import ProxyKind, parse_node_id
from mizzen.render.application import (
    Application,
    GrpcCheck,
    HttpCheck,
    Metrics,
    TcpCheck,
)
from mizzen.render.bootstrap import (
    BootstrapConfig,
    Locality,
    Node,
    bootstrap_line,
    bootstrap_text,
)
from mizzen.render.control_plane import (
    Endpoint,
    Plaintext,
    SvidOverTls,
    TokenOverTls,
    WatchedToken,
    roots_document,
    token_document,
)
from mizzen_cli.demo.proxies import envoy_binary

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE: Final = Path(__file__).parent
_FOLDER: Final = "/etc/mizzen"  # stands in the goldens for wherever the files are

_ENDPOINT: Final = Endpoint(host="10.0.0.1", port=15012)
_SERVER: Final = "mizzen.mizzen-system.svc"

_SIDECAR: Final = Node(
    kind=ProxyKind.SIDECAR,
    pod="reviews-v1-abc",
    namespace="shop",
    ips=("10.44.0.31", "fd00::31"),
    service_account="reviews",
    labels=labels({"version": "v1", "app": "reviews"}),
    workload="reviews-v1",
    node_name="laptop",
    locality=Locality(region="home", zone="desk"),
)
_ROUTER: Final = Node(
    kind=ProxyKind.ROUTER, pod="gateway-1", namespace="istio-system", ips=("10.44.0.80",)
)


def _with_token(folder: str) -> BootstrapConfig:
    return BootstrapConfig(
        node=_SIDECAR,
        control_plane=TokenOverTls(
            endpoint=_ENDPOINT,
            server_name=_SERVER,
            root_file=f"{folder}/root.pem",
            token_file=f"{folder}/token",
        ),
    )


def _with_watched_token(folder: str) -> BootstrapConfig:
    return BootstrapConfig(
        node=_SIDECAR,
        control_plane=WatchedToken(
            endpoint=Endpoint(host="mizzen.mizzen-system.svc.cluster.local", port=15012),
            server_name=_SERVER,
            roots_document=f"{folder}/roots.json",
            token_document=f"{folder}/token.json",
        ),
    )


def _with_svid(folder: str) -> BootstrapConfig:
    return BootstrapConfig(
        node=_ROUTER,
        control_plane=SvidOverTls(
            endpoint=Endpoint(host="fd00::1", port=15012),
            server_name=_SERVER,
            root_file=f"{folder}/root.pem",
            certificate_file=f"{folder}/cert.pem",
            key_file=f"{folder}/key.pem",
        ),
    )


def _plain_and_marked(_folder: str) -> BootstrapConfig:
    plain = Plaintext(endpoint=Endpoint(host="127.0.0.1", port=15010))
    return BootstrapConfig(node=_SIDECAR, control_plane=plain, mark=1337)


_INTERVAL: Final = datetime.timedelta(seconds=10)
_TIMEOUT: Final = datetime.timedelta(seconds=1)


def _with_application(_folder: str) -> BootstrapConfig:
    health = "/app-health/app"
    application = Application(
        host="10.44.0.31",
        checks=(
            HttpCheck(path=f"{health}/livez", port=8080, target="/live?full=1", timeout=_TIMEOUT),
            HttpCheck(path=f"{health}/readyz", port=8443, tls=True, keeps_host=True),
            TcpCheck(path="/app-health/db/livez", port=5432, interval=_INTERVAL, timeout=_TIMEOUT),
            GrpcCheck(
                path="/app-health/api/readyz",
                port=9000,
                service="shop.Reviews",
                interval=_INTERVAL,
                timeout=_TIMEOUT,
            ),
        ),
        metrics=Metrics(port=8080, path="/metrics"),
        linger=datetime.timedelta(seconds=5),
        quits=True,
    )
    plain = Plaintext(endpoint=Endpoint(host="127.0.0.1", port=15010))
    return BootstrapConfig(node=_SIDECAR, control_plane=plain, application=application)


def _on_ipv6(_folder: str) -> BootstrapConfig:
    check = HttpCheck(path="/app-health/app/livez", port=8080)
    return BootstrapConfig(
        node=_SIDECAR,
        control_plane=Plaintext(endpoint=Endpoint(host="127.0.0.1", port=15010)),
        application=Application(host="fd00::31", source="::6", checks=(check,)),
        bind="::",
    )


_CASES: Final[dict[str, Callable[[str], BootstrapConfig]]] = {
    "token": _with_token,
    "watched-token": _with_watched_token,
    "svid": _with_svid,
    "plaintext-marked": _plain_and_marked,
    "application": _with_application,
    "ipv6": _on_ipv6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that a bootstrap names."""
    where = tmp_path_factory.mktemp("pod")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (where / "root.pem").write_bytes(pem)
    (where / "cert.pem").write_bytes(pem)
    (where / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (where / "token").write_text("a token", encoding="ascii")
    documents = {
        "roots.json": roots_document(f"{where}/root.pem", _SERVER),
        "token.json": token_document(f"{where}/token"),
    }
    for file, text in documents.items():
        (where / file).write_text(text, encoding="ascii")
    return where


@pytest.mark.parametrize("case", _CASES)
def test_the_bootstrap_is_the_one_that_was_reviewed(case: str, update_golden: bool) -> None:
    """Equal configurations give the same text."""
    file = _HERE / f"{case}.json"
    text = bootstrap_text(_CASES[case](_FOLDER))
    if update_golden:
        file.write_text(text, encoding="ascii")
    assert text == file.read_text(encoding="ascii")


@pytest.mark.parametrize("case", _CASES)
def test_envoy_accepts_the_bootstrap(case: str, folder: Path, tmp_path: Path) -> None:
    """The real Envoy finds nothing wrong, and nothing deprecated."""
    file = tmp_path / "bootstrap.json"
    file.write_text(bootstrap_text(_CASES[case](str(folder))), encoding="ascii")
    done = subprocess.run(
        [str(envoy_binary()), "--mode", "validate", "-c", str(file), "-l", "warning"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr


def test_the_bootstrap_fits_on_a_line() -> None:
    """As an argument of Envoy's it says the same."""
    config = _with_application(_FOLDER)
    line = bootstrap_line(config)
    assert "\n" not in line
    assert json.loads(line) == json.loads(bootstrap_text(config))


def test_the_control_plane_reads_the_node_id_as_it_was_meant() -> None:
    """What the bootstrap says of a proxy is what the server takes from it."""
    assert parse_node_id(_SIDECAR.id) == (
        ProxyKind.SIDECAR,
        "10.44.0.31",
        "reviews-v1-abc",
        "shop",
    )


def test_a_node_belongs_to_its_canonical_service() -> None:
    """The cluster of a node is its app label, else its workload, else the pod."""
    assert _SIDECAR.cluster == "reviews.shop"
    assert _ROUTER.cluster == "gateway-1.istio-system"
