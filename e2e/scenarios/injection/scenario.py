"""Deployment, StatefulSet, DaemonSet, Job and CronJob get their sidecars; what ends, ends; init containers have network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_ENDING = ("job/once", "job/often-now")


def run(scene: Scene) -> None:
    """Start each kind and look at its pods."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web", "statefulset/state", "daemonset/daemon", "deploy/plain")
    scene.apply("callers.yaml")
    scene.kubectl("create", "job", "often-now", "--from=cronjob/often")
    for job in _ENDING:
        scene.kubectl("wait", "--for=condition=Complete", job, "--timeout=120s")
        scene.say(f"{job} is complete, its sidecar with it")
    scene.await_rollout("deploy/prepared")
    for pod in scene.items("pods"):
        name, of = pod["metadata"]["name"], pod["metadata"]["labels"].get("app")
        see(_has_sidecar(pod) == (of != "plain"), f"{name} has a sidecar unless it wants none")


def _has_sidecar(pod: dict[str, Any]) -> bool:
    started = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    return any(one["name"] == "istio-proxy" for one in started)
