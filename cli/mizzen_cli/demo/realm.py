"""A private world on this machine: networks, processes and sockets that vanish with one close.

:class:`Realm` is the outer half of :mod:`mizzen_cli.demo.inside`. It stays on the host as an ordinary
process and asks the inner half for what must be done in there. What it can get out is what makes it
handy: :meth:`Realm.open_socket` returns a socket that lives in a pod's network but is used out here, so
tests and the tour speak as any pod without being one.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo import wire
from mizzen_cli.demo.closing import Closing
from mizzen_cli.demo.host import (
    ForbiddenError,
    Host,
    MapRefusedError,
    Way,
    advice,
    look_around,
    with_one_uid,
    write_user_map,
)
from mizzen_cli.demo.inside import HUB

if TYPE_CHECKING:
    from collections.abc import Sequence

# How long the inner half may take to make its namespaces, on a machine that is busy.
_START_TIMEOUT_SECONDS: Final = 20
_STOP_TIMEOUT_SECONDS: Final = 20
# Where files may lie if the user's own place for temporary files is closed to others.
_PLACES: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108  # mkdtemp in there


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A process to be started.

    Attributes:
        network: The network that it lives in; empty for the hub.
        uid: The user and group that it runs as, in the realm's own numbering.
        log: The file that its output is appended to.
    """

    argv: tuple[str, ...]
    log: Path
    network: str = HUB
    uid: int = 0
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a short command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """The end of a process; a negative code is the signal that ended it."""

    pid: int
    code: int


class Realm(Closing):
    """The private world; use as a context manager, or call :meth:`close`."""

    def __init__(self, *, keep: bool = False, host: Host | None = None) -> None:
        """Enter a new world; :class:`ForbiddenError` with what to do where that is not permitted.

        Args:
            keep: Leave the work folder, with its logs, when the world ends.
            host: What this machine permits; found out where it is not given.
        """
        self.host = host or look_around()
        self.workdir = work_folder((Path(tempfile.gettempdir()), *_PLACES))
        self._keep = keep
        self._lock = Lock()
        self._exits: dict[int, Exit] = {}
        self._calls, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._events, their_events = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, their_events:
            self._process = _start_inside(
                (theirs.fileno(), their_events.fileno()), self.workdir, self.host, keep=keep
            )
        try:
            self._shake_hands()
        except BaseException:
            self.close()
            raise

    @property
    def events(self) -> socket.socket:
        """Readable when a process has ended; then call :meth:`exits`."""
        return self._events

    @property
    def pid(self) -> int:
        """The janitor's pid on the host; killing it ends the world."""
        return self._process.pid

    def bridge(self, cidr: str) -> None:
        """Join all networks made from here on; the hub gets this address."""
        self._ask({"op": "bridge", "cidr": cidr})

    def network(self, name: str, cidr: str, gateway: str) -> None:
        """Make a network with one address, from which everything else is reached by the gateway."""
        self._ask({"op": "network", "name": name, "cidr": cidr, "gateway": gateway})

    def run(self, argv: Sequence[str], *, network: str = HUB, text: str = "") -> Output:
        """Run a short command to its end, with ``text`` as its input."""
        answer = self._ask({"op": "run", "argv": list(argv), "network": network, "input": text})
        return Output(code=answer["code"], out=answer["out"], err=answer["err"])

    def spawn(self, command: Command) -> int:
        """Start a process and return its pid, which means something only in the realm."""
        answer = self._ask(
            {
                "op": "spawn",
                "argv": list(command.argv),
                "network": command.network,
                "uid": command.uid,
                "log": str(command.log),
                "env": dict(command.environment),
            }
        )
        return int(answer["pid"])

    def send_signal(self, pid: int, number: int = signal.SIGTERM) -> bool:
        """Send a signal; tells whether the process was still there."""
        return bool(self._ask({"op": "signal", "pid": pid, "signal": int(number)})["sent"])

    def open_socket(
        self,
        network: str = HUB,
        kind: socket.SocketKind = socket.SOCK_STREAM,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> socket.socket:
        """Return an unconnected socket that lives in a network."""
        question = {"op": "socket", "network": network, "family": family, "type": kind}
        with self._lock:
            _answer, (descriptor,) = wire.ask(self._calls, question)
        return socket.socket(fileno=descriptor)

    def connect(
        self, address: tuple[str, int], *, network: str = HUB, timeout: float = 5
    ) -> socket.socket:
        """Return a connected socket of a network; ``OSError`` as of ``socket.connect``."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        made = self.open_socket(network, family=family)
        try:
            made.settimeout(timeout)
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made

    def bind(self, source: Path, target: Path) -> None:
        """Show a file at another place, inside only."""
        self._ask({"op": "bind", "source": str(source), "target": str(target)})

    def own(self, path: Path, uid: int) -> None:
        """Give a file to a user of the realm."""
        self._ask({"op": "own", "path": str(path), "uid": uid})

    def exits(self) -> tuple[Exit, ...]:
        """Return the processes that have ended and were not reported or waited for yet."""
        self._collect(0)
        found = tuple(self._exits.values())
        self._exits.clear()
        return found

    def wait(self, pid: int, timeout: float) -> Exit:
        """Wait for the end of a process; ``TimeoutError`` when it goes on."""
        deadline = time.monotonic() + timeout
        while pid not in self._exits:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"process {pid} goes on")
            self._collect(left)
        return self._exits.pop(pid)

    def close(self) -> None:
        """End every process, remove every network and mount, and wait until that is done."""
        for channel in (self._calls, self._events):
            with suppress(OSError):
                channel.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
            channel.close()
        try:
            self._process.wait(_STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self._keep:  # the janitor has done it, unless someone killed it
            shutil.rmtree(self.workdir, ignore_errors=True)

    def _ask(self, question: wire.Message) -> wire.Message:
        with self._lock:
            answer, _descriptors = wire.ask(self._calls, question)
        return answer

    def _collect(self, timeout: float) -> None:
        """Read the reports of ended processes that are there, or come within the timeout."""
        while select.select([self._events], [], [], timeout)[0]:
            report, _descriptors = wire.receive(self._events)
            self._exits[report["pid"]] = Exit(pid=report["pid"], code=report["code"])
            timeout = 0

    def _shake_hands(self) -> None:
        """See the inner half through its start."""
        self._calls.settimeout(_START_TIMEOUT_SECONDS)
        try:
            said = self._receive()
            if "waiting" in said:
                write_user_map(self.host, self._process.pid)
                wire.send(self._calls, {"mapped": True})
                said = self._receive()
        except subprocess.CalledProcessError as refused:
            raise MapRefusedError(refused.stderr.decode().strip()) from refused
        except (OSError, EOFError) as refused:
            raise ForbiddenError(_advice(str(refused))) from refused
        if (error := said.get("error")) is not None:
            raise ForbiddenError(_advice(error))
        self._calls.settimeout(None)

    def _receive(self) -> wire.Message:
        message, _descriptors = wire.receive(self._calls)
        return message


def enter(*, keep: bool = False) -> Realm:
    """Enter a new world by the first way that this machine permits; see :class:`Realm`."""
    try:
        return Realm(keep=keep)
    except MapRefusedError as refused:
        why = str(refused) or "newuidmap was refused"
        return Realm(keep=keep, host=with_one_uid(f"newuidmap does not work: {why}"))


def _advice(reason: str) -> str:
    return advice(reason, root=os.geteuid() == 0)


def work_folder(places: Sequence[Path]) -> Path:
    """Make a folder for everything that the world writes, which all its users can reach.

    It is made at the first place that permits it; :class:`ForbiddenError` where none does. A closed
    ``$TMPDIR`` of one's own, as some systems give, is no place for Envoy, which has another uid.
    """
    for place in places:
        if not (place.is_dir() and os.access(place, os.W_OK) and _is_open(place)):
            continue
        folder = Path(tempfile.mkdtemp(prefix="mizzen-", dir=place))
        folder.chmod(0o755)
        (folder / "logs").mkdir()
        return folder
    raise ForbiddenError(
        "There is no folder for temporary files that other users may enter: "
        "create one (mode 1777, as /tmp), and name it in TMPDIR."
    )


def _is_open(place: Path) -> bool:
    """Tell whether everybody may enter a folder, and all that lead to it."""
    way = place.resolve()
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (way, *way.parents))


def _start_inside(
    sockets: tuple[int, int], workdir: Path, host: Host, *, keep: bool
) -> subprocess.Popen[bytes]:
    """Start the inner half in a session of its own, so that Ctrl-C on the terminal is ours alone."""
    words = (
        *(str(number) for number in sockets),
        str(workdir),
        "keep" if keep else "remove",
        "root" if host.way is Way.ROOT else "users",
    )
    try:
        with (workdir / "logs" / "inside.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603  # our own interpreter and module
                [sys.executable, "-m", "mizzen_cli.demo.inside", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=sockets,
                start_new_session=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
    except OSError:
        shutil.rmtree(workdir, ignore_errors=True)
        raise
