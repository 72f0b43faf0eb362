"""A room for a cluster: namespaces of its own for mounts, network, host name and processes.

Whatever the cluster starts, mounts or routes exists in the room alone and ends with it: its first process dies, and the
kernel takes the other processes, the interfaces, the rules and the mounts away. Two things reach outside, and are put
back afterwards: control groups (version 1 has no way to hide them) and the few kernel settings that the kubelet writes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_GROUPS: Final = Path("/sys/fs/cgroup")
# On a disk: images on a tmpfs would be held in memory.
_STATE: Final = Path("/var/tmp")
_DYING_S: Final = 5.0
_LOOK_S: Final = 0.05
_PREFIX: Final = "mizzen-e2e-"
_WRITTEN_BY_KUBELET: Final = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
# The first process of the room is a shell: unlike Python, it takes the dead of others away.
_FIRST: Final = '"$@"; exit $?'


class NoRoom(Exception):
    """This machine cannot hold a cluster; the message says why."""


def enter(arguments: list[str]) -> int:
    """Run a Python module with arguments in a new room and return its exit status.

    Raises NoRoom.
    """
    look_around()
    with _state() as folder, _control_groups(folder.name), _kernel_settings():
        inside = [sys.executable, "-m", *arguments, "--folder", str(folder)]
        return subprocess.run([*_unshare(), *inside], check=False).returncode


def furnish(folder: Path) -> None:
    """Prepare the room from inside: state below the folder, loopback up, forwarding on."""
    for place, name in (("/var/lib", "lib"), ("/var/log", "log")):
        (folder / name).mkdir()
        _run("mount", "--bind", str(folder / name), place)
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    Path("/run/lock").mkdir()
    _run("mount", "--make-rshared", "/")
    _run("ip", "link", "set", "lo", "up")
    _run("hostname", "node")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def look_around() -> None:
    """Raise NoRoom where this machine cannot hold a cluster."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NoRoom("a cluster needs root on Linux: its pods are real")
    missing = [one for one in ("unshare", "setpriv", "ip", "mount") if not shutil.which(one)]
    if missing:
        raise NoRoom(f"not installed: {', '.join(missing)}")


def _unshare() -> list[str]:
    spaces = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
    # Each dies with the one before it: this process, unshare, the first process, everything else.
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", *spaces, "--kill-child"),
        *("sh", "-c", _FIRST, "sh"),
    ]


@contextmanager
def _state() -> Iterator[Path]:
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_STATE))
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what runs left that were killed: their locks are free."""
    for folder in _STATE.glob(f"{_PREFIX}*"):
        with suppress(BlockingIOError, FileNotFoundError), (folder / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for top in _tops(folder.name):
                _remove_groups(top)
            shutil.rmtree(folder, ignore_errors=True)


def _tops(name: str) -> list[Path]:
    roots = [root for root in (*_GROUPS.iterdir(), _GROUPS) if (root / "cgroup.procs").exists()]
    return [root / name for root in dict.fromkeys(root.resolve() for root in roots)]


@contextmanager
def _control_groups(name: str) -> Iterator[None]:
    tops = _tops(name)
    for top in tops:
        top.mkdir()
    _copy_cpusets(tops)
    try:
        yield
    finally:
        for top in tops:
            _remove_groups(top)


def _copy_cpusets(tops: list[Path]) -> None:
    for top in tops:
        for setting in ("cpuset.cpus", "cpuset.mems"):
            if (top / setting).exists() and not (top / setting).read_text().strip():
                (top / setting).write_text((top.parent / setting).read_text())


def _remove_groups(top: Path) -> None:
    for folder, _folders, _files in os.walk(top, topdown=False):
        _remove_group(Path(folder))


def _remove_group(folder: Path) -> None:
    """Remove a group as soon as the last of its processes, which were killed, is gone."""
    deadline = time.monotonic() + _DYING_S
    while not _is_removed(folder):
        if time.monotonic() > deadline:
            print(f"==> left behind: {folder}", file=sys.stderr)
            return
        time.sleep(_LOOK_S)


def _is_removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@contextmanager
def _kernel_settings() -> Iterator[None]:
    files = [Path("/proc/sys", name) for name in _WRITTEN_BY_KUBELET]
    before = {file: file.read_text() for file in files if file.exists()}
    try:
        yield
    finally:
        for file, value in before.items():
            if file.read_text() != value:
                file.write_text(value)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
