"""Helm against the cluster of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from e2e.cluster.kubectl import run
from e2e.scene import SYSTEM
from tests.support.helm import helm_program

if TYPE_CHECKING:
    from e2e.scene import Scene

_WAIT: Final = ("--wait", "--timeout=180s")
_WAITING: Final = ("install", "upgrade", "rollback", "uninstall")


def helm(scene: Scene, *arguments: str) -> str:
    """Run Helm in the mesh's namespace, waiting for what it changes, and return what it prints.

    Raises CommandFailed.
    """
    command = [str(helm_program()), f"--kubeconfig={scene.cluster.kubeconfig}"]
    wait = _WAIT if arguments[0] in _WAITING else ()
    return run([*command, f"--namespace={SYSTEM}", *arguments, *wait])
