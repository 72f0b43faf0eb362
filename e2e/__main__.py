"""``python -m e2e``: make the programs and images, enter a room, play the scenarios there, leave nothing behind."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from e2e.cluster.kubectl import KubectlCluster
from e2e.cluster.programs import ProgramMissing, program
from e2e.cluster.room import NoRoom, enter, look_around
from e2e.images import make
from e2e.play import play
from e2e.scenarios import ORDER

_PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"),
    *("kube-proxy", "coredns", "containerd", "runc", "ctr", "kubectl", "conntrack"),
)


def main() -> int:
    """Return 0 where every scenario was seen to hold."""
    options = _options()
    # An end by a signal puts everything back too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.kubeconfig:
        return play(KubectlCluster(options.kubeconfig), options.scenarios).verdict()
    try:
        look_around()
        for name in _PROGRAMS:
            program(name)
        images = [f"--images={image}" for image in make()]
        if options.only_images:
            print(*(image.partition("=")[2] for image in images))
            return 0
        stay = ["--stay"] if options.stay else []
        return enter(["e2e.inside", *stay, *options.scenarios, *images])
    except (ProgramMissing, NoRoom) as reason:
        print(f"e2e: CANNOT RUN here: {reason}", file=sys.stderr)
        return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="e2e", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="keep the cluster until Ctrl-C")
    parser.add_argument(
        "--kubeconfig", type=Path, help="play on a cluster that is there, which has the images"
    )
    parser.add_argument(
        "--only-images", action="store_true", help="make the images and say where they are"
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(ORDER))
    options = parser.parse_args()
    unknown = set(options.scenarios) - set(ORDER)
    if unknown:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
