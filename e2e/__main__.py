"""``python -m e2e``: make the programs and images, enter a room, run the scenarios there, leave nothing behind."""

from __future__ import annotations

import signal
import sys

from e2e.cluster.programs import ProgramMissing, program
from e2e.cluster.room import NoRoom, enter
from e2e.images import make

_PROGRAMS = (
    *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"),
    *("kube-proxy", "coredns", "containerd", "runc", "ctr", "kubectl", "conntrack"),
)


def main() -> int:
    """Return 0 where every scenario was seen to hold."""
    # An end by a signal puts everything back too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        for name in _PROGRAMS:
            program(name)
        images = make()
        return enter(["e2e.inside", *sys.argv[1:], *(f"--images={image}" for image in images)])
    except (ProgramMissing, NoRoom) as reason:
        print(f"e2e: CANNOT RUN here: {reason}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
