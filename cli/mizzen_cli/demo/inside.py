"""The inner half of the demo: the first process of a private world, which does what it is asked.

It is run as a program of its own (``python -m mizzen_cli.demo.inside``), because only a process of one
thread may enter a user namespace. It becomes two processes:

* the *janitor* stays outside of the new pid namespace, waits for the other one to end, and then removes
  the work folder;
* the *first process* of the pid namespace owns networks, mounts and every process of the mesh. When it
  ends, for whatever reason, the kernel kills all that is left in the namespace, and what it made of
  interfaces and mounts goes with the namespaces.

It ends when the outer half closes its socket, which happens even when that one is killed, and when the
janitor is killed. So nothing outlives the demo, whichever process dies first.
"""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo import linux, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = tuple[wire.Message, tuple[int, ...]]

BRIDGE: Final = "mesh0"
_BRIDGE_MAC: Final = "02:00:00:00:00:01"  # locally administered
HUB: Final = ""

# An ordinary user's PATH lacks these on Debian, and there is where ip and iptables are.
_SYSTEM_PATH: Final = "/usr/local/sbin:/usr/sbin:/sbin"
# iptables of the older kind locks a file that only the system's root may write.
_LOCK_FILE: Final = "xtables.lock"
_COMMAND_TIMEOUT_SECONDS: Final = 20


def main() -> int:
    """Run as ``inside CALLS EVENTS WORKDIR KEEP OWN_USERS``; the first two are inherited sockets."""
    calls, events = (socket.socket(fileno=int(number)) for number in sys.argv[1:3])
    workdir, keep, own_users = Path(sys.argv[3]), sys.argv[4] == "keep", sys.argv[5] == "users"
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}"
    os.environ["XTABLES_LOCKFILE"] = str(workdir / _LOCK_FILE)
    try:
        _enter_users_and_pids(calls, own_users=own_users)
    except OSError as refused:
        wire.send(calls, {"error": _refusal(refused)})
        return 1
    first = os.fork()
    if first == 0:
        return _first_process(calls, events)
    os.waitpid(first, 0)
    if not keep:
        shutil.rmtree(workdir, ignore_errors=True)
    return 0


def _enter_users_and_pids(calls: socket.socket, *, own_users: bool) -> None:
    """Leave the host, with a user namespace whose map the outer half writes where one is wanted."""
    if own_users:
        linux.unshare(linux.CLONE_NEWUSER)
        wire.ask(calls, {"waiting": "user map"})
    linux.unshare(linux.CLONE_NEWPID)


def _first_process(calls: socket.socket, events: socket.socket) -> int:
    """Enter what the janitor stays out of: it must not see the mounts in the folder it removes."""
    linux.die_with_parent(signal.SIGKILL)
    try:
        linux.unshare(
            linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
        )
        linux.make_mounts_private()
        _mount_proc()
        world = World(events)
        world.start()
    except (OSError, subprocess.SubprocessError) as refused:
        wire.send(calls, {"error": _said(refused)})
        return 1
    wire.send(calls, {"ready": True})
    Loop(calls, world).run()
    return 0


def _mount_proc() -> None:
    """Show only our own processes; in a container that may be forbidden, and nothing depends on it."""
    try:
        linux.mount_proc()
    except OSError as refused:
        sys.stderr.write(f"/proc is the host's: {refused}\n")


class World:
    """The networks and the processes; every public method is something that may be asked for."""

    def __init__(self, events: socket.socket) -> None:
        self._events = events
        self._home = linux.open_network()
        self._networks: dict[str, int] = {HUB: self._home}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.questions: dict[
            str, Callable[[wire.Message], tuple[wire.Message, tuple[int, ...]]]
        ] = {
            "bridge": self.bridge,
            "network": self.network,
            "run": self.execute,
            "spawn": self.spawn,
            "signal": self.send_signal,
            "socket": self.give_socket,
            "bind": self.bind,
            "own": self.own,
        }

    def start(self) -> None:
        """Make the hub usable: its loopback answers."""
        _ip("link set lo up")

    def bridge(self, ask: wire.Message) -> Answer:
        """Make the bridge that all networks are joined to, with the hub's own address on it."""
        _ip(
            # A bridge without an address of its own takes its ports' lowest, so that each new network
            # could change it under the feet of those who had just learned it.
            f"link add {BRIDGE} address {_BRIDGE_MAC} type bridge",
            f"addr add {ask['cidr']} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )
        return {}, ()

    def network(self, ask: wire.Message) -> Answer:
        """Make a network of one address, joined to the bridge by a pair of virtual cables.

        Everything else goes by way of the hub, so that a service's address, which nobody has, is
        at least routable: capture sees only what the kernel is ready to send.
        """
        linux.unshare(linux.CLONE_NEWNET)
        descriptor = linux.open_network()
        linux.setns(self._home, linux.CLONE_NEWNET)
        cable = f"pod{len(self._networks)}"
        _ip(
            f"link add {cable} type veth peer name eth0 netns /proc/self/fd/{descriptor}",
            f"link set {cable} master {BRIDGE} up",
            descriptors=(descriptor,),
        )
        with linux.inside_network(descriptor, self._home):
            _ip(
                "link set lo up",
                f"addr add {ask['cidr']} dev eth0",
                "link set eth0 up",
                f"route add default via {ask['gateway']}",
            )
            _allow_low_ports()
        self._networks[ask["name"]] = descriptor
        return {}, ()

    def execute(self, ask: wire.Message) -> Answer:
        """Run a short command in a network to its end and return its exit code and output."""
        with linux.inside_network(self._network(ask), self._home):
            done = subprocess.run(  # noqa: S603  # as for spawn
                ask["argv"],
                input=ask.get("input", ""),
                capture_output=True,
                text=True,
                timeout=_COMMAND_TIMEOUT_SECONDS,
                check=False,
            )
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}, ()

    def spawn(self, ask: wire.Message) -> Answer:
        """Start a process in a network, as some user, with its output in a file; returns its pid."""
        user = ask["uid"] or None  # a world of one uid may not even set it to what it is
        environment = os.environ | ask.get("env", {})
        with (
            Path(ask["log"]).open("ab") as log,
            linux.inside_network(self._network(ask), self._home),
        ):
            process = subprocess.Popen(  # noqa: S603  # starting what it is told to is its purpose
                ask["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=ask.get("cwd"),
                user=user,
                group=user,
                extra_groups=() if user else None,
            )
        self._processes[process.pid] = process
        return {"pid": process.pid}, ()

    def send_signal(self, ask: wire.Message) -> Answer:
        """Send a signal to a process that was started here; tells whether it was still there."""
        process = self._processes.get(ask["pid"])
        if process is None:
            return {"sent": False}, ()
        process.send_signal(ask["signal"])
        return {"sent": True}, ()

    def give_socket(self, ask: wire.Message) -> Answer:
        """Give out a socket that lives in a network, whoever uses it."""
        with linux.inside_network(self._network(ask), self._home):
            made = socket.socket(ask["family"], ask["type"])
        return {}, (made.detach(),)

    def bind(self, ask: wire.Message) -> Answer:
        """Show a file at another place, to the processes in here only."""
        linux.bind_mount(Path(ask["source"]), Path(ask["target"]))
        return {}, ()

    def own(self, ask: wire.Message) -> Answer:
        """Give a file to a user of this world."""
        os.chown(ask["path"], ask["uid"], ask["uid"])
        return {}, ()

    def reap(self) -> None:
        """Report the processes that have ended, and bury orphans without a word."""
        while (found := _ended()) is not None:
            process = self._processes.pop(found, None)
            if process is None:
                os.waitpid(found, 0)
                continue
            wire.send(self._events, {"pid": found, "code": process.wait()})

    def _network(self, ask: wire.Message) -> int:
        return self._networks[ask["network"]]


class Loop:
    """Waits for questions and for the ends of processes, until the outer half is gone."""

    def __init__(self, calls: socket.socket, world: World) -> None:
        self._calls = calls
        self._world = world
        self._wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_write)

    def run(self) -> None:
        """Return when the outer half has closed its socket."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._calls, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _mask in selector.select()}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                    self._world.reap()
                if self._calls.fileno() in ready and not self._answer():
                    return

    def _answer(self) -> bool:
        """Answer one question; false when there will be none any more."""
        try:
            question, _descriptors = wire.receive(self._calls)
        except EOFError:
            return False
        descriptors: tuple[int, ...] = ()
        try:
            answer, descriptors = self._world.questions[question["op"]](question)
        except (OSError, subprocess.SubprocessError, KeyError) as failed:
            answer = {"error": _said(failed)}
        wire.send(self._calls, answer, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return True


def _ip(*commands: str, descriptors: tuple[int, ...] = ()) -> None:
    """Run commands of ``ip`` in one go."""
    subprocess.run(
        ["ip", "-batch", "-"],  # noqa: S607  # where it lies differs between distributions
        input="\n".join(commands) + "\n",
        capture_output=True,
        text=True,
        timeout=_COMMAND_TIMEOUT_SECONDS,
        pass_fds=descriptors,
        check=True,
    )


def _allow_low_ports() -> None:
    """Let Envoy listen on port 80 without being root, as container runtimes do."""
    try:
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0", encoding="ascii")
    except OSError as refused:
        sys.stderr.write(f"ports below 1024 stay root's: {refused}\n")


def _ended() -> int | None:
    """Return the pid of a child that has ended and is not buried yet."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def _refusal(refused: OSError) -> str:
    """Return why no namespace was made; the kernel's own words for its limits are about disks."""
    if refused.errno == errno.ENOSPC:
        return "the limit on their number is reached"
    return f"{refused.strerror} (errno {refused.errno})"


def _said(failed: Exception) -> str:
    """Return what went wrong, with what a command wrote about it."""
    match failed:
        case subprocess.CalledProcessError(cmd=command, stderr=stderr):
            return f"{command[0]}: {stderr.strip() or failed}"
        case KeyError():
            return f"unknown: {failed}"
        case _:
            return str(failed)


if __name__ == "__main__":
    sys.exit(main())
