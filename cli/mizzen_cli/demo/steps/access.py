"""Step 4: who may and who may not, over HTTP and over TCP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage

_LEDGER: Final = "ledger"
_BOOKING_PORT: Final = 9000
_TIMEOUT_SECONDS: Final = 5
_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True)
class _Try:
    """A request, and the status that the policies promise for it."""

    pod: str
    method: str
    url: str
    expected: int


_TRIES: Final = (
    _Try("frontend-v1", "GET", "http://reviews:9080/self", 200),
    _Try("frontend-v1", "POST", "http://reviews:9080/self", _FORBIDDEN),
    _Try("catalog-1", "GET", "http://reviews:9080/self", _FORBIDDEN),
    _Try("catalog-1", "GET", "http://ledger:9080/self", 200),
    _Try("catalog-1", "GET", "http://frontend:9080/internal/keys", _FORBIDDEN),
)


async def run(stage: Stage) -> tuple[Measured, ...]:
    """Try what is allowed and what is not, each as the pod that it is about."""
    over_http = [await _over_http(stage, attempt) for attempt in _TRIES]
    return (
        *over_http,
        await _booking(stage, "catalog-1", allowed=True),
        await _booking(stage, "frontend-v1", allowed=False),
    )


async def _over_http(stage: Stage, attempt: _Try) -> Measured:
    answer = await stage.inside[attempt.pod].get(attempt.url, method=attempt.method)
    return Measured(
        what=f"{attempt.pod}: {attempt.method} {attempt.url}",
        value=str(answer.status or answer.failure),
        holds=answer.status == attempt.expected,
    )


async def _booking(stage: Stage, pod: str, *, allowed: bool) -> Measured:
    answer = await _say(stage, pod, "ten crowns")
    return Measured(
        what=f"{pod}: a booking over TCP, {_LEDGER}:{_BOOKING_PORT}",
        value=answer or "connection closed",
        holds=bool(answer) is allowed,
    )


async def _say(stage: Stage, pod: str, line: str) -> str:
    """Return the ledger's answer to a line, empty when the connection was closed instead."""
    loop = asyncio.get_running_loop()
    made = stage.mesh.realm.open_socket(stage.mesh.pod(pod).network)
    made.setblocking(False)
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await loop.sock_connect(made, (stage.mesh.cast.address(_LEDGER), _BOOKING_PORT))
            await loop.sock_sendall(made, f"{line}\n".encode())
            return (await loop.sock_recv(made, 1024)).decode().strip()
    except (OSError, TimeoutError):
        return ""
    finally:
        made.close()
