"""Carries streams over the network: gRPC on HTTP/2, in the event loop, without a task for each stream.

What a read brings is dealt with at once and answered in one write. What the publisher sends is written
at once, as far as the peer's windows and its socket take it; the rest waits by reference, so that a
thousand proxies that connect at once share the bytes of their first configuration.

Two ports: one with TLS, on which every client proves who it is, and a plaintext one for development,
which refuses to be bound to anything but loopback.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Self, assert_never

from mizzen.render.discovery import BadRequestError, parse_node
from mizzen_xds.address import refuse_public, split_address
from mizzen_xds.authn import Credentials, bearer_token
from mizzen_xds.dialect import DELTA, STATE_OF_THE_WORLD
from mizzen_xds.errors import ForbiddenError, ListenError, RefusedError
from mizzen_xds.frames import Http2Error
from mizzen_xds.http2 import Ended, Http2, Message, Opened, Status
from mizzen_xds.outbox import Outbox
from mizzen_xds.secured import Secured
from mizzen_xds.tls import Contexts, spiffe_uris

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from mizzen_xds.authn import Authenticator
    from mizzen_xds.change import Response
    from mizzen_xds.dialect import Dialect
    from mizzen_xds.http2 import Event
    from mizzen_xds.publisher import Connection, Publisher
    from mizzen_xds.tls import ServerIdentity

_SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_DIALECTS: Final = {
    _SERVICE + "DeltaAggregatedResources": DELTA,
    _SERVICE + "StreamAggregatedResources": STATE_OF_THE_WORLD,
}

# How much is handed to a socket at a time; as much again may wait in the transport. A thousand proxies
# that all stop reading hold twice this each.
_ROOM_BYTES: Final = 64 * 1024
_BACKLOG: Final = 4096


class XdsServer:
    """The discovery service on its ports.

    ``identity`` is asked for at each handshake, so that a renewed certificate is used without a restart;
    it must be given with ``secure_address``. A port of 0 is chosen by the system.
    """

    def __init__(
        self,
        publisher: Publisher,
        authenticator: Authenticator,
        *,
        secure_address: str | None = None,
        insecure_address: str | None = None,
        identity: Callable[[], ServerIdentity] | None = None,
    ) -> None:
        self._publisher = publisher
        self._authenticator = authenticator
        self._secure_address = secure_address
        self._insecure_address = insecure_address
        self._identity = identity
        self._servers: list[asyncio.Server] = []
        self._wires: set[_Wire] = set()
        self._handshaking: set[Secured] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deserted = asyncio.Event()
        self.buffer = memoryview(bytearray(_ROOM_BYTES))
        self.outbox = Outbox()
        self.message_limit_bytes = publisher.settings.receive_limit_bytes
        self.secure_port: int | None = None
        self.insecure_port: int | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: An address is taken, or is none that plaintext may be spoken on.
        """
        if self._insecure_address is not None:
            refuse_public(self._insecure_address)
            self.insecure_port = await self._listen(self._insecure_address, None)
        if self._secure_address is not None:
            if self._identity is None:
                raise ListenError("a TLS port needs a server identity")
            self.secure_port = await self._listen(self._secure_address, Contexts(self._identity))
        self._begin(self._tick())
        self._begin(self._keep_alive())

    async def stop(self) -> None:
        """Stop listening and end all streams; proxies connect again by themselves."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in tuple(self._wires):
            wire.end()
        grace_s = self._publisher.settings.stop_grace.total_seconds()
        if self._wires:
            await asyncio.wait([asyncio.ensure_future(self._deserted.wait())], timeout=grace_s)
        rest: tuple[_Wire | Secured, ...] = (*self._wires, *self._handshaking)
        for connection in rest:
            connection.abort()

    async def _listen(self, address: str, contexts: Contexts | None) -> int:
        host, port = split_address(address)
        try:
            server = await asyncio.get_running_loop().create_server(
                lambda: self._protocol(contexts), host, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {error}") from error
        self._servers.append(server)
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def _protocol(self, contexts: Contexts | None) -> asyncio.BaseProtocol:
        wire = _Wire(self, is_local=contexts is None)
        if contexts is None:
            return wire
        return Secured(wire, contexts.current(), buffer=self.buffer, handshaking=self._handshaking)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        """Run something until it is done or the server stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._publisher.settings.tick.total_seconds())
            self._publisher.tick()

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._publisher.settings.keepalive.total_seconds())
            for wire in tuple(self._wires):
                wire.check()

    # For the wires

    def joined(self, wire: _Wire) -> None:
        """Take note of a connection."""
        self._wires.add(wire)

    def left(self, wire: _Wire) -> None:
        """Take note that a connection is over."""
        self._wires.discard(wire)
        if not self._wires:
            self._deserted.set()

    def admit(self, carrier: _Carrier, first: bytes) -> None:
        """Find out who is on a stream, and take it into service or end it."""
        self._begin(self._admit(carrier, first))

    async def _admit(self, carrier: _Carrier, first: bytes) -> None:
        try:
            connection = await self._connect(carrier, first)
        except BadRequestError as error:
            carrier.finish(Status.INVALID_ARGUMENT, str(error))
        except RefusedError as error:
            self._publisher.counters.refused_streams_total += 1
            is_known = isinstance(error, ForbiddenError)
            status = Status.PERMISSION_DENIED if is_known else Status.UNAUTHENTICATED
            carrier.finish(status, str(error))
        else:
            carrier.attach(connection)

    async def _connect(self, carrier: _Carrier, first: bytes) -> Connection:
        proven = await self._authenticator.identify(carrier.credentials)
        node = parse_node(first)
        identity = self._authenticator.authorise(proven, node)
        return await self._publisher.connect(
            node=node, identity=identity, dialect=carrier.dialect, send=carrier.send
        )


class _Carrier:
    """One stream of a connection: it waits to be admitted, then carries requests and responses."""

    __slots__ = ("_connection", "_early", "_is_over", "_number", "_wire", "credentials", "dialect")

    def __init__(
        self, wire: _Wire, number: int, dialect: Dialect, credentials: Credentials
    ) -> None:
        self.dialect = dialect
        self.credentials = credentials
        self._wire = wire
        self._number = number
        self._connection: Connection | None = None
        # What has come since the first request, until the stream is admitted; its windows bound it.
        self._early: list[bytes] | None = None
        self._is_over = False

    def receive(self, requests: list[bytes]) -> None:
        """Take in requests that came together."""
        if self._connection is not None:
            self._deliver(self._connection, requests)
        elif self._early is not None:
            self._early += requests
        else:
            self._early = requests
            self._wire.server.admit(self, requests[0])

    def attach(self, connection: Connection) -> None:
        """Take in what has come meanwhile, the first request included."""
        if self._is_over:
            connection.close()
            return
        self._connection = connection
        early, self._early = self._early or [], None
        with self._wire:
            self._deliver(connection, early)

    def send(self, responses: Sequence[Response]) -> None:
        """Send responses."""
        for response in responses:
            self._wire.http2.send(self._number, response.parts)
        self._wire.server.outbox.add(self._wire)

    def finish(self, status: Status, message: str = "") -> None:
        """End the stream from our side."""
        self._wire.http2.finish(self._number, status, message)
        self._wire.forget(self._number)
        self._wire.flush()
        self.close()

    def close(self) -> None:
        """Take the stream out of service."""
        self._is_over = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _deliver(self, connection: Connection, requests: list[bytes]) -> None:
        try:
            connection.receive(*requests)
        except BadRequestError as error:
            self.finish(Status.INVALID_ARGUMENT, str(error))


class _Wire(asyncio.BufferedProtocol):
    """One connection: bytes to events, events to carriers, and what they send back to bytes.

    All connections read into one buffer, each emptying it at once. The other kind of protocol is given
    bytes, for which asyncio allocates 256 KiB at each read: 13 µs, for an answer of 60 bytes.
    """

    def __init__(self, server: XdsServer, *, is_local: bool) -> None:
        self.server = server
        self.http2 = Http2(message_limit_bytes=server.message_limit_bytes)
        self._is_local = is_local
        self._carriers: dict[int, _Carrier] = {}
        self._transport: asyncio.Transport | None = None
        self._uris: tuple[str, ...] = ()
        self._is_full = False
        self._corks = 0
        self._is_alive = True

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("streams need a byte stream")
        self._transport = transport
        self._uris = spiffe_uris(transport.get_extra_info("peercert"))
        self.server.joined(self)
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for carrier in self._carriers.values():
            carrier.close()
        self._carriers.clear()
        self.server.left(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._is_alive = True
        try:
            with self:
                self._handle(self.http2.receive(bytes(self.server.buffer[:nbytes])))
        except Http2Error as error:
            self.http2.shut(error.code)
            self.flush()
            self._close()

    def pause_writing(self) -> None:
        """The peer does not read: nothing more is written, and so that it can't fill us, read."""
        self._is_full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        if self._transport is not None:
            self._transport.resume_reading()
        self.flush()

    # Within

    def __enter__(self) -> Self:
        """Gather what is sent until the end of the block into one write."""
        self._corks += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._corks -= 1
        self.server.outbox.add(self)

    def forget(self, number: int) -> None:
        """Let go of a stream that is over."""
        self._carriers.pop(number, None)

    def flush(self) -> None:
        """Write what may be written now."""
        while not (self._is_full or self._corks) and self._transport is not None:
            data = self.http2.output(_ROOM_BYTES)
            if not data:
                return
            self._transport.write(data)

    def check(self) -> None:
        """Give a silent connection up, or ask whether it is still there."""
        if self._transport is None:
            return
        if not self._is_alive:
            self._transport.abort()
            return
        self._is_alive = False
        self.http2.ping()
        self.flush()

    def end(self) -> None:
        """End all streams and then the connection."""
        with self:
            for carrier in tuple(self._carriers.values()):
                carrier.finish(Status.UNAVAILABLE, "the control plane is stopping")
            self.http2.shut()
        self.flush()
        self._close()

    def abort(self) -> None:
        """Give the connection up."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _handle(self, events: Sequence[Event]) -> None:
        """Deal with what one read has brought; the requests of a stream together."""
        together: dict[int, list[bytes]] = {}
        for event in events:
            match event:
                case Message(number, body):
                    together.setdefault(number, []).append(body)
                case Opened(number, headers):
                    self._open(number, headers)
                case Ended(number):
                    self._deliver(number, together.pop(number, None))
                    carrier = self._carriers.get(number)
                    if carrier is not None:
                        carrier.finish(Status.OK)
                case _:
                    assert_never(event)
        for number, requests in together.items():
            self._deliver(number, requests)

    def _deliver(self, number: int, requests: list[bytes] | None) -> None:
        carrier = self._carriers.get(number)
        if carrier is not None and requests:
            carrier.receive(requests)

    def _open(self, number: int, headers: Mapping[str, str]) -> None:
        dialect = _DIALECTS.get(headers.get(":path", ""))
        if dialect is None:
            self.http2.finish(number, Status.UNIMPLEMENTED, "only aggregated discovery is served")
            return
        credentials = Credentials(
            token=bearer_token(headers.get("authorization", "")),
            uris=self._uris,
            is_local=self._is_local,
        )
        self._carriers[number] = _Carrier(self, number, dialect, credentials)
