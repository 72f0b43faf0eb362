"""TLS under the streams: what is large crosses whole, and who does not get through the handshake stays nobody."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId, TrustDomain
from mizzen.wire import TypeUrl
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_xds import XdsSettings
from mizzen_xds.tls import ServerIdentity
from tests.support.ads import AdsClient, Trust, node_id, stream
from tests.support.bundles import bundle, cluster
from tests.support.control_plane import CLASS, Plane, serving

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

_LIMIT_S = 20.0
_WHO = SpiffeId(
    trust_domain=DEFAULT_TRUST_DOMAIN, namespace="mizzen-system", service_account="mizzen"
)


@pytest.fixture(scope="module")
def identity() -> ServerIdentity:
    """What the server shows, by an authority of its own."""
    authority = Authority.open(MemoryStore(), TrustDomain(DEFAULT_TRUST_DOMAIN), SystemClock())
    svid = authority.issue_server(("localhost",), _WHO)
    return ServerIdentity(
        key_pem=svid.key.reveal(),
        chain_pem=svid.chain_pem,
        roots_pem=authority.bundle().roots_pem,
    )


def _secured(identity: ServerIdentity) -> AbstractAsyncContextManager[Plane]:
    settings = XdsSettings(response_limit_bytes=16 * 1024 * 1024)
    return serving(settings, identity=lambda: identity)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the other side ends, in whichever way."""
    async with asyncio.timeout(_LIMIT_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_a_large_configuration_crosses_whole(identity: ServerIdentity) -> None:
    """Many records, more than a socket takes at once, in order."""
    big = [cluster(f"{'x' * 4000}{i}", eds=False) for i in range(500)]
    async with _secured(identity) as made:
        made.tokens.known["secret"] = _WHO
        made.publisher.offer(CLASS, bundle(1, *big))
        client = AdsClient(node_id("pod", "mizzen-system"), service_account="mizzen")
        trust = Trust(roots_pem=identity.roots_pem)
        async with stream(made.secure_port, client, trust=trust, token="secret"):
            await client.until(lambda: len(client.has[TypeUrl.CLUSTER]) == 500)


async def test_plaintext_on_the_tls_port_is_hung_up_on(identity: ServerIdentity) -> None:
    """And said to be no TLS, by an alert."""
    async with _secured(identity) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.secure_port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = await _read(reader)
        writer.close()
        assert answer[:1] in (b"", b"\x15")


async def test_who_says_nothing_is_let_go_with_the_server(identity: ServerIdentity) -> None:
    """A connection that never begins its handshake holds no stop up and outlives no server."""
    async with _secured(identity) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.secure_port)
        async with stream_of_anybody(made, identity):
            pass
        assert made.server is not None
        await made.server.stop()
        assert await _read(reader) == b""
        writer.close()


async def test_a_client_that_says_goodbye_is_let_go(identity: ServerIdentity) -> None:
    """The end of its TLS is the end of its connection."""
    async with _secured(identity) as made:
        context = ssl.create_default_context(cadata=identity.roots_pem.decode())
        context.set_alpn_protocols(["h2"])
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", made.secure_port, ssl=context, server_hostname="localhost"
        )
        assert await reader.readexactly(9)  # the server's settings: HTTP/2 has begun
        writer.close()
        async with asyncio.timeout(_LIMIT_S):
            await writer.wait_closed()


def stream_of_anybody(
    made: Plane, identity: ServerIdentity
) -> AbstractAsyncContextManager[AdsClient]:
    """Return a stream of a proxy that is let in."""
    made.tokens.known["secret"] = _WHO
    made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
    client = AdsClient(node_id("pod", "mizzen-system"), service_account="mizzen")
    return stream(
        made.secure_port, client, trust=Trust(roots_pem=identity.roots_pem), token="secret"
    )
