"""The HTTP port shows health, readiness, metrics and status, and rotates for this machine alone."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest

from mizzen_operator.address import Address
from mizzen_operator.http import HttpServer, Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Port:
    """A server on loopback whose readiness the test sets."""

    def __init__(self) -> None:
        self.reason = ""
        self.rotations = 0
        pages = Pages(
            metrics=lambda: b"mizzen_operator_revision 7\n",
            status=lambda: {"objects": []},
            ready=lambda: self.reason,
            rotate=self._rotate,
            proxy=lambda name: {"proxy": name} if name == "web.shop" else None,
            may_see=self._may_see,
        )
        self.server = HttpServer(pages)
        self.number = 0

    async def _may_see(self, token: str) -> bool:
        return token == "ours"

    def _rotate(self) -> int:
        self.rotations += 1
        return 3

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n")

    async def post(self, path: str, *headers: str, body: str = "") -> tuple[int, str]:
        """Status and body of a POST."""
        lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {len(body)}", *headers]
        return await self.ask("\r\n".join(lines) + f"\r\n\r\n{body}")

    async def ask(self, request: str, *, host: str = "127.0.0.1") -> tuple[int, str]:
        """Status and body of what comes back for some bytes."""
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection(host, self.number)
            writer.write(request.encode())
            answer = (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
        head, _, body = answer.partition("\r\n\r\n")
        return int(head.split(" ")[1]), body


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """A server that listens."""
    port = Port()
    port.number = await port.server.start(Address("127.0.0.1", 0))
    yield port
    await port.server.stop()


async def test_it_is_ready_when_there_is_no_reason_against_it(port: Port) -> None:
    assert await port.get("/healthz") == (200, "ok\n")
    assert await port.get("/readyz") == (200, "ok\n")
    port.reason = "the folder has not been read yet"
    assert await port.get("/readyz") == (503, "the folder has not been read yet\n")
    assert await port.get("/healthz") == (200, "ok\n")


async def test_metrics_and_status_are_what_the_pages_say(port: Port) -> None:
    assert await port.get("/metrics") == (200, "mizzen_operator_revision 7\n")
    code, body = await port.get("/status")
    assert code == 200
    assert json.loads(body) == {"objects": []}


async def test_this_machine_may_rotate_but_no_page_in_its_browser(port: Port) -> None:
    code, body = await port.post("/rotate", body="{}")
    assert (code, json.loads(body)) == (200, {"replaced": 3})
    assert (await port.post("/rotate", "Origin: https://example.org"))[0] == 403
    assert port.rotations == 1


async def test_this_machine_may_see_what_a_proxy_has(port: Port) -> None:
    code, body = await port.get("/proxies/web.shop")
    assert (code, json.loads(body)) == (200, {"proxy": "web.shop"})
    assert (await port.get("/proxies/else.shop"))[0] == 404
    assert (await port.post("/proxies/web.shop"))[0] == 405


async def test_from_elsewhere_a_token_is_needed_to_see_what_a_proxy_has(port: Port) -> None:
    await port.server.stop()
    here = own_address()
    port.number = await port.server.start(Address(here, 0))
    head = "GET /proxies/web.shop HTTP/1.1\r\nHost: here\r\n"
    assert (await port.ask(f"{head}\r\n", host=here))[0] == 403
    assert (await port.ask(f"{head}Mizzen-Token: wrong\r\n\r\n", host=here))[0] == 403
    assert (await port.ask(f"{head}Mizzen-Token: ours\r\n\r\n", host=here))[0] == 200


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


async def test_what_is_not_there_or_no_request_is_refused(port: Port) -> None:
    assert (await port.get("/"))[0] == 404
    assert (await port.get("/rotate"))[0] == 405
    assert (await port.post("/status?x=y"))[0] == 405
    assert (await port.ask("nonsense\r\n\r\n"))[0] == 400
    assert (await port.ask("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"))[0] == 400


async def test_a_client_that_goes_away_does_no_harm(port: Port) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(b"GET /hea")
    writer.close()
    await writer.wait_closed()
    assert await port.get("/healthz") == (200, "ok\n")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:15012", "127.0.0.1", 15012),
        ("[::1]:0", "::1", 0),
        (":15014", "::", 15014),
        ("localhost:1", "localhost", 1),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert address == Address(host, port)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("text", ["15012", "host:", "host:99999", "host:-1", "::1:15012", "a:b"])
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        Address.parse(text)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("h", False)],
)
def test_loopback_is_told_from_what_others_can_reach(host: str, *, is_loopback: bool) -> None:
    assert Address(host, 1).is_loopback is is_loopback
