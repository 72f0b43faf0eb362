"""The chart is uninstalled under load: nothing of it stays but what users wrote; traffic and new pods go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.helm import helm
from e2e.scene import SYSTEM

if TYPE_CHECKING:
    from e2e.scene import Scene

_LEFT: Final = (
    "mutatingwebhookconfigurations,validatingwebhookconfigurations",
    "clusterroles,clusterrolebindings",
    "leases.coordination.k8s.io,roles,rolebindings,deployments,services,secrets,configmaps",
)


def run(scene: Scene) -> None:
    """Uninstall, wait for what goes by itself, and look for leftovers."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/"):
        helm(scene, "uninstall", "mizzen")
        scene.eventually(lambda: not _leftovers(scene), "nothing is left", within_s=60)
    scene.kubectl("run", "late", "--image=mizzen.test/application:1", "--", "wait")
    scene.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")


def _leftovers(scene: Scene) -> list[str]:
    return [
        name
        for kinds in _LEFT
        for name in scene.cluster.kubectl("get", kinds, "-A", "-o", "name").split()
        if "mizzen" in name and SYSTEM not in name.partition("/")[2]
    ]
