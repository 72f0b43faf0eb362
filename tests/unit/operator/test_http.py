"""The HTTP port shows health, readiness, metrics and status, and rotates for this machine alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
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
        )
        self.server = HttpServer(pages)
        self.url = ""

    def _rotate(self) -> int:
        self.rotations += 1
        return 3

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET."""
        async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and body of a POST."""
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """A server that listens."""
    port = Port()
    number = await port.server.start(Address("127.0.0.1", 0))
    port.url = f"http://127.0.0.1:{number}"
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
    assert await port.post("/rotate") == (200, '{"replaced": 3}')
    assert (await port.post("/rotate", Origin="https://example.org"))[0] == 403
    assert port.rotations == 1


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
