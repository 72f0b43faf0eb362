"""The API server is gone for two minutes, then etcd restarts: not one request fails, and the mesh goes on afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from e2e.cluster.kubectl import CommandFailed
from e2e.cluster.node import Cluster
from e2e.scene import SYSTEM, see

if TYPE_CHECKING:
    from e2e.scene import Scene

_OUTAGE_S: Final = 120.0
_LATER: Final = "e2e-outage-later"


def run(scene: Scene) -> None:
    """Stop and start the one, restart the other, and change something after each."""
    cluster = scene.cluster
    assert isinstance(cluster, Cluster), "an API server that is ours to stop"
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web")
    before = _restarts(scene)
    with scene.load("http://web/"):
        cluster.stop_api()
        scene.say(f"the API server is stopped for {_OUTAGE_S:.0f} s")
        time.sleep(_OUTAGE_S)  # the length of the outage is what is tested
        cluster.start_api()
        scene.mark("after-the-outage")
        cluster.api.etcd.stop()
        cluster.api.start_etcd()
        scene.say("etcd was restarted")
        cluster.api.server.wait_until(cluster.api.ready, within_s=60)
        scene.mark("after-the-restart")
    see(_restarts(scene) == before, "no replica of the operator was restarted")
    _await_names(scene)


def _await_names(scene: Scene) -> None:
    """Wait for the cluster's DNS, which waits longer and longer to ask again, and for each kind on its own."""
    scene.cluster.kubectl("create", "namespace", _LATER)
    try:
        where = f"--namespace={_LATER}"
        scene.cluster.kubectl("create", "service", "clusterip", "later", "--tcp=80", where)
        scene.eventually(lambda: _is_known(scene, f"later.{_LATER}"), "what is new has a name")
    finally:
        scene.cluster.kubectl("delete", "namespace", _LATER, "--wait=false")


def _restarts(scene: Scene) -> int:
    pods = scene.cluster.get("pods", f"--namespace={SYSTEM}")["items"]
    statuses = [one for pod in pods for one in pod["status"].get("containerStatuses", ())]
    return sum(one["restartCount"] for one in statuses)


def _is_known(scene: Scene, name: str) -> bool:
    lookup = f"import socket; socket.gethostbyname('{name}')"
    try:
        scene.run_in("deploy/web", "python3", "-c", lookup)
    except CommandFailed:
        return False
    return True
