"""Inside the room: the cluster, the scenarios one after the other, the verdict."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.cluster.node import Cluster, CommandFailed
from e2e.cluster.process import DaemonFailed
from e2e.cluster.room import furnish
from e2e.evidence import collect
from e2e.scenarios import ORDER
from e2e.scene import Scene, SeenOtherwise

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT: Final = Path(__file__).parents[1]


def main() -> int:
    """Return 0 where every scenario was seen to hold."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    furnish(options.folder)
    cluster = Cluster(options.folder, options.folder.name)
    try:
        cluster.start(options.images)
        failed = _play(cluster, options)
    except (CommandFailed, DaemonFailed) as reason:
        print(f"e2e: FAILED: the cluster does not come up: {reason}", flush=True)
        collect(cluster, options.artefacts)
        return 1
    finally:
        cluster.stop()
    return _verdict(failed, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--artefacts", type=Path, default=_ROOT / "build" / "e2e")
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("scenarios", nargs="*")
    return parser.parse_args()


def _play(cluster: Cluster, options: argparse.Namespace) -> list[str]:
    failed = [name for name in _chosen(options) if not _holds(cluster, name, options.artefacts)]
    if options.stay:
        print(f"==> the cluster stays; KUBECONFIG={cluster.kubeconfig}; Ctrl-C ends it", flush=True)
        threading.Event().wait()
    return failed


def _chosen(options: argparse.Namespace) -> Sequence[str]:
    """Return the scenarios to run: all, or those named after the installation that each needs."""
    return tuple(
        name
        for name in ORDER
        if not options.scenarios or name in options.scenarios or name == "installation"
    )


def _holds(cluster: Cluster, name: str, artefacts: Path) -> bool:
    print(f"==> {name}", flush=True)
    started = time.monotonic()
    folder = _ROOT / "e2e" / "scenarios" / name
    scene = Scene(
        cluster=cluster, folder=folder, namespace=f"e2e-{name}", chart=_ROOT / "charts" / "mizzen"
    )
    try:
        module = importlib.import_module(f"e2e.scenarios.{name}.scenario")
        _make_namespace(scene)
        module.run(scene)
        scene.cluster.kubectl("delete", "namespace", scene.namespace, "--wait=false")
    except (SeenOtherwise, CommandFailed, DaemonFailed) as reason:
        print(f"==> {name}: FAILED after {time.monotonic() - started:.0f} s: {reason}", flush=True)
        collect(cluster, artefacts / name)
        return False
    print(f"==> {name}: holds ({time.monotonic() - started:.0f} s)", flush=True)
    return True


def _make_namespace(scene: Scene) -> None:
    scene.cluster.kubectl("create", "namespace", scene.namespace)
    scene.cluster.kubectl("label", "namespace", scene.namespace, "istio-injection=enabled")


def _verdict(failed: list[str], options: argparse.Namespace) -> int:
    if failed:
        print(f"e2e: FAILED: {', '.join(failed)}; what there is to know: {options.artefacts}")
        return 1
    print(f"e2e: all {len(_chosen(options))} scenarios hold")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
