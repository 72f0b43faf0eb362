"""A daemon of a cluster: started with a log of its own, watched while it starts, gone when its starter is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_LOOK_S: Final = 0.05
_STOP_S: Final = 30.0
# The pipe on standard input ends when whoever started the daemon ends, in whichever way: then the daemon ends too.
_UNTIL_STARTER_IS_GONE: Final = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
( read -r _ <&3; kill "$child" ) 2>/dev/null &
reader=$!
exec 3<&-
wait "$child"
status=$?
kill "$reader" 2>/dev/null
exit "$status"
"""


class DaemonFailed(Exception):
    """A daemon ended by itself or did not become ready; the message holds the end of its log."""


class Daemon:
    """One process; ``start`` and ``stop`` may follow each other any number of times."""

    def __init__(
        self, name: str, command: list[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process; its log goes on where it ended."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_STARTER_IS_GONE, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], *, within_s: float) -> None:
        """Return as soon as the daemon is ready.

        Raises DaemonFailed where it ends, or is not ready in time.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            if not self.running:
                raise DaemonFailed(f"{self.name} ended by itself:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise DaemonFailed(
                    f"{self.name} is not ready after {within_s:.0f} s:\n{self.last_words()}"
                )
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End the process and wait for its end; nothing where it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]
