"""A way to an API server that can be cut: a relay of TCP on loopback, and a kubeconfig that leads through it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from pathlib import Path


class Detour:
    """A relay. While it is cut, connections through it end at once."""

    def __init__(self, kubeconfig: Path, url: str, folder: Path) -> None:
        self._target = urlsplit(url)
        self._original = kubeconfig
        self._url = url
        self.kubeconfig = folder / "detour.kubeconfig"
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._writers: set[StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        text = self._original.read_text().replace(self._url, f"https://127.0.0.1:{port}")
        self.kubeconfig.write_text(text)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """End all connections and take no new ones."""
        self._is_cut = True
        for writer in tuple(self._writers):
            writer.close()

    def mend(self) -> None:
        """Take connections again."""
        self._is_cut = False

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._is_cut:
            writer.close()
            return
        there = await asyncio.open_connection(self._target.hostname, self._target.port)
        self._writers |= {writer, there[1]}
        try:
            await asyncio.gather(_pass(reader, there[1]), _pass(there[0], writer))
        finally:
            for each in (writer, there[1]):
                self._writers.discard(each)
                each.close()


async def _pass(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(ConnectionError, OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
