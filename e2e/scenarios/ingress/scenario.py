"""A gateway of the user's own Deployment lets in what Gateway and VirtualService name."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Come in from the node, which is outside of the mesh."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/gate", "deploy/web")
    scene.apply("gateway.yaml")
    scene.await_live("gateway/gate", "virtualservice/shop")
    address = scene.get("service", "gate")["spec"]["clusterIP"]
    status, said = _ask(address, "shop.example", "/web")
    see(status == 200, f"the gateway lets /web in: {status} {said}")
    see(json.loads(said)["version"] == "v1", "the application answers")
    see(_ask(address, "shop.example", "/other")[0] == 404, "a path without a route is not found")
    see(_ask(address, "other.example", "/web")[0] == 404, "a host without a server is not found")


def _ask(address: str, host: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers={"host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
