"""What Envoy refuses is told on the object that caused it, in Envoy's words, until it is mended; traffic goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_BAD: Final = "%NO_SUCH_OPERATOR%"


def run(scene: Scene) -> None:
    """Break a route, look at its conditions, mend it."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web", "deploy/client")
    scene.mark("one", of="deploy/client")
    with scene.load("http://web/"):
        scene.fill("marks.yaml", MARK=_BAD)
        scene.eventually(lambda: _BAD.strip("%") in _live(scene), "Envoy's words", within_s=30)
        scene.say(_live(scene))
        see(_seen(scene) == "one", "what was in force stays in force")
        scene.mark("two")
        see(_BAD.strip("%") not in _live(scene), "the words are gone")


def _live(scene: Scene) -> str:
    conditions = scene.get("virtualservice", "web").get("status", {}).get("conditions", [])
    return " ".join(f"{one['type']}={one['status']}: {one.get('message')}" for one in conditions)


def _seen(scene: Scene) -> str:
    (answer,) = scene.ask("http://web/")
    return str(answer.said.get("headers", {}).get("x-mark"))
