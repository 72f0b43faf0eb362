"""What this machine permits, and what to do where it does not: the way into a private world.

Three ways, the first that is open:

* as root: no user namespace is needed, all users exist;
* as an ordinary user with a range of uids (``newuidmap``, ``/etc/subuid``): a user namespace in which
  Envoy has a uid of its own, as in a pod;
* as an ordinary user without such a range: a user namespace of one uid. Envoy is then told from the
  applications by a firewall mark on its sockets.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
_TOOLS: Final = {"ip": "iproute2", "iptables-restore": "iptables"}
# Enough for the uids of a pod: root, Envoy's 1337, and whatever an image uses.
_UIDS_WANTED: Final = 2000


class Way(Enum):
    """How the private world is entered."""

    ROOT = auto()
    UID_RANGE = auto()
    ONE_UID = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class UidRange:
    """Uids (or gids) of the host that a user may use as their own."""

    start: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What was found out about this machine.

    Attributes:
        note: A sentence for the user about what is not as in a pod; empty where all is.
    """

    way: Way
    uids: UidRange | None = None
    gids: UidRange | None = None
    note: str = ""


class ForbiddenError(Exception):
    """This machine does not let us in; the message says what to do."""


class MapRefusedError(ForbiddenError):
    """It lets us in, but not with a range of uids."""


def look_around() -> Host:
    """Find the way in; :class:`ForbiddenError` where a tool is missing or this is not Linux."""
    if sys.platform != "linux":
        raise ForbiddenError("The demo is made of Linux's network namespaces: run it on Linux.")
    if missing := sorted({package for tool, package in _TOOLS.items() if not _which(tool)}):
        raise ForbiddenError(
            f"Missing: {', '.join(missing)}. Install with your package manager, for example "
            f"`sudo apt-get install {' '.join(missing)}`, and try again."
        )
    if os.geteuid() == 0:
        return Host(way=Way.ROOT)
    mine = frozenset((_me(), str(os.getuid())))
    uids, gids = (spare_range(Path(file), mine) for file in ("/etc/subuid", "/etc/subgid"))
    if uids and gids and _which("newuidmap") and _which("newgidmap"):
        return Host(way=Way.UID_RANGE, uids=uids, gids=gids)
    return with_one_uid("no newuidmap, or no range for you in /etc/subuid")


def with_one_uid(why: str) -> Host:
    """Return the way in that every user has, with a note of what is then not as in a pod."""
    return Host(
        way=Way.ONE_UID,
        note=(
            f"Only one uid is available here ({why}), so "
            "Envoy is told from the applications by a firewall mark instead of by its uid 1337. "
            "To have it as in a pod: install the package uidmap and "
            f"`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_me()}`."
        ),
    )


def spare_range(file: Path, mine: frozenset[str]) -> UidRange | None:
    """Return the first range of a user, by name or number, that is large enough (subuid(5))."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        owner, _, rest = line.partition(":")
        start, _, count = rest.partition(":")
        if owner in mine and count.isdigit() and int(count) >= _UIDS_WANTED:
            return UidRange(start=int(start), count=int(count))
    return None


def write_user_map(host: Host, pid: int) -> None:
    """Give a new user namespace its users: we ourselves are its root.

    ``OSError`` or ``subprocess.CalledProcessError`` where that is refused.
    """
    if host.uids and host.gids and os.geteuid() != 0:
        _map_range("newuidmap", pid, os.getuid(), host.uids)
        _map_range("newgidmap", pid, os.getgid(), host.gids)
        return
    process = Path(f"/proc/{pid}")
    if not host.gids:  # the kernel's condition for a map without privilege (user_namespaces(7))
        (process / "setgroups").write_text("deny", encoding="ascii")
    (process / "uid_map").write_text(_map_text(os.getuid(), host.uids), encoding="ascii")
    (process / "gid_map").write_text(_map_text(os.getgid(), host.gids), encoding="ascii")


def read_sysctl(name: str) -> str:
    """Return the value of a kernel switch, empty where this kernel does not have it."""
    try:
        path = Path("/proc/sys") / name.replace(".", "/")
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def advice(reason: str, *, root: bool, switch: Callable[[str], str] = read_sysctl) -> str:
    """Return what to tell a user whose system refused a namespace: why, and how to go on."""
    lines = [f"This system does not let us make namespaces: {reason}."]
    lines += [
        f"  {why}\n    sudo sysctl -w {name}={value}"
        for name, bad, value, why in _SWITCHES
        if switch(name) == bad
    ]
    if root:
        lines.append("  You are root without CAP_SYS_ADMIN: in a container, start it privileged.")
    else:
        lines.append("  Or run the demo as root: sudo make demo")
    lines.append("  In a container, its seccomp profile may forbid it: try on the machine itself.")
    return "\n".join(lines)


# sysctl, the value that forbids, the value that permits, and who sets it.
_SWITCHES: Final = (
    (
        "kernel.unprivileged_userns_clone",
        "0",
        "1",
        "User namespaces are switched off for ordinary users (Debian's switch):",
    ),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "1",
        "0",
        "AppArmor restricts user namespaces (Ubuntu 23.10 and later):",
    ),
    ("user.max_user_namespaces", "0", "10000", "No user namespaces are allowed at all:"),
    ("user.max_net_namespaces", "0", "10000", "No network namespaces are allowed at all:"),
)


def _map_range(command: str, pid: int, own: int, spare: UidRange) -> None:
    own_entry = ("0", str(own), "1")
    spare_entry = ("1", str(spare.start), str(spare.count))
    argv = [_which(command) or command, str(pid), *own_entry, *spare_entry]
    subprocess.run(argv, check=True, capture_output=True)  # noqa: S603  # numbers only


def _map_text(own: int, spare: UidRange | None) -> str:
    """Return a map as the kernel reads it: inside, outside, count."""
    others = f"1 {spare.start} {spare.count}\n" if spare else ""
    return f"0 {own} 1\n{others}"


def _me() -> str:
    """Return this user's name as ``newuidmap`` sees it, or the number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _which(tool: str) -> str | None:
    return shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")
