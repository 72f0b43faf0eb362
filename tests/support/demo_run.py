"""Runs ``mizzen demo`` as people do, as a process of its own and as any user, and looks for what it left.

Root becomes an ordinary user in a private mount namespace: with a line of its own in ``/etc/passwd``,
with or without spare uids, and with a way to the interpreter and the checkout even where these lie in
root's closed home. Nothing of the machine is changed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.closing import Closing
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MIZZEN: Final = "from mizzen_cli.main import main; main()"
# No one's on an ordinary system.
_UID: Final = 54_321
_SPARE: Final = "3000000:65536"
_LONGEST_SECONDS: Final = 180
_GONE_SECONDS: Final = 20


@dataclass(frozen=True, slots=True)
class User:
    """Who runs the demo; ``None`` as uid for whoever runs the tests.

    With ``broken_map`` there are spare uids, but the program that maps them does not work, as in many
    containers.
    """

    name: str
    uid: int | None = None
    spare_uids: bool = False
    broken_map: bool = False

    def __str__(self) -> str:
        """Return a name for test ids."""
        return self.name


OURSELVES: Final = User("ourselves")


def users() -> tuple[User, ...]:
    """Return the users that can be tried here; root can try all of them."""
    if os.geteuid() != 0:
        return (OURSELVES,)
    return (
        OURSELVES,
        User("ordinary_user", uid=_UID, spare_uids=True),
        User("ordinary_user_with_one_uid", uid=_UID),
    )


def users_without_map() -> tuple[User, ...]:
    """Return a user who has spare uids and no way to map them; only root can be one."""
    if os.geteuid() != 0:
        return (OURSELVES,)
    return (User("ordinary_user", uid=_UID, spare_uids=True, broken_map=True),)


class DemoRun(Closing):
    """A running demo, in a session of its own; a context manager that asserts that nothing is left."""

    def __init__(self, *arguments: str, user: User = OURSELVES) -> None:
        """Start it, with a folder for temporary files that is its own."""
        self._before = _networks()
        self.folder = Path(tempfile.mkdtemp(prefix="mizzen-test-"))
        self.folder.chmod(0o755)
        if user.uid is not None:
            os.chown(self.folder, user.uid, user.uid)
        argv = (sys.executable, "-c", _MIZZEN, "demo", "--port", "0", *arguments)
        self.text = ""
        # Who runs the tests in the background has them ignore SIGINT, and whoever they start.
        listening = ("env", "--default-signal=INT")
        self._process = subprocess.Popen(
            (*listening, *_as_user(user, self.folder, argv)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=os.environ | {"TMPDIR": str(self.folder)},
            start_new_session=True,
        )
        self._watchdog = threading.Timer(_LONGEST_SECONDS, self._process.kill)
        self._watchdog.start()

    def until(self, words: str) -> None:
        """Read on until a line has these words."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.text += line
            if words in line:
                return
        raise AssertionError(f"never said {words!r}:\n{self.text}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does: to all of its session."""
        os.killpg(self._process.pid, number)

    def end(self) -> int:
        """Read to the end and return the exit code."""
        assert self._process.stdout is not None
        self.text += self._process.stdout.read()
        return self._process.wait()

    def close(self) -> None:
        """End everything."""
        self._watchdog.cancel()
        self._process.kill()
        with self._process:
            pass
        try:
            _until(lambda: not self._left_behind())
        finally:
            left = self._left_behind()
            shutil.rmtree(self.folder, ignore_errors=True)
            assert left == [], self.text

    def _left_behind(self) -> list[str]:
        """Return what is on the machine that was not there before."""
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
        return [
            *(str(path) for path in self.folder.iterdir()),
            *(f"process {pid}" for pid in _pids_with(f"TMPDIR={self.folder}")),
            *(line for line in mounts if str(self.folder) in line),
            *(_networks() - self._before),
        ]


def _networks() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def _pids_with(setting: str) -> list[str]:
    """Return the processes that have a setting in their environment, whoever they belong to."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            settings = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if setting.encode() in settings and int(pid) != os.getpid():
                found.append(pid)
    return found


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)


def _as_user(user: User, folder: Path, argv: Sequence[str]) -> Sequence[str]:
    """Return what to run for a command to be run by a user."""
    if user.uid is None:
        return argv
    lines = [
        "set -e",
        *_opened((Path(sys.base_prefix), Path(sys.prefix), ROOT)),
        *_with_line(folder, "/etc/passwd", f"{user.name}:x:{user.uid}:{user.uid}::/:/bin/sh"),
    ]
    if user.spare_uids:
        for file in ("/etc/subuid", "/etc/subgid"):
            lines += _with_line(folder, file, f"{user.name}:{_SPARE}")
    if user.broken_map:
        lines += _replaced(folder, "newuidmap", "#!/bin/sh\necho not permitted >&2\nexit 1\n")
    ids = ("--reuid", str(user.uid), "--regid", str(user.uid), "--clear-groups")
    lines.append(shlex.join(("exec", "setpriv", *ids, "--inh-caps=-all", *argv)))
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines))


def _with_line(folder: Path, file: str, line: str) -> list[str]:
    """Show a file with a line more; the copy is gone from the folder at once."""
    copy = folder / Path(file).name
    return [
        f"{{ cat {file}; echo {shlex.quote(line)}; }} > {copy}",
        f"chmod 644 {copy}",
        f"mount --bind {copy} {file}",
        f"rm {copy}",
    ]


def _replaced(folder: Path, program: str, script: str) -> list[str]:
    """Show a script in a program's place; it is gone from the folder at once."""
    copy = folder / program
    return [
        f"printf %s {shlex.quote(script)} > {copy}",
        f"chmod 755 {copy}",
        f"mount --bind {copy} $(command -v {program})",
        f"rm {copy}",
    ]


def _opened(needed: tuple[Path, ...]) -> list[str]:
    """Hide closed folders above what is needed behind open ones that have nothing else in them."""
    lines = []
    for above in sorted({above for path in needed if (above := _closed_above(path)) is not None}):
        mine = [path for path in needed if path.is_relative_to(above)]
        lines += [f"exec {3 + number}< {path}" for number, path in enumerate(mine)]
        lines.append(f"mount -t tmpfs -o mode=755 none {above}")
        for number, path in enumerate(mine):
            held = f"/proc/self/fd/{3 + number}"
            lines += [f"mkdir -p {path}", f"mount --no-canonicalize --bind {held} {path}"]
    return lines


def _closed_above(path: Path) -> Path | None:
    """Return the topmost folder above that others may not enter."""
    above = (folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001)
    return next(above, None)
