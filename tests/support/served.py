"""A whole control plane on a folder, in this process, as ``mizzen serve`` runs it."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mizzen_certs import SystemClock
from mizzen_operator.address import Address
from mizzen_operator.app import AppSettings, ControlPlane, Ports
from mizzen_operator.logs import Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

TIMEOUT_S = 20.0
LOOPBACK = Address("127.0.0.1", 0)


@dataclass(slots=True, kw_only=True)
class Served:
    """A running control plane and what a test looks at."""

    plane: ControlPlane
    ports: Ports
    state: Path
    log: io.StringIO

    @property
    def insecure(self) -> int:
        """The plaintext port."""
        assert self.ports.insecure_xds is not None
        return self.ports.insecure_xds

    @property
    def secure(self) -> int:
        """The TLS port."""
        assert self.ports.xds is not None
        return self.ports.xds

    def token(self, namespace: str, account: str) -> str:
        """The bearer token of an account."""
        return (self.state / "tokens" / f"{namespace}.{account}").read_text()

    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    async def ask(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Status and body of a request to the HTTP port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.http)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ")[1]), body

    async def status(self) -> dict[str, Any]:
        """What ``/status`` says."""
        document: dict[str, Any] = json.loads((await self.ask("/status"))[1])
        return document

    async def object(
        self, kind: str, name: str, holds: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        """What is said of an object, as soon as something holds of it."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                for found in (await self.status())["objects"]:
                    if (found["kind"], found["name"]) == (kind, name) and holds(found):
                        return dict(found)

    async def until_ready(self) -> None:
        """Wait until proxies can be served."""
        async with asyncio.timeout(TIMEOUT_S):
            while (await self.ask("/readyz"))[0] != 200:
                pass


@asynccontextmanager
async def served(folder: Path, state: Path) -> AsyncIterator[Served]:
    """Run a control plane on a folder until the block ends; then it must stop cleanly."""
    settings = AppSettings(
        directory=folder,
        state=state,
        http=LOOPBACK,
        xds=LOOPBACK,
        insecure_xds=LOOPBACK,
        settle_seconds=0.02,
    )
    log = io.StringIO()
    plane = ControlPlane(settings, SystemClock(), Log(log))
    stop = asyncio.Event()
    listening: asyncio.Future[Ports] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(plane.run(stop, on_listening=listening.set_result))
        async with asyncio.timeout(TIMEOUT_S):
            ports = await listening
        running = Served(plane=plane, ports=ports, state=state, log=log)
        await running.until_ready()
        try:
            yield running
        finally:
            stop.set()
