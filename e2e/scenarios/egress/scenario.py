"""What a ServiceEntry names is reached by its name, with the routes that are written for it."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from e2e.application.main import Echo
from e2e.cluster.node import ADDRESS
from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_OUTSIDE: Final = (ADDRESS, 18080)


def run(scene: Scene) -> None:
    """Serve on the node, outside of the cluster, and ask from a pod."""
    server = ThreadingHTTPServer(_OUTSIDE, Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _ask(scene)
    finally:
        server.shutdown()
        server.server_close()


def _ask(scene: Scene) -> None:
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/client", "deploy/asker")
    (before,) = scene.ask("http://outside.example/")
    see(bool(before.failure), "nothing answers there without the entry")
    scene.apply("entry.yaml")
    scene.await_live("serviceentry/outside", "serviceentry/hidden", "virtualservice/outside")
    (answer,) = scene.ask("http://outside.example/")
    see(not answer.failure, f"the outside answers: {answer.failure}")
    see(answer.said["headers"].get("x-mesh") == "e2e", "the route's header arrives")
    (hidden,) = scene.ask("http://hidden.example/", of="deploy/asker")
    see(not hidden.failure, f"the mesh knows the name: {hidden.failure}")
    (unknown,) = scene.ask("http://hidden.example/")
    see(bool(unknown.failure), "who asks the cluster's name server does not know the name")
    lookup = "import socket; print(socket.gethostbyname('kubernetes.default'))"
    found = scene.run_in("deploy/asker", "python3", "-c", lookup).strip()
    see(found == "10.96.0.1", "names of the cluster are known as ever")
