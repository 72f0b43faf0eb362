"""Inside the room: the cluster, then what it is there for, then everything stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from e2e.cluster.node import Cluster
from e2e.cluster.room import furnish


def main() -> int:
    """Return 0 where every scenario was seen to hold."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    furnish(options.folder)
    cluster = Cluster(options.folder, options.folder.name)
    try:
        cluster.start(options.images)
        if options.stay:
            _stay(cluster)
    finally:
        cluster.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--stay", action="store_true")
    return parser.parse_args()


def _stay(cluster: Cluster) -> None:
    print(f"==> the cluster stays; KUBECONFIG={cluster.kubeconfig}; Ctrl-C ends it", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    raise SystemExit(main())
