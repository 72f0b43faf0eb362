"""The mesh's door on the host: a port on loopback whose connections go on to the ingress gateway.

The port is opened out here, where browsers are; each connection is joined to one that lives in the
realm's hub. No address or route of the host is touched.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from mizzen_cli.demo.mesh import Mesh

_CHUNK_BYTES: Final = 65_536


@asynccontextmanager
async def gate(
    mesh: Mesh, listening: socket.socket, target: tuple[str, int]
) -> AsyncIterator[None]:
    """Join what comes in on a listening socket to an address of the realm, while the block lasts."""

    guests: set[asyncio.Task[None]] = set()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = asyncio.create_task(_serve(mesh, target, reader, writer))
        guests.add(guest)
        guest.add_done_callback(guests.discard)

    server = await asyncio.start_server(welcome, sock=listening)
    try:
        yield
    finally:
        server.close()
        for guest in guests:
            guest.cancel()
        await asyncio.gather(*guests, return_exceptions=True)


async def _serve(
    mesh: Mesh,
    target: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """See one guest through, and leave nothing open."""
    try:
        with suppress(OSError):
            await _join(mesh, target, reader, writer)
    finally:
        await _closed(writer)


async def _join(
    mesh: Mesh,
    target: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    loop = asyncio.get_running_loop()
    inner = mesh.realm.open_socket()
    inner.setblocking(False)
    try:
        await loop.sock_connect(inner, target)
    except BaseException:
        inner.close()
        raise
    inner_reader, inner_writer = await asyncio.open_connection(sock=inner)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(reader, inner_writer))
            group.create_task(_pump(inner_reader, writer))
    finally:
        await _closed(inner_writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close, and wait until it is; who has gone already is closed too."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy until the end, and hand the end on; a reset ends that direction only."""
    with suppress(OSError):
        while data := await source.read(_CHUNK_BYTES):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
