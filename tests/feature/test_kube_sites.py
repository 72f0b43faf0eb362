"""What the control plane serves a cluster over TLS ends when it is told to, whoever is connected."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
from typing import TYPE_CHECKING, Final

from mizzen.identity import DEFAULT_TRUST_DOMAIN
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_operator.address import Address
from mizzen_operator.kube.webhooks import WebhookServer
from mizzen_operator.logs import Log
from tests.support.status_replica import identity_of

if TYPE_CHECKING:
    from mizzen_operator.kube.webhooks import Json

_PLACE: Final = "/review"
_SECONDS: Final = 20.0
_BODY: Final = json.dumps({"here": True}).encode()
_REQUEST: Final = (
    f"POST {_PLACE} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY
)


class _Silent:
    """A client that asks, and says no goodbye whatever it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self._reader, self._writer = reader, writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._in, self._out)

    async def ask(self) -> bytes:
        """Return the beginning of the answer to a request."""
        while True:
            try:
                self._session.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._exchange()
        self._session.write(_REQUEST)
        while True:
            try:
                return self._session.read()
            except ssl.SSLWantReadError:
                await self._exchange()

    async def _exchange(self) -> None:
        self._writer.write(self._out.read())
        self._in.write(await self._reader.read(65_536))


async def test_who_says_no_goodbye_is_not_waited_for() -> None:
    """The socket is closed, not only the conversation: nothing is left for the loop to warn of."""
    authority = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, SystemClock())

    async def answered(review: Json) -> Json:
        return review

    server = WebhookServer(lambda: identity_of(authority), {_PLACE: answered}, Log(io.StringIO()))
    port = await server.start(Address("127.0.0.1", 0))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        assert (await _Silent(reader, writer).ask()).startswith(b"HTTP/1.1 200 OK")
        await server.stop()
        async with asyncio.timeout(_SECONDS):
            await reader.read()  # to the end: a goodbye, and then the connection's own end
    finally:
        writer.close()
