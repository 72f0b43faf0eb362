"""The application in every pod of a live mesh: says what it was sent; the standard library only.

    live_app.py --name web --version v2 --port 8080 --port 9000 --greeting-port 9001

Every port takes HTTP/1.1 and anything else. A request is answered with what it looked like, as JSON; other
bytes are sent back with the name before them. What a request asks for:

``status=503``      answer with that status
``delay=0.5``       wait before answering, seconds
``fail=2``          answer 503 to the first two attempts, which are told apart by ``x-request-id``
``broken=web-v2``   answer 503 if that is this pod's name
``body=text``       answer with this text

A request for an upgrade gets it, and from there on bytes are sent back; so does a request to CONNECT
somewhere, and then bytes are sent back with that place before them. A POST whose length is not known takes
bytes like that too, in chunks both ways.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from asyncio import StreamReader, StreamWriter
from collections import Counter
from typing import Final
from urllib.parse import parse_qs, urlsplit

_SWITCHED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n"
)
_CONNECT: Final = b"CONNECT "
_POST: Final = b"POST "
_CHUNKED: Final = b"\r\ntransfer-encoding: chunked"
_END: Final = b"\r\n\r\n"
_LAST: Final = b"0\r\n\r\n"
METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ")


class App:
    """What all connections have in common."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pod = os.environ.get("HOSTNAME", "")
        self.attempts: Counter[str] = Counter()

    async def greet(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Speak first, as mail servers and databases do."""
        writer.write(f"220 {self.options.name}\r\n".encode())
        await self.serve(reader, writer)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """See one connection through."""
        try:
            await self.converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def converse(self, reader: StreamReader, writer: StreamWriter) -> None:
        while data := await reader.read(65536):
            if data.startswith(_CONNECT):
                await self.connect(await whole(data, reader), reader, writer)
            elif data.startswith(_POST) and _CHUNKED in (head := await whole(data, reader)).lower():
                await self.post(head, data.partition(_END)[2], reader, writer)
            elif data.startswith(METHODS):
                await self.answer(await whole(data, reader), writer)
            else:
                writer.write(f"{self.options.name}: ".encode() + data)
            await writer.drain()

    async def connect(self, head: bytes, reader: StreamReader, writer: StreamWriter) -> None:
        """Be the far end of a tunnel."""
        target = head.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while data := await reader.read(65536):
            writer.write(f"{self.options.name} through ".encode() + target + b": " + data)
            await writer.drain()

    async def post(
        self, head: bytes, begun: bytes, reader: StreamReader, writer: StreamWriter
    ) -> None:
        """Be the far end of a tunnel that is a POST: each chunk comes back as one."""
        hosts = [line[6:] for line in head.split(b"\r\n") if line.lower().startswith(b"host: ")]
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while data := begun or await reader.read(65536):
            begun = b""
            for chunk in data.split(b"\r\n")[1::2]:
                said = f"{self.options.name} by POST through ".encode() + hosts[0] + b": " + chunk
                writer.write(f"{len(said):x}\r\n".encode() + said + b"\r\n" if chunk else _LAST)
            await writer.drain()

    async def answer(self, head: bytes, writer: StreamWriter) -> None:
        request, *lines = head.decode("latin-1").split("\r\n")
        method, target, _version = request.split(" ")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        if "upgrade" in headers:
            writer.write(_SWITCHED)
            return
        wish = {name: values[-1] for name, values in parse_qs(urlsplit(target).query).items()}
        await asyncio.sleep(float(wish.get("delay", 0)))
        status = self.status(wish, headers)
        seen = {
            "service": self.options.name,
            "version": self.options.version,
            "pod": self.pod,
            "method": method,
            "path": target,
            "headers": {name: ",".join(values) for name, values in headers.items()},
            "from": (writer.get_extra_info("peername") or " ")[0],
            "port": (writer.get_extra_info("sockname") or "  ")[1],
        }
        said = wish.get("body", "") or json.dumps(seen)
        body = b"" if method == "HEAD" else said.encode()
        writer.write(
            f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nx-app: {self.options.name}\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def status(self, wish: dict[str, str], headers: dict[str, list[str]]) -> int:
        if wish.get("broken") == self.pod:
            return 503
        self.attempts[(attempt := ",".join(headers.get("x-request-id", ())))] += 1
        if self.attempts[attempt] <= int(wish.get("fail", 0)):
            return 503
        return int(wish.get("status", 200))


async def whole(data: bytes, reader: StreamReader) -> bytes:
    """Return the head of a request whose first bytes are here; its body is read and dropped."""
    while b"\r\n\r\n" not in data:
        data += await reader.readuntil(b"\n")
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(max(0, int(line.partition(b":")[2]) - len(body)))
    return head


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--port", type=int, action="append", default=[])
    parser.add_argument("--socket", default="")
    parser.add_argument("--greeting-port", type=int, action="append", default=[])
    options = parser.parse_args()
    app = App(options)
    ports = [(port, app.serve) for port in options.port]
    ports += [(port, app.greet) for port in options.greeting_port]
    for port, serve in ports:
        await asyncio.start_server(serve, None, port, backlog=256)  # of both versions of IP
    if options.socket:
        await asyncio.start_unix_server(app.serve, options.socket)
        os.chmod(options.socket, 0o666)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
