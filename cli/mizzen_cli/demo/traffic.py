"""Requests as a pod makes them, from out here: the sockets live in the pod's network.

Capture sees them as the application's, so they go through the pod's Envoy and carry its identity.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from mizzen_cli.demo.mesh import Mesh

_TIMEOUT_SECONDS: Final = 10.0
_CONCURRENCY: Final = 8
# Between the requests of one worker of a background load: enough to see a failure of a few
# milliseconds, and to leave the two cores to what is measured.
_LOAD_PAUSE_SECONDS: Final = 0.01
_LOAD_WORKERS: Final = 4


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


class Visitor:
    """Calls services from one pod's network; an async context manager."""

    def __init__(self, mesh: Mesh, pod: str = "", *, from_host: bool = False) -> None:
        """Speak as a pod; from the hub, outside of the mesh, where none is named; or from the host."""
        self._mesh = mesh
        self._network = mesh.pod(pod).network if pod else ""
        self._from_host = from_host

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
        try:
            async with self._session.request(method, url, headers=headers) as response:
                is_json = response.content_type == "application/json"
                body = await response.json() if is_json else {}
                return Answer(status=response.status, body=body)
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            return Answer(status=0, failure=str(failed) or type(failed).__name__)

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

    def _open(self) -> socket.socket:
        return self._mesh.realm.open_socket(self._network)


@dataclass(slots=True)
class Load:
    """What a background load has met so far."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    slowest_ms: float = 0.0

    @property
    def failed(self) -> int:
        """How many requests were not answered with 200."""
        return self.failures.total()

    def record(self, answer: Answer, milliseconds: float) -> None:
        """Count one request."""
        self.requests += 1
        self.slowest_ms = max(self.slowest_ms, milliseconds)
        if not answer.ok:
            self.failures[answer.failure or f"status {answer.status}"] += 1


@asynccontextmanager
async def under_load(visitor: Visitor, urls: tuple[str, ...]) -> AsyncIterator[Load]:
    """Keep calling some services for as long as the block lasts; the last requests are waited for."""
    load = Load()
    over = asyncio.Event()

    async def work(number: int) -> None:
        turn = number
        while not over.is_set():
            began = time.monotonic()
            answer = await visitor.get(urls[turn % len(urls)])
            load.record(answer, (time.monotonic() - began) * 1000)
            turn += 1
            await asyncio.sleep(_LOAD_PAUSE_SECONDS)

    async with asyncio.TaskGroup() as group:
        for number in range(_LOAD_WORKERS):
            group.create_task(work(number))
        try:
            yield load
        finally:
            over.set()


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
