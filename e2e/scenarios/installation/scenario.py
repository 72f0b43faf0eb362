"""The chart is installed with two replicas; the mesh says that it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.helm import helm
from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Scene

_OPTIONS: Final = ("--create-namespace", "--set=replicas=2")


def run(scene: Scene) -> None:
    """Install, and look at what ``kubectl`` shows."""
    helm(scene, "upgrade", "mizzen", str(scene.chart), "--install", *_OPTIONS)
    deployment = scene.cluster.get("deployment", "mizzen", "-n", SYSTEM)
    see(deployment["status"].get("readyReplicas") == 2, "two replicas are ready")
    scene.eventually(lambda: _row(scene).startswith("True"), "the mesh is ready", within_s=60)
    scene.say(scene.kubectl("get", "meshstatus").strip())


def _row(scene: Scene) -> str:
    columns = "jsonpath={.items[0].status.conditions[?(@.type=='Ready')].status}"
    return scene.kubectl("get", "meshstatus", "-o", columns)
