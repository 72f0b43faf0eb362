"""The HTTP port: metrics for Prometheus, health for whoever restarts us, status for people and tools.

It says nothing that is secret, and the one thing that can be done here, replacing all certificates, is for
this machine alone.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

    from mizzen_operator.address import Address

# Prometheus' text format, version 0.0.4, which every scraper reads.
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the port shows, each made anew when it is asked for.

    Attributes:
        ready: Why proxies cannot be served yet; empty when they can.
        rotate: Replaces all certificates; returns how many.
    """

    metrics: Callable[[], bytes]
    status: Callable[[], dict[str, Any]]  # JSON
    ready: Callable[[], str]
    rotate: Callable[[], int]


class HttpServer:
    """Listens from :meth:`start` to :meth:`stop`."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._health),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
                web.get("/status", self._status),
                web.post("/rotate", self._rotate),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self, address: Address) -> int:
        """Listen; return the port. ``OSError`` where that is not possible."""
        await self._runner.setup()
        await web.TCPSite(self._runner, address.host, address.port).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Let requests under way end, and close."""
        await self._runner.cleanup()

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _ready(self, _request: web.Request) -> web.Response:
        reason = self._pages.ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._pages.metrics(), headers={"Content-Type": _METRICS_TYPE})

    async def _status(self, _request: web.Request) -> web.Response:
        text = json.dumps(self._pages.status(), indent=2)
        return web.Response(text=f"{text}\n", content_type="application/json")

    async def _rotate(self, request: web.Request) -> web.Response:
        # A page in a browser on this machine may ask too; browsers say so, and nobody else does.
        if not _is_loopback(request.remote) or "Origin" in request.headers:
            return web.Response(text="only from this machine\n", status=403)
        return web.json_response({"replaced": self._pages.rotate()})


def _is_loopback(remote: str | None) -> bool:
    return remote is not None and ipaddress.ip_address(remote.partition("%")[0]).is_loopback
