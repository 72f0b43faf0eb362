"""The command on a cluster: everything is checked, proxies and their configuration are shown, what is live is waited for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from e2e.cluster.kubectl import CommandFailed
from e2e.cluster.kubectl import run as run_command
from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Check, apply, wait, look; apply what is wrong."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    scene.say(_mizzen(scene, "check").strip().splitlines()[-1])
    scene.apply("route.yaml")
    said = _mizzen(scene, "wait", "-f", str(scene.folder / "route.yaml"), "-n", scene.namespace)
    see("live on" in said, f"what was applied is live: {said}")
    pod = scene.items("pods", "-l", "app=web")[0]["metadata"]["name"]
    name = f"{pod}.{scene.namespace}"
    (row,) = json.loads(_mizzen(scene, "proxies", name, "-o", "json"))
    see(row["state"] == "up to date", f"the proxy of {name} has everything: {row['state']}")
    see(row["replica"].startswith("mizzen-"), "it is said which replica serves it")
    see(_timeouts(scene, name) == ["7s"], "its routes are shown as Envoy has them")
    _refuse(scene)


def _mizzen(scene: Scene, *words: str) -> str:
    command = [str(Path(sys.executable).with_name("mizzen")), *words]
    return run_command([*command, "--kubeconfig", str(scene.cluster.kubeconfig)])


def _timeouts(scene: Scene, name: str) -> list[str]:
    """Return the timeout of the route to web, of the proxy of a pod."""
    shown: dict[str, Any] = json.loads(_mizzen(scene, "config", name, "routes", "-o", "json"))
    host = f"80/web.{scene.namespace}.svc.cluster.local"
    return [
        route["route"]["timeout"]
        for one in shown["routes"]
        if one["name"] == host and one["state"] == "acknowledged"
        for route in one["resource"]["routes"]
    ]


def _refuse(scene: Scene) -> None:
    """See that what only our webhook knows to be wrong is refused with its field."""
    try:
        scene.apply("wrong.yaml")
    except CommandFailed as refused:
        see("spec.http[0].headers.request.set" in str(refused), f"the field is named: {refused}")
        return
    see(False, "what is wrong in itself is refused")
