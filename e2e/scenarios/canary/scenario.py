"""A canary from nothing to everything: once the route is live, the shares are what it says, under load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_TIMES: Final = 200
# Share of v2 in percent -> how many of so many answers may be v2 (five standard deviations).
_STEPS: Final = {0: (0, 0), 10: (1, 45), 50: (65, 135), 100: (_TIMES, _TIMES)}


def run(scene: Scene) -> None:
    """Move the weight in steps."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/reviews-v1", "deploy/reviews-v2", "deploy/client")
    _route(scene, 0)
    with scene.load("http://reviews/"):
        for weight, (least, most) in _STEPS.items():
            _route(scene, weight)
            answers = scene.ask("http://reviews/", _TIMES)
            failures = [one.failure for one in answers if one.failure]
            see(not failures, f"every request is answered: {failures[:3]}")
            found = sum(one.version == "v2" for one in answers)
            scene.say(f"weight {weight}: {found} of {_TIMES} by v2")
            see(least <= found <= most, f"{found} of {_TIMES} by v2 with a weight of {weight}")


def _route(scene: Scene, weight: int) -> None:
    scene.fill("route.yaml", WEIGHT=weight, REST=100 - weight)
    scene.await_live("virtualservice/reviews")
