"""A realm leaves nothing behind, whoever ends first and however."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mizzen_cli.demo.realm import Command, Realm
from mizzen_cli.demo.wire import InsideError
from tests.support.netns import ways_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mizzen_cli.demo.host import Host

# A program that opens a realm with a network and two processes in it, one of them an orphan's child.
_PROGRAM: Final = """
import signal, sys
from mizzen_cli.demo.host import Host, UidRange, Way
from mizzen_cli.demo.realm import Command, Realm

realm = Realm()
realm.bridge("10.44.0.1/16")
realm.network("pod", "10.44.0.2/16", "10.44.0.1")
log = realm.workdir / "logs" / "sleep.log"
for argv in (("sleep", "600"), ("sh", "-c", "sleep 600 & sleep 600")):
    realm.spawn(Command(argv=argv, network="pod", log=log))
print(realm.pid, realm.workdir, flush=True)
signal.pause()
"""


@dataclass(frozen=True, slots=True)
class _Traces:
    """By what a realm is found on this machine."""

    program: subprocess.Popen[str]
    janitor: int
    workdir: Path
    pids: str

    @property
    def processes(self) -> list[str]:
        """The processes that live in the realm's pid namespace."""
        return [pid for pid in _all_pids() if _link(f"/proc/{pid}/ns/pid") == self.pids]


@pytest.fixture
def running() -> Iterator[_Traces]:
    """A program with a realm, in a process of its own."""
    program = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    with program.stdout as out:
        janitor, workdir = out.readline().split()
    pids = _link(f"/proc/{janitor}/ns/pid_for_children")
    traces = _Traces(program, int(janitor), Path(workdir), pids)
    assert len(traces.processes) >= 3
    yield traces
    program.kill()
    program.wait()


def _all_pids() -> list[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)


def _host_side() -> tuple[str, list[str]]:
    """What the host itself shows of networks and mounts."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return mounts, sorted(os.listdir("/sys/class/net"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_program(running: _Traces, number: signal.Signals) -> None:
    """Killing the program ends every process of its realm, and its work folder goes too."""
    running.program.send_signal(number)
    running.program.wait()
    _until(lambda: not running.processes)
    _until(lambda: not Path(f"/proc/{running.janitor}").exists())
    assert not running.workdir.exists()


def test_nothing_outlives_the_janitor(running: _Traces) -> None:
    """Killing the janitor ends every process of the realm too."""
    os.kill(running.janitor, signal.SIGKILL)
    _until(lambda: not running.processes)
    shutil.rmtree(running.workdir)  # its remover is dead, and the program would only be killed now


@pytest.mark.parametrize("host", ways_in(), ids=lambda host: host.way.name.lower())
def test_a_closed_realm_left_no_trace(host: Host) -> None:
    """The host's mounts and interfaces are as before while it runs, and its folder is gone after."""
    before = _host_side()
    with Realm(host=host) as realm:
        realm.bridge("10.44.0.1/16")
        realm.network("pod", "10.44.0.2/16", "10.44.0.1")
        target = realm.workdir / "target"
        target.touch()
        realm.bind(Path("/etc/hostname"), target)
        assert _host_side() == before
        workdir = realm.workdir
    assert not workdir.exists()
    assert _host_side() == before


@pytest.fixture(scope="module")
def realm() -> Iterator[Realm]:
    """One realm for what does not end it."""
    with Realm() as world:
        world.bridge("10.44.0.1/16")
        world.network("pod", "10.44.0.2/16", "10.44.0.1")
        yield world


def test_the_end_of_a_process_is_reported(realm: Realm) -> None:
    """An exit code is the process's, a signal's number is negative."""
    log = realm.workdir / "logs" / "exit.log"
    ended = realm.spawn(Command(argv=("sh", "-c", "exit 7"), log=log))
    assert realm.wait(ended, 5).code == 7
    killed = realm.spawn(Command(argv=("sleep", "600"), log=log))
    with pytest.raises(TimeoutError):
        realm.wait(killed, 0)
    assert realm.send_signal(killed)
    assert realm.wait(killed, 5).code == -signal.SIGTERM
    assert not realm.send_signal(killed)


def test_what_fails_inside_is_raised_outside(realm: Realm) -> None:
    """A command that is not there, and a network that is not, are errors with their names."""
    with pytest.raises(InsideError, match="no-such-command"):
        realm.run(["no-such-command"])
    with pytest.raises(InsideError, match="nowhere"):
        realm.run(["true"], network="nowhere")


def test_a_socket_lives_where_it_was_made(realm: Realm) -> None:
    """The hub sees the pod's address at the other end of a socket that is used out here."""
    with realm.open_socket() as server:
        server.bind(("10.44.0.1", 4000))
        server.listen()
        with realm.connect(("10.44.0.1", 4000), network="pod"):
            accepted, (address, _port) = server.accept()
            accepted.close()
    assert address == "10.44.0.2"
    with pytest.raises(OSError, match="refused"):
        realm.connect(("10.44.0.1", 4000), network="pod")


def test_the_host_is_out_of_reach(realm: Realm) -> None:
    """A server on the host's loopback is not there in a pod, nor is a pod's on the host."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(OSError, match="refused"):
        realm.connect(server.getsockname(), network="pod")
