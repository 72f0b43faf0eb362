"""Without any replica the traffic goes on, and pods outside of the mesh start; a pod that has no sidecar is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.cluster.kubectl import CommandFailed
from e2e.images import APPLICATION
from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Scene

_OUTSIDE: Final = "e2e-absence-outside"


def run(scene: Scene) -> None:
    """Take the operator away for a while, under load; label a namespace too late."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    scene.cluster.kubectl("create", "namespace", _OUTSIDE)
    try:
        with scene.load("http://web/"):
            _scale(scene, 0)
            scene.say("there is no operator")
            _start_pod(scene, "early")
            see(_is_refused(scene), "no pod of the mesh starts without its sidecar")
            _scale(scene, 2)
            scene.mark("back")
        scene.cluster.kubectl("label", "namespace", _OUTSIDE, "istio-injection=enabled")
        scene.eventually(lambda: f"{_OUTSIDE}/early" in _uninjected(scene), "it is named")
    finally:
        scene.cluster.kubectl("delete", "namespace", _OUTSIDE, "--wait=false")


def _scale(scene: Scene, replicas: int) -> None:
    where = ("deploy/mizzen", f"--namespace={SYSTEM}")
    scene.cluster.kubectl("scale", *where, f"--replicas={replicas}")
    selector = ("-l", "app.kubernetes.io/name=mizzen", f"--namespace={SYSTEM}")
    if replicas:
        scene.cluster.kubectl("rollout", "status", *where, "--timeout=120s")
    else:
        scene.cluster.kubectl("wait", "pod", "--for=delete", *selector, "--timeout=120s")


def _start_pod(scene: Scene, name: str) -> None:
    where = f"--namespace={_OUTSIDE}"
    scene.cluster.kubectl("run", name, where, f"--image={APPLICATION}", "--", "wait")
    scene.cluster.kubectl("wait", where, "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def _is_refused(scene: Scene) -> bool:
    try:
        scene.kubectl("run", "late", f"--image={APPLICATION}", "--", "wait")
    except CommandFailed as refused:
        return "mizzen" in str(refused)
    return False


def _uninjected(scene: Scene) -> list[str]:
    found = scene.get("meshstatus", "mizzen")["status"].get("uninjected", [])
    return [str(name) for name in found]
