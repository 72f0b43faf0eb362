"""The HTTP port: metrics for Prometheus, health for whoever restarts us, status for people and tools.

It says nothing that is secret, and the one thing that can be done here, replacing all certificates, is for
this machine alone.

It is a page of HTTP/1.1 on asyncio's streams, one request a connection: five fixed pages need no
framework, and the one that everybody takes would be a sixth of the control plane's memory.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mizzen_operator.address import Address

# A client that has not sent its request by then gets none answered.
_PATIENCE_SECONDS: Final = 10.0
# More than any browser or scraper sends as a request's head.
_HEAD_LIMIT_BYTES: Final = 32 * 1024

_PROXY: Final = "/proxies/"
# An API server that passes a request on takes its Authorization off.
PROOF_HEADER: Final = "mizzen-token"

_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
# Prometheus' text format, which every scraper reads.
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the port shows, each made anew when it is asked for.

    Attributes:
        ready: Why proxies cannot be served yet; empty when they can.
        rotate: Replaces all certificates; returns how many.
        proxy: What a proxy is to have, by its id; ``None`` where it is not connected.
        may_see: Whether the bearer of a token may see that, from elsewhere.
    """

    metrics: Callable[[], bytes]
    status: Callable[[], dict[str, Any]]  # JSON
    ready: Callable[[], str]
    rotate: Callable[[], int]
    proxy: Callable[[str], dict[str, Any] | None]
    may_see: Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    is_from_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: HTTPStatus = HTTPStatus.OK
    kind: str = _TEXT
    body: bytes = b""


class HttpServer:
    """Listens from :meth:`start` to :meth:`stop`."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._paths: dict[str, tuple[str, Callable[[_Request], _Answer]]] = {
            "/healthz": ("GET", self._health),
            "/readyz": ("GET", self._ready),
            "/metrics": ("GET", self._metrics),
            "/status": ("GET", self._status),
            "/rotate": ("POST", self._rotate),
        }
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self, address: Address) -> int:
        """Listen; return the port. ``OSError`` where that is not possible."""
        self._server = await asyncio.start_server(
            self._serve, address.host, address.port, limit=_HEAD_LIMIT_BYTES
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Close, with what is still open."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                answer = await self._answer(await _read(reader, writer))
                writer.write(_encoded(answer))
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away, or never said what it wanted
        except (ValueError, asyncio.LimitOverrunError):
            writer.write(_encoded(_plain(HTTPStatus.BAD_REQUEST, "not a request")))
        finally:
            self._open.discard(writer)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, request: _Request) -> _Answer:
        if request.path.startswith(_PROXY):
            return await self._proxy(request)
        if request.path not in self._paths:
            known = (*self._paths, f"{_PROXY}ID")
            return _plain(HTTPStatus.NOT_FOUND, f"there are {' '.join(known)}")
        method, make = self._paths[request.path]
        if request.method != method:
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, f"only {method}")
        return make(request)

    def _health(self, _request: _Request) -> _Answer:
        return _plain(HTTPStatus.OK, "ok")

    def _ready(self, _request: _Request) -> _Answer:
        reason = self._pages.ready()
        status = HTTPStatus.SERVICE_UNAVAILABLE if reason else HTTPStatus.OK
        return _plain(status, reason or "ok")

    def _metrics(self, _request: _Request) -> _Answer:
        return _Answer(kind=_METRICS, body=self._pages.metrics())

    def _status(self, _request: _Request) -> _Answer:
        return _json(self._pages.status())

    async def _proxy(self, request: _Request) -> _Answer:
        """Show what a proxy has to whom the mesh's policies are no secret."""
        if request.method != "GET":
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        if not request.is_from_here and not await self._pages.may_see(
            request.headers.get(PROOF_HEADER, "")
        ):
            return _plain(HTTPStatus.FORBIDDEN, "only from this machine, or with a token")
        found = self._pages.proxy(unquote(request.path.removeprefix(_PROXY)))
        return _json(found) if found else _plain(HTTPStatus.NOT_FOUND, "not connected here")

    def _rotate(self, request: _Request) -> _Answer:
        # A page in a browser on this machine may ask too; browsers say so, and nobody else does.
        if not request.is_from_here or "origin" in request.headers:
            return _plain(HTTPStatus.FORBIDDEN, "only from this machine")
        return _json({"replaced": self._pages.rotate()})


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    """Read a request's head (RFC 9112, section 2); ``ValueError`` when it is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, target, _version = start.split(" ")
    fields = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    # A body is of no use to any page; left unread it would reset the connection under the answer.
    await reader.readexactly(min(int(headers.get("content-length", "0")), _HEAD_LIMIT_BYTES))
    return _Request(
        method=method,
        path=target.partition("?")[0],
        headers=headers,
        is_from_here=_is_loopback(str(writer.get_extra_info("peername")[0])),
    )


def _plain(status: HTTPStatus, text: str) -> _Answer:
    return _Answer(status=status, body=f"{text}\n".encode())


def _json(value: object) -> _Answer:
    return _Answer(kind=_JSON, body=f"{json.dumps(value, indent=2)}\n".encode())


def _encoded(answer: _Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body


def _is_loopback(remote: str) -> bool:
    return ipaddress.ip_address(remote.partition("%")[0]).is_loopback
