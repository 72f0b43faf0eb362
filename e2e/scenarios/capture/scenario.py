"""What pods ask of capture: TPROXY shows a server its callers' addresses, and names of the mesh are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Ask the server by its service and by a name that only the mesh knows."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web", "deploy/client")
    scene.await_live("serviceentry/shop", "peerauthentication/default")
    (client,) = scene.items("pods", "-l", "app=client")
    (reply,) = scene.ask("http://web/")
    see(not reply.failure, f"a server with TPROXY answers over mutual TLS: {reply.failure}")
    address = client["status"]["podIP"]
    see(reply.said["from"] == address, f"it sees its caller's address, not {reply.said['from']}")
    (named,) = scene.ask("http://shop.example/")
    see(not named.failure, f"a name of the mesh's own is answered: {named.failure}")
    scene.say(f"shop.example is {named.said['name']}")
    (pod,) = scene.items("pods", "-l", "app=web")
    restarts = [one["restartCount"] for one in pod["status"]["containerStatuses"]]
    see(not any(restarts), "its probes are answered")
