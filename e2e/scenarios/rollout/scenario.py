"""An application is updated, pod by pod, under load: not one request fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Restart the server's pods twice while others ask; then the asking side."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/"):
        for _ in range(2):
            scene.kubectl("rollout", "restart", "deploy/web")
            scene.await_rollout("deploy/web")
