"""``mizzen serve`` as a process to be measured."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, Self

from bench.processes import Usage, usage

_READY_S: Final = 180.0
_STOP_S: Final = 20.0


class ControlPlaneError(Exception):
    """The control plane did not start, or ended."""


class ControlPlane:
    """A control plane on a folder, listening on free ports of loopback."""

    def __init__(self, folder: Path, work: Path) -> None:
        self.xds_port, self.http_port = free_port(), free_port()
        self._log = work / "serve.log"
        command = [
            str(Path(sys.executable).parent / "mizzen"),
            "serve",
            str(folder),
            *("--insecure-xds", f"127.0.0.1:{self.xds_port}"),
            *("--xds", f"127.0.0.1:{free_port()}"),
            *("--http", f"127.0.0.1:{self.http_port}"),
            *("--state", str(work / "state")),
        ]
        self._started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> float:
        """Return how many seconds it took from the start until it was ready to serve."""
        url = f"http://127.0.0.1:{self.http_port}/readyz"
        while not answers(url):
            if self._process.poll() is not None:
                raise ControlPlaneError(f"mizzen serve ended:\n{self._log.read_text()[-2000:]}")
            if time.monotonic() - self._started > _READY_S:
                raise ControlPlaneError(f"not ready:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        return time.monotonic() - self._started

    def usage(self) -> Usage:
        """Return the memory and the processor time that it has taken."""
        return usage(self._process.pid)

    def stop(self) -> None:
        """End it; after a while without asking."""
        stop(self._process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here."""
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    """Tell whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    """Return a port of loopback that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
