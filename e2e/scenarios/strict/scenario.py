"""STRICT: the mesh gets in with its identity, strangers do not, probes and metrics go on."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Final

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_PROBED_S: Final = 10.0


def run(scene: Scene) -> None:
    """Ask from inside and outside; let the kubelet probe for a while."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web", "deploy/client", "deploy/stranger")
    scene.await_live("peerauthentication/default")
    (inside,) = scene.ask("http://web/")
    see(not inside.failure, f"the mesh gets in: {inside.failure}")
    (outside,) = scene.ask("http://web/", of="deploy/stranger")
    see(bool(outside.failure), "a stranger without a certificate does not get in")
    scene.say(f"a stranger sees: {outside.failure}")
    time.sleep(_PROBED_S)  # what is watched for is that nothing happens
    (pod,) = scene.items("pods", "-l", "app=web")
    restarts = [one["restartCount"] for one in pod["status"]["containerStatuses"]]
    see(not any(restarts), "every probe succeeds: nothing was restarted")
    see(_is_ready(pod), "the pod is ready")
    said = _metrics(pod["status"]["podIP"])
    see("application_up 1" in said, "the application's metrics are there to scrape")
    see("envoy_" in said, "Envoy's metrics are there to scrape")


def _is_ready(pod: dict[str, dict[str, list[dict[str, str]]]]) -> bool:
    conditions = pod["status"]["conditions"]
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _metrics(address: str) -> str:
    url = f"http://{address}:15020/stats/prometheus"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
