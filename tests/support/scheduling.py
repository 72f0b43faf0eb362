"""Which tests stay together where several processes share them, and which begin first.

What is expensive belongs to a module (a mesh) or to a suite (an API server), so these stay whole. What takes
long begins first, and what is small fills the end.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling

# One API server serves all of it; some of its objects are the whole cluster's.
_ONE_SERVER: Final = "tests/kube/"
# Each test starts a demo of its own.
_ALONE: Final = "tests/envoy/test_demo_"
_LONG: Final = (_ONE_SERVER, _ALONE, "tests/envoy/test_mesh_orders.py")
_LONGER_THAN_OTHERS: Final = "tests/envoy/"


def scope(test: str) -> str:
    """Return what a test, by its id, shares with the tests that run in its process."""
    if test.startswith(_ONE_SERVER):
        return _ONE_SERVER
    return test if test.startswith(_ALONE) else test.partition("::")[0]


def turn(scope: str) -> int:
    """Return whose turn it is: the least first."""
    if scope.startswith(_LONG):
        return 0
    return 1 if scope.startswith(_LONGER_THAN_OTHERS) else 2


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist says nothing of its types
    """Gives a process that has little left to do the next scope, in the random order but for turns."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)

    def _assign_work_unit(self, node: object) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=turn), last=False)
        super()._assign_work_unit(node)
