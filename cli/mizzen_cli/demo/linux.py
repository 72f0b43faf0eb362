"""The four calls of Linux that make a private world, which Python 3.11 has no names for.

``os.unshare`` and ``os.setns`` came with Python 3.12; ``mount`` and ``prctl`` never did. All raise
``OSError`` with the kernel's number, as the ones of :mod:`os` do.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# linux/sched.h
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

# linux/mount.h
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_PRIVATE: Final = 1 << 18

_PR_SET_PDEATHSIG: Final = 1

_NETWORK_NAMESPACE: Final = "/proc/self/ns/net"


def unshare(flags: int) -> None:
    """Move this process (for ``CLONE_NEWPID``: its future children) into new namespaces."""
    _checked(_libc().unshare(flags))


def setns(descriptor: int, flags: int) -> None:
    """Move this thread into the namespace that the descriptor stands for."""
    _checked(_libc().setns(descriptor, flags))


def mount_proc() -> None:
    """Mount a ``/proc`` that shows the processes of this pid namespace and no others."""
    _checked(_libc().mount(b"proc", b"/proc", b"proc", 0, None))


def make_mounts_private() -> None:
    """Let no mount made from here on be seen outside of this mount namespace."""
    _checked(_libc().mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


def bind_mount(source: Path, target: Path) -> None:
    """Show a file or folder at another place as well."""
    _checked(_libc().mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None))


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for a signal when the thread that started this process ends."""
    _checked(_libc().prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0))


def open_network() -> int:
    """Return a descriptor of this thread's network namespace; it is not inherited."""
    return os.open(_NETWORK_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside_network(descriptor: int, home: int) -> Iterator[None]:
    """Be in another network namespace for a while.

    What is made meanwhile belongs there for good: a socket, or a child process. Only for a process
    of one thread, whose own namespace is ``home``.
    """
    setns(descriptor, CLONE_NEWNET)
    try:
        yield
    finally:
        setns(home, CLONE_NEWNET)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
