"""An AuthorizationPolicy lets in whom it names, for what it names, and nobody else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene


def run(scene: Scene) -> None:
    """Ask before and after the policy is live."""
    scene.apply("workloads.yaml")
    scene.await_rollout("deploy/web", "deploy/friend", "deploy/other")
    see(not _refused(scene, "friend", "/open"), "without a policy everybody gets in")
    see(not _refused(scene, "other", "/open"), "without a policy everybody gets in")
    scene.apply("policy.yaml")
    scene.await_live("authorizationpolicy/web")
    see(not _refused(scene, "friend", "/open"), "the friend gets in below /open")
    # Connections that proxies had open drain: until then they go on as they were made.
    since = time.monotonic()
    for who, path in (("friend", "/shut"), ("other", "/open")):
        _await_refusal(scene, who, path)
    scene.say(
        f"everybody else is refused {time.monotonic() - since:.1f} s after the policy is live"
    )
    see(not _refused(scene, "friend", "/open"), "the friend still gets in below /open")
    scene.kubectl("delete", "authorizationpolicy", "web")
    scene.eventually(
        lambda: not _refused(scene, "other", "/open"), "without the policy again", within_s=20
    )


def _await_refusal(scene: Scene, who: str, path: str) -> None:
    scene.eventually(lambda: _refused(scene, who, path), f"{who}: {path} is refused", within_s=20)


def _refused(scene: Scene, who: str, path: str) -> bool:
    (answer,) = scene.ask(f"http://web{path}", of=f"deploy/{who}")
    see(not answer.failure or answer.failure.startswith("403"), f"{who}: {answer.failure}")
    return bool(answer.failure)
