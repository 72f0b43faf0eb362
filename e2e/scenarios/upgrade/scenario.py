"""The chart is upgraded and rolled back under load: not one request fails, changes arrive before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.helm import helm

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Upgrade with another value, which replaces every replica; then go back."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/"):
        helm(
            scene,
            "upgrade",
            "mizzen",
            str(scene.chart),
            "--reset-then-reuse-values",
            "--set=logLevel=debug",
        )
        scene.say("upgraded")
        scene.mark("upgraded")
        helm(scene, "rollback", "mizzen")
        scene.say("rolled back")
        scene.mark("rolled-back")
