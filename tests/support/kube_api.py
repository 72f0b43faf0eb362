"""A real Kubernetes API server with its etcd, on loopback, without root; nothing acts on what is written there.

There is no controller-manager: a namespace has no ``default`` service account, what is deleted leaves its children,
and a namespace never ends. Admission does not ask for service accounts, so pods can be created as they are.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

from e2e.cluster.api import ControlApi, Listens
from e2e.cluster.programs import program

if TYPE_CHECKING:
    from pathlib import Path

_NO_ACCOUNTS: Final = "--disable-admission-plugins=ServiceAccount"


class ApiServer:
    """A context manager: inside it, an API server is up."""

    def __init__(self, folder: Path, *, flags: tuple[str, ...] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._api = ControlApi(folder, listens=Listens(), flags=(_NO_ACCOUNTS, *flags))

    def __enter__(self) -> Self:
        try:
            self._api.start()
        except BaseException:
            self._api.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._api.stop()

    @property
    def kubeconfig(self) -> Path:
        """The file with the credentials of an administrator; it can be copied anywhere."""
        return self._api.kubeconfig

    @property
    def url(self) -> str:
        """Where it is reached."""
        return self._api.url

    def stop(self) -> None:
        """Stop the API server: an outage. etcd keeps what it has."""
        self._api.server.stop()

    def start(self) -> None:
        """End the outage: the same server, at the same address."""
        self._api.start_server()

    def restart_etcd(self) -> None:
        """Stop and start etcd under the API server, and return when requests are served again."""
        self._api.etcd.stop()
        self._api.start_etcd()
        self._api.server.wait_until(self._api.ready, within_s=60)

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return what it prints; ``given`` is its input.

        Raises AssertionError with what kubectl says where it fails and ``check`` is so.
        """
        command = [str(program("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects by server-side apply."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=text)
