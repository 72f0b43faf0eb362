"""A whole replica of the operator on an API server, in this process, as ``mizzen operator`` runs it."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from e2e.cluster.api import free_ports
from mizzen_certs import SystemClock
from mizzen_operator.address import Address
from mizzen_operator.kube_app import Operator
from mizzen_operator.kube_settings import KubeSettings
from mizzen_operator.logs import Log
from mizzen_operator.plane import Ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from mizzen_operator.kube.client import ApiClient

TIMEOUT_S = 60.0
LOOPBACK = Address("127.0.0.1", 0)


@dataclass(slots=True, kw_only=True)
class Operated:
    """A running replica and what a test looks at."""

    operator: Operator
    ports: Ports
    log: io.StringIO
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def secure(self) -> int:
        """The port for proxies."""
        assert self.ports.xds is not None
        return self.ports.xds

    def events(self) -> list[dict[str, Any]]:
        """What was logged."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def has_logged(self, event: str) -> bool:
        """Whether an event was logged."""
        return any(one["event"] == event for one in self.events())

    async def ask(self, path: str) -> tuple[int, str]:
        """Status and body of a request to the HTTP port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports.http)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ")[1]), body


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Ask an API server or a replica again and again, until something holds."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await holds():  # noqa: ASYNC110  nobody tells of what is asked about
            await asyncio.sleep(0.05)


@asynccontextmanager
async def operated(
    kubeconfig: Path, identity: str = "mizzen-0", *, namespace: str = "mizzen-system"
) -> AsyncIterator[Operated]:
    """Run a replica until the block ends; then it must stop cleanly."""
    (webhooks,) = free_ports(1)
    settings = KubeSettings(
        http=LOOPBACK,
        xds=LOOPBACK,
        webhooks=Address("127.0.0.1", webhooks),
        replicas=LOOPBACK,
        namespace=namespace,
        kubeconfig=kubeconfig,
        webhook_url=f"https://127.0.0.1:{webhooks}",
        drain_seconds=0.0,
        identity=identity,
    )
    log, listening = io.StringIO(), asyncio.get_running_loop().create_future()
    operator = Operator(settings, SystemClock(), Log(log, level="debug"))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(operator.run(stop, on_listening=listening.set_result))
        async with asyncio.timeout(TIMEOUT_S):
            running = Operated(operator=operator, ports=await listening, log=log, stop=stop)
        try:
            yield running
        finally:
            stop.set()


async def until_ready(running: Operated) -> None:
    """Wait until proxies can be served."""

    async def is_ready() -> bool:
        return (await running.ask("/readyz"))[0] == 200

    await eventually(is_ready)


async def token_for(
    api: ApiClient,
    namespace: str,
    account: str,
    *,
    pod: dict[str, Any] | None = None,
    audience: str = "mizzen-ca",
) -> str:
    """Have the API server issue a token of a service account, bound to a pod where one is given."""
    spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 3600}
    if pod is not None:
        metadata = pod["metadata"]
        spec["boundObjectRef"] = {
            "kind": "Pod",
            "apiVersion": "v1",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    place = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    answer = await api.create(place, request)
    return str(answer["status"]["token"])
