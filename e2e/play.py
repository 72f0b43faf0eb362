"""Plays the scenarios on a cluster, one after the other, and says what was seen."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.cluster.kubectl import CommandFailed
from e2e.cluster.node import Cluster
from e2e.cluster.process import DaemonFailed
from e2e.evidence import collect
from e2e.scenarios import NEED_OUR_NODE, ORDER
from e2e.scene import Scene, SeenOtherwise

if TYPE_CHECKING:
    from e2e.cluster.kubectl import KubectlCluster

_ROOT: Final = Path(__file__).parents[1]
ARTEFACTS: Final = _ROOT / "build" / "e2e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of the scenarios, by name."""

    held: tuple[str, ...]
    failed: tuple[str, ...]

    def verdict(self) -> int:
        """Say it in a line; return the exit status."""
        if self.failed:
            print(f"e2e: FAILED: {', '.join(self.failed)}; what there is to know: {ARTEFACTS}")
            return 1
        print(f"e2e: all {len(self.held)} scenarios hold")
        return 0


def play(cluster: KubectlCluster, names: list[str]) -> Played:
    """Play all scenarios, or the named ones after the installation that each needs."""
    chosen = [name for name in ORDER if not names or name in (*names, "installation")]
    if not isinstance(cluster, Cluster):
        for name in NEED_OUR_NODE & set(chosen):
            print(f"==> {name}: not played: it needs the node that e2e makes itself", flush=True)
        chosen = [name for name in chosen if name not in NEED_OUR_NODE]
    held = {name: _holds(cluster, name) for name in chosen}
    return Played(
        held=tuple(name for name in held if held[name]),
        failed=tuple(name for name in held if not held[name]),
    )


def _holds(cluster: KubectlCluster, name: str) -> bool:
    print(f"==> {name}", flush=True)
    started = time.monotonic()
    folder = _ROOT / "e2e" / "scenarios" / name
    chart = _ROOT / "charts" / "mizzen"
    scene = Scene(cluster=cluster, folder=folder, namespace=f"e2e-{name}", chart=chart)
    try:
        module = importlib.import_module(f"e2e.scenarios.{name}.scenario")
        _make_namespace(scene)
        module.run(scene)
        scene.cluster.kubectl("delete", "namespace", scene.namespace, "--wait=false")
    except (SeenOtherwise, CommandFailed, DaemonFailed) as reason:
        print(f"==> {name}: FAILED after {time.monotonic() - started:.0f} s: {reason}", flush=True)
        collect(cluster, ARTEFACTS / name)
        return False
    print(f"==> {name}: holds ({time.monotonic() - started:.0f} s)", flush=True)
    return True


def _make_namespace(scene: Scene) -> None:
    scene.cluster.kubectl("create", "namespace", scene.namespace)
    scene.cluster.kubectl("label", "namespace", scene.namespace, "istio-injection=enabled")
