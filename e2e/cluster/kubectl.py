"""A cluster as kubectl sees it, whoever runs it."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from e2e.cluster.programs import program

if TYPE_CHECKING:
    from pathlib import Path


class CommandFailed(Exception):
    """A command failed; the message holds what it said."""


def run(command: list[str], *, given: str | None = None, timeout_s: float = 300) -> str:
    """Run a command and return what it prints.

    Raises CommandFailed.
    """
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(command)}: no end after {timeout_s:.0f} s") from error
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


class KubectlCluster:
    """A cluster that a kubeconfig leads to."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    @property
    def logs(self) -> list[Path]:
        """The logs of the cluster's daemons, where they are ours."""
        return []

    def kubectl(self, *arguments: str, given: str | None = None, timeout_s: float = 300) -> str:
        """Run kubectl as the administrator and return what it prints.

        Raises CommandFailed with all it said.
        """
        command = [str(program("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        return run(command, given=given, timeout_s=timeout_s)

    def get(self, *what: str) -> dict[str, Any]:
        """Return an object, or a list of objects, as data."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *what, "-o", "json"))
        return found
