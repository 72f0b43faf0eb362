"""The load process as seen by the program that drives it."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from bench.mesh import NAMESPACE, MeshSize, pod
from bench.node import NodeFacts

_TIMEOUT_S: Final = 60.0
# Nothing may come for so long before a mesh counts as settled.
_QUIET_S: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A resource that every proxy must be sent, by type and a part of its name."""

    kind: str
    contains: str
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When each proxy had what was waited for, and what had been sent to all of them by then.

    Attributes:
        arrived_ns: Of each proxy, on the system-wide monotonic clock.
        acked_ns: When each proxy had written its acknowledgement.
        received_bytes: Of all proxies, framing included.
        generator_cpu_s: What the load process itself spent, to see that it is not what was measured.
    """

    arrived_ns: tuple[int, ...]
    acked_ns: tuple[int, ...]
    received_bytes: int
    messages: int
    generator_cpu_s: float

    def last_ms(self, since_ns: int) -> float:
        """Return when the last proxy had it."""
        return (max(self.arrived_ns) - since_ns) / 1e6

    def last_ack_ms(self, since_ns: int) -> float:
        """Return when the last proxy had acknowledged it."""
        return (max(self.acked_ns) - since_ns) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Believes:
    """Whom the proxies believe to be the control plane, over TLS."""

    roots: Path
    server_name: str


class FleetError(Exception):
    """The proxies did not get what they were to get, or their streams ended."""


class Fleet:
    """Many Envoys' streams, kept by a process of their own."""

    def __init__(self, port: int, host: str = "127.0.0.1", *, tls: Believes | None = None) -> None:
        allow_many_files()
        command = [sys.executable, "-m", "bench.load", host, str(port)]
        if tls is not None:
            command += ["--roots", str(tls.roots), "--server-name", tls.server_name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.started_ns = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all streams and the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def connect(
        self,
        nodes: Sequence[NodeFacts],
        *,
        clusters: int,
        virtual_hosts: int,
        tokens: Sequence[str] = (),
    ) -> Arrivals:
        """Open a stream for each node; return when each had its first full configuration."""
        expected = {"clusters": clusters, "virtual_hosts": virtual_hosts}
        facts = [asdict(node) for node in nodes]
        answer = self._ask("connect", nodes=facts, tokens=list(tokens), expected=expected)
        self.started_ns = answer["started_ns"]
        return self.wait()

    def arm(self, *awaited: Awaited) -> None:
        """Expect these resources from now on; an edit may follow at once."""
        self._ask("arm", awaited=[asdict(each) for each in awaited])

    def wait(self, timeout_s: float = _TIMEOUT_S) -> Arrivals:
        """Return when every proxy had all that is expected; ``FleetError`` if some never had."""
        answer = self._ask("wait", timeout_s=timeout_s)
        if answer["missing"]:
            raise FleetError(f"{answer['missing']} proxies wait in vain: {answer['why']}")
        if answer["ended"]:
            raise FleetError(f"{answer['ended']} streams were ended by the server")
        return Arrivals(
            arrived_ns=tuple(answer["arrived_ns"]),
            acked_ns=tuple(answer["acked_ns"]),
            received_bytes=answer["bytes"],
            messages=answer["messages"],
            generator_cpu_s=answer["cpu_s"],
        )

    def settle(self, quiet_s: float = _QUIET_S, timeout_s: float = _TIMEOUT_S) -> int:
        """Return the bytes received since the last command, once nothing comes any more."""
        return int(self._ask("settle", quiet_s=quiet_s, timeout_s=timeout_s)["bytes"])

    def reconnect(self) -> None:
        """Close every stream and open it again with the versions of what was received."""
        self.started_ns = self._ask("reconnect")["started_ns"]

    def names(self, kind: str, contains: str) -> list[str]:
        """Return the names of a type that the first proxy holds."""
        return [str(name) for name in self._ask("names", kind=kind, contains=contains)["names"]]

    def _ask(self, what: str, **arguments: object) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"do": what, **arguments}).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise FleetError(f"the load process ended with {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def nodes(size: MeshSize, count: int) -> list[NodeFacts]:
    """Return the proxies beside the first pods of every service in turn."""
    pods = (pod(each % size.services, each // size.services) for each in range(count))
    return [
        NodeFacts(
            name=each.name,
            namespace=NAMESPACE,
            ip=each.ip,
            service_account=each.service_account,
            labels=dict(each.labels),
        )
        for each in pods
    ]


def allow_many_files() -> None:
    """Raise the soft limit of open files, which is too low for a thousand sockets by default."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
