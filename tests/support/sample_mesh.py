"""The shop of ``samples/shop``, live, for trying the other samples in it one at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import ask
from tests.support.live_mesh import HUB, LiveMesh, Reply
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES: Final = ROOT / "samples"
SHOP: Final = SAMPLES / "shop"
# What is there whatever is tried: workloads, and the door.
BASE: Final = (SHOP / "gateway.yaml", *sorted((SHOP / "workloads").glob("*.yaml")))
APP_PORT: Final = 9080
GATEWAY: Final = "10.44.0.80"
COURIER: Final = "10.44.0.95"
FRONTEND: Final = "frontend-v1"
CATALOG: Final = "catalog-1"
CATALOGS: Final = frozenset((CATALOG, "catalog-2"))

# Folders that are not a sample of one capability.
_OTHERS: Final = frozenset(("shop", "kubernetes"))


def samples() -> tuple[Path, ...]:
    """Return the folders of all capabilities."""
    return tuple(
        path for path in sorted(SAMPLES.iterdir()) if path.is_dir() and path.name not in _OTHERS
    )


def manifests(sample: str) -> tuple[Path, ...]:
    """Return the files that ``kubectl apply -f`` takes of a sample."""
    return tuple(sorted((SAMPLES / sample).glob("*.yaml")))


class SampleMesh(LiveMesh):
    """The shop's workloads with none of its rules but the door."""

    def __init__(self, folder: Path) -> None:
        files = {path.name: path.read_text(encoding="utf-8") for path in BASE}
        super().__init__(folder, files, apps=SHOP / "app", app_port=APP_PORT)

    @contextmanager
    def trying(self, sample: str) -> Iterator[None]:
        """Have a sample in force for as long as the block lasts."""
        with self.having(*(path.read_text(encoding="utf-8") for path in manifests(sample))):
            yield

    def ask(self, of: str, host: str, path: str = "/self", **headers: str) -> Reply:
        """Ask a service's HTTP port, as a pod; header names are written with underscores."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(of, f"http://{host}:{APP_PORT}{path}", headers=sent)

    def knock(self, path: str, host: str = "shop.test", **headers: str) -> Reply:
        """Ask at the door, from outside of the mesh."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call(HUB, f"http://{host}{path}", headers=sent, at=GATEWAY)

    def courier(self, path: str = "/self", host: str = "courier.example.com") -> Reply:
        """Ask the courier by its name, as the frontend."""
        return self.call(FRONTEND, f"http://{host}:{APP_PORT}{path}", at=COURIER)

    @contextmanager
    def broken(self, pod: str) -> Iterator[None]:
        """Let a pod's application answer 503 to everything."""
        self.tell(pod, "/break", "POST")
        try:
            yield
        finally:
            self.tell(pod, "/mend", "POST")

    def tell(self, pod: str, path: str, method: str = "GET") -> str:
        """Speak with a pod's application from within it, past its Envoy."""
        network = self.pod(pod).network
        status, body = ask(self.mesh.realm, network, ("127.0.0.1", APP_PORT), path, method)
        assert status == 200, body
        return body

    def counted(self, pod: str) -> int:
        """Return how many requests a pod's application has answered so far."""
        return int(self.tell(pod, "/count").partition('"answered": ')[2].partition(",")[0])
