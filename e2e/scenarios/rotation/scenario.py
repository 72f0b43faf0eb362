"""Every certificate and the root are replaced under load, and again: not one request fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Scene

_TIMES: Final = 2
# The image has no `kill`.
_REPLACE: Final = "import os, signal; os.kill(1, signal.SIGUSR1)"


def run(scene: Scene) -> None:
    """Have each replica replace what it issued; see that proxies hold new certificates."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/") as load:
        for _ in range(_TIMES):
            before = _serials(scene)
            _replace(scene)
            scene.eventually(lambda: not before & _serials(scene), "new certificates", within_s=90)  # noqa: B023
            load.await_more(200)
            scene.say("every proxy holds a new certificate")


def _replace(scene: Scene) -> None:
    selector = "app.kubernetes.io/name=mizzen"
    pods = scene.cluster.get("pods", f"--namespace={SYSTEM}", "-l", selector)["items"]
    see(bool(pods), "there are replicas")
    for pod in pods:
        name = pod["metadata"]["name"]
        scene.cluster.kubectl(
            *("exec", name, f"--namespace={SYSTEM}", "--", "/usr/bin/python3", "-c", _REPLACE)
        )


def _serials(scene: Scene) -> set[str]:
    """Return the serial numbers of the certificates that the proxies of the scenario hold."""
    pods = [pod["metadata"]["name"] for pod in scene.items("pods")]
    return {serial for pod in pods for serial in _serials_of(scene, pod)}


def _serials_of(scene: Scene, pod: str) -> set[str]:
    url = "http://127.0.0.1:15000/certs"
    script = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
    certificates = json.loads(scene.run_in(f"pod/{pod}", "python3", "-c", script))["certificates"]
    return {leaf["serial_number"] for one in certificates for leaf in one["cert_chain"]}
