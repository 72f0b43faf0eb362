"""Certificates, the issuing key and the root are replaced under load: not one request fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from e2e.helm import helm
from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Load, Scene

# The image has no `kill`.
_REPLACE: Final = "import os, signal; os.kill(1, signal.SIGUSR1)"
# A minute or so instead of a day, six minutes instead of ten years: the root that is there is due when three are over.
_LIFETIMES: Final = '--set-json=certificates={"workloadHours": 0.02, "rootDays": 0.004}'
# Shown for a certificate's life, signing for one more, and trusted for another.
_ROTATION_S: Final = 420.0


def run(scene: Scene) -> None:
    """Replace what was issued; then have the root replaced, and wait until nobody trusts the old one."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    with scene.load("http://web/") as load:
        _replace_certificates(scene, load)
        _replace_root(scene, load)


def _replace_certificates(scene: Scene, load: Load) -> None:
    before = _serials(scene)
    selector = "app.kubernetes.io/name=mizzen"
    pods = scene.cluster.get("pods", f"--namespace={SYSTEM}", "-l", selector)["items"]
    see(bool(pods), "there are replicas")
    for pod in pods:
        name = pod["metadata"]["name"]
        scene.cluster.kubectl(
            *("exec", name, f"--namespace={SYSTEM}", "--", "/usr/bin/python3", "-c", _REPLACE)
        )
    scene.eventually(lambda: not before & _serials(scene), "new certificates", within_s=90)
    load.await_more(100)
    scene.say("every proxy holds a new certificate, of a new issuing key")


def _replace_root(scene: Scene, load: Load) -> None:
    (old,) = _roots(scene)
    chart = str(scene.chart)
    helm(scene, "upgrade", "mizzen", chart, "--reset-then-reuse-values", _LIFETIMES)
    scene.eventually(lambda: len(_roots(scene)) > 1, "a second root is shown", within_s=240)
    scene.say("the new root is shown to everybody")
    scene.eventually(lambda: old not in _roots(scene), "the old root goes", within_s=_ROTATION_S)
    load.await_more(100)
    scene.say("nobody trusts the old root any more")


def _roots(scene: Scene) -> list[str]:
    data = scene.get("configmap", "mizzen-ca-root-cert")["data"]["root-cert.pem"]
    end = "-----END CERTIFICATE-----"
    return [one.strip() for one in data.split(end) if one.strip()]


def _serials(scene: Scene) -> set[str]:
    """Return the serial numbers of the certificates that the proxies of the scenario hold."""
    pods = [pod["metadata"]["name"] for pod in scene.items("pods")]
    return {serial for pod in pods for serial in _serials_of(scene, pod)}


def _serials_of(scene: Scene, pod: str) -> set[str]:
    url = "http://127.0.0.1:15000/certs"
    script = f"import urllib.request as u; print(u.urlopen('{url}').read().decode())"
    certificates = json.loads(scene.run_in(f"pod/{pod}", "python3", "-c", script))["certificates"]
    return {leaf["serial_number"] for one in certificates for leaf in one["cert_chain"]}
