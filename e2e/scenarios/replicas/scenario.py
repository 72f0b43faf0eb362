"""Each replica of the operator is killed under load; changes go on arriving, and not one request fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Kill one replica after the other, and change the mesh each time."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/"):
        for pod in _replicas(scene):
            scene.cluster.kubectl(
                *("delete", "pod", pod, f"--namespace={SYSTEM}", "--grace-period=0", "--force")
            )
            scene.say(f"killed {pod}")
            scene.mark(pod)
            scene.cluster.kubectl(
                *("rollout", "status", "deploy/mizzen", f"--namespace={SYSTEM}", "--timeout=120s")
            )


def _replicas(scene: Scene) -> list[str]:
    selector = "app.kubernetes.io/name=mizzen"
    pods = scene.cluster.get("pods", f"--namespace={SYSTEM}", "-l", selector)["items"]
    see(len(pods) == 2, "there are two replicas")
    return [pod["metadata"]["name"] for pod in pods]
