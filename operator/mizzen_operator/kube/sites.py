"""The end of what aiohttp serves over TLS: every connection is over when it is said to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web


async def end(runner: web.AppRunner) -> None:
    """Answer what has been asked, stop listening, and close all connections.

    aiohttp leaves a connection when it has said its TLS goodbye; asyncio then waits up to 30 s for the
    peer's. Nobody waits for that here: a peer that is slow to answer would keep the socket open.
    """
    for site in tuple(runner.sites):
        await site.stop()
    connections = () if runner.server is None else runner.server.connections
    transports = [one.transport for one in connections if one.transport is not None]
    await runner.cleanup()
    for transport in transports:
        transport.abort()
