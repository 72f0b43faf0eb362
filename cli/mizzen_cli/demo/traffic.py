"""Requests as a pod makes them, from out here: the sockets live in the pod's network.

Capture sees them as the application's, so they go through the pod's Envoy and carry its identity.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from mizzen_cli.demo.mesh import Mesh

_TIMEOUT_SECONDS: Final = 10.0
_CONCURRENCY: Final = 8
# A caller that meets nothing but timeouts still makes some requests in this time.
_MORE_SECONDS: Final = 60.0
# Between the requests of one caller of a background load: enough to see a failure of a few
# milliseconds, and to leave the two cores to what is measured.
_LOAD_PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; status 0 and the reason where nothing did.

    Attributes:
        body: The JSON that the shop's services answer; empty where it was something else.
    """

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether the service itself answered, and well."""
        return self.status == 200

    @property
    def said(self) -> str:
        """The status, or why there is none."""
        return str(self.status or self.failure)


class Visitor:
    """Calls services from one pod's network; an async context manager."""

    def __init__(self, mesh: Mesh, pod: str = "", *, from_host: bool = False) -> None:
        """Speak as a pod; from the hub, outside of the mesh, where none is named; or from the host."""
        self._mesh = mesh
        self._network = mesh.pod(pod).network if pod else ""
        self._from_host = from_host
        self.requests = 0

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=_Names(self._mesh),
            socket_factory=None if self._from_host else lambda _address: self._open(),
            limit=0,
        )
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Make one request; nothing is raised for what a network does."""
        self.requests += 1
        try:
            async with self._session.request(method, url, headers=headers) as response:
                is_json = response.content_type == "application/json"
                body = await response.json() if is_json else {}
                return Answer(status=response.status, body=body)
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            return Answer(status=0, failure=_reason(failed))

    async def many(
        self, url: str, count: int, *, headers: Mapping[str, str] | None = None
    ) -> tuple[Answer, ...]:
        """Make many requests, a few at a time."""
        left = iter(range(count))
        answers: list[Answer] = []

        async def work() -> None:
            for _ in left:
                answers.append(await self.get(url, headers=headers))  # noqa: PERF401  # shared

        async with asyncio.TaskGroup() as group:
            for _ in range(_CONCURRENCY):
                group.create_task(work())
        return tuple(answers)

    async def talk(self, name: str, port: int) -> Conversation:
        """Open a TCP connection to a service; ``OSError`` or ``TimeoutError`` where there is none."""
        made = self._open()
        made.setblocking(False)
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                address = (self._mesh.cast.address(name), port)
                await asyncio.get_running_loop().sock_connect(made, address)
        except BaseException:
            made.close()
            raise
        return Conversation(made)

    def _open(self) -> socket.socket:
        return self._mesh.realm.open_socket(self._network)


class Conversation:
    """A TCP connection on which every line is answered by one."""

    def __init__(self, connected: socket.socket) -> None:
        """Take over a connected socket that does not block."""
        self._socket = connected

    async def say(self, line: str) -> str:
        """Return the answer to a line; ``OSError`` or ``TimeoutError`` where none comes any more."""
        loop = asyncio.get_running_loop()
        answer = b""
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await loop.sock_sendall(self._socket, f"{line}\n".encode())
            while not answer.endswith(b"\n"):
                more = await loop.sock_recv(self._socket, 1024)
                if not more:
                    raise ConnectionResetError("connection closed")
                answer += more
        return answer.decode().strip()

    def hang_up(self) -> None:
        """End it; who is speaking at the time finds the connection closed."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


@dataclass(slots=True)
class Load:
    """What a background load has met so far.

    Attributes:
        lines: How many lines were answered on the one connection that stays open all the while.
    """

    requests: int = 0
    lines: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0
    _one_more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def failed(self) -> int:
        """How many requests were not answered with 200, and lines not at all."""
        return self.failures.total()

    def record(self, url: str, answer: Answer, milliseconds: float) -> None:
        """Count one request."""
        self.requests += 1
        self._one_more.set()
        self.slowest_ms = max(self.slowest_ms, milliseconds)
        if not answer.ok:
            self.failures[f"{url}: {answer.said}"] += 1

    async def more(self, count: int) -> None:
        """Wait for that many more requests, whatever becomes of them.

        ``TimeoutError`` when they do not come.
        """
        goal = self.requests + count
        async with asyncio.timeout(_MORE_SECONDS):
            while self.requests < goal:
                self._one_more.clear()
                await self._one_more.wait()


@asynccontextmanager
async def under_load(
    calls: tuple[tuple[Visitor, str], ...], conversation: Conversation | None = None
) -> AsyncIterator[Load]:
    """Keep calling for as long as the block lasts; the last requests are waited for.

    Each visitor calls its URL over and over; the conversation, where there is one, goes on and on.
    """
    load = Load()
    over = asyncio.Event()

    async def call(visitor: Visitor, url: str) -> None:
        while not over.is_set():
            began = time.monotonic()
            answer = await visitor.get(url)
            load.record(url, answer, (time.monotonic() - began) * 1000)
            await asyncio.sleep(_LOAD_PAUSE_SECONDS)

    async def converse(partner: Conversation) -> None:
        try:
            while not over.is_set():
                await partner.say(f"line {load.lines}")
                load.lines += 1
                await asyncio.sleep(_LOAD_PAUSE_SECONDS)
        except (OSError, TimeoutError) as failed:
            load.failures[f"the open connection: {_reason(failed)}"] += 1

    async with asyncio.TaskGroup() as group:
        for visitor, url in calls:
            group.create_task(call(visitor, url))
        if conversation is not None:
            group.create_task(converse(conversation))
        try:
            yield load
        finally:
            over.set()


def _reason(failed: BaseException) -> str:
    """Return what went wrong in a few words, without numbers of errors."""
    if isinstance(failed, OSError) and failed.strerror:
        return failed.strerror.lower()
    return str(failed) or type(failed).__name__


class _Names(AbstractResolver):
    """Resolves names as a pod's ``/etc/hosts`` does."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return the one address; ``OSError`` for a name that nobody has."""
        try:
            address = self._mesh.cast.address(host)
        except KeyError as unknown:
            raise OSError(f"nobody is called {host}") from unknown
        return [ResolveResult(hostname=host, host=address, port=port, family=2, proto=0, flags=0)]

    async def close(self) -> None:
        """Nothing is held."""
