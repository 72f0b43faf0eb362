"""Inside the room: the cluster, the scenarios one after the other, the verdict."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from e2e.cluster.kubectl import CommandFailed
from e2e.cluster.node import Cluster
from e2e.cluster.process import DaemonFailed
from e2e.cluster.room import furnish
from e2e.evidence import collect
from e2e.play import ARTEFACTS, play


def main() -> int:
    """Return 0 where every scenario was seen to hold."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    furnish(options.folder)
    cluster = Cluster(options.folder, options.folder.name)
    try:
        cluster.start(options.images)
        status = play(cluster, options.scenarios).verdict()
        if options.stay:
            _stay(cluster)
    except (CommandFailed, DaemonFailed) as reason:
        print(f"e2e: FAILED: the cluster does not come up: {reason}", flush=True)
        collect(cluster, ARTEFACTS / "cluster")
        return 1
    finally:
        cluster.stop()
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--stay", action="store_true")
    parser.add_argument("scenarios", nargs="*")
    return parser.parse_args()


def _stay(cluster: Cluster) -> None:
    print(f"==> the cluster stays; KUBECONFIG={cluster.kubeconfig}; Ctrl-C ends it", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    raise SystemExit(main())
