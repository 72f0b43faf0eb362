"""Carries streams over gRPC; the one file that imports it.

Handlers take and give raw bytes. Reading a stream is a task of its own for as long as the stream lives;
writing is a task only while there is something to write, so that a fan-out starts every stream's write
before the first answer is read. gRPC copies what it is given, so large responses take turns.

Two ports: one with TLS, on which every client proves who it is, and a plaintext one for development,
which refuses to be bound to anything but loopback.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import grpc

from mizzen.render.discovery import BadRequestError, parse_node
from mizzen_xds.authn import Credentials
from mizzen_xds.dialect import DELTA, STATE_OF_THE_WORLD
from mizzen_xds.errors import ForbiddenError, ListenError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from mizzen_xds.authn import Authenticator
    from mizzen_xds.change import Response
    from mizzen_xds.dialect import Dialect
    from mizzen_xds.publisher import Publisher
    from mizzen_xds.settings import XdsSettings

    Context = grpc.aio.ServicerContext[bytes, bytes]

_SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_DIALECTS: Final = {
    _SERVICE + "DeltaAggregatedResources": DELTA,
    _SERVICE + "StreamAggregatedResources": STATE_OF_THE_WORLD,
}
_BEARER: Final = "bearer "
_SUBJECT_NAMES: Final = "x509_subject_alternative_name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """What the TLS port is served with, in PEM."""

    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes

    def __repr__(self) -> str:
        return "ServerIdentity(<private>)"


class XdsServer:
    """The discovery service on its ports.

    ``identity`` is asked for at each handshake that finds the last answer outdated, so that a renewed
    certificate is used without a restart. With ``secure_address`` it must be given.
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
        self._writes = _Writes(publisher.settings)
        self._servers: list[grpc.aio.Server] = []
        self._ticker: asyncio.Task[None] | None = None
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
            self.secure_port = await self._listen(self._secure_address, self._identity)
        self._ticker = self._writes.start(self._tick())

    async def stop(self) -> None:
        """Close all streams and stop listening."""
        grace_s = self._publisher.settings.stop_grace.total_seconds()
        if self._ticker is not None:
            self._ticker.cancel()
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))
        await self._writes.stop()

    async def _listen(self, address: str, identity: Callable[[], ServerIdentity] | None) -> int:
        server = grpc.aio.server(options=_options(self._publisher.settings))
        server.add_generic_rpc_handlers((_Handlers(self, is_local=identity is None),))
        try:
            if identity is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, _credentials(identity))
        except RuntimeError as error:
            raise ListenError(f"cannot listen on {address}: {error}") from error
        await server.start()
        self._servers.append(server)
        return port

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._publisher.settings.tick.total_seconds())
            self._publisher.tick()

    async def serve(self, dialect: Dialect, context: Context, *, is_local: bool) -> None:
        """Carry one stream until its client ends it."""
        try:
            await self._carry(dialect, context, is_local=is_local)
        except BadRequestError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except RefusedError as error:
            self._publisher.counters.refused_streams_total += 1
            await context.abort(_code(error), str(error))

    async def _carry(self, dialect: Dialect, context: Context, *, is_local: bool) -> None:
        proven = await self._authenticator.identify(_shown(context, is_local=is_local))
        raw = await _read(context)
        if raw is None:
            return
        node = parse_node(raw)
        identity = self._authenticator.authorise(proven, node)
        outlet = _Outlet(context, self._writes)
        connection = await self._publisher.connect(
            node=node, identity=identity, dialect=dialect, send=outlet.send
        )
        try:
            while raw is not None:
                connection.receive(raw)
                raw = await _read(context)
        finally:
            connection.close()


class _Outlet:
    """What waits to be written to one stream."""

    __slots__ = ("_context", "_is_writing", "_waiting", "_writes")

    def __init__(self, context: Context, writes: _Writes) -> None:
        self._context = context
        self._writes = writes
        self._waiting: deque[bytes] = deque()
        self._is_writing = False

    def send(self, responses: list[Response]) -> None:
        """Have responses written; there is at most one of each type waiting."""
        self._waiting.extend(response.body for response in responses)
        if not self._is_writing:
            self._is_writing = True
            self._writes.start(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._writes.write(self._context, self._waiting.popleft())
        except (grpc.aio.BaseError, asyncio.InvalidStateError):
            # The stream has ended; the task that reads it learns that too and cleans up.
            self._waiting.clear()
        finally:
            self._is_writing = False


class _Writes:
    """Writes that are going on, with a limit to the large ones, each of which gRPC copies."""

    def __init__(self, settings: XdsSettings) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._large_bytes = settings.large_write_bytes
        self._patience_s = settings.large_write_patience.total_seconds()
        self._places = asyncio.Semaphore(settings.large_writes)

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something until it is done or the server stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """End what is still going on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def write(self, context: Context, body: bytes) -> None:
        """Write a response, a large one when it is its turn."""
        if len(body) < self._large_bytes:
            await context.write(body)
            return
        await self._places.acquire()
        place = _Place(self._places)
        timer = asyncio.get_running_loop().call_later(self._patience_s, place.give_back)
        try:
            await context.write(body)
        finally:
            timer.cancel()
            place.give_back()


class _Place:
    """A large write's place: given back when it is done, or when its proxy reads too slowly."""

    __slots__ = ("_places",)

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def give_back(self) -> None:
        """Give the place back, if that was not done yet."""
        places, self._places = self._places, None
        if places is not None:
            places.release()


class _Handlers(grpc.GenericRpcHandler):
    """The two methods of the service, over raw bytes."""

    def __init__(self, server: XdsServer, *, is_local: bool) -> None:
        self._server = server
        self._is_local = is_local

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        dialect = _DIALECTS.get(details.method)
        if dialect is None:
            return None

        async def serve(_requests: object, context: Context) -> None:
            await self._server.serve(dialect, context, is_local=self._is_local)

        return grpc.stream_stream_rpc_method_handler(serve)


def refuse_public(address: str) -> None:
    """Refuse an address that more than this machine can reach; ``ListenError`` says why."""
    if not _is_loopback(address.rpartition(":")[0].strip("[]")):
        raise ListenError(
            f"plaintext xDS gives private keys to whoever asks, so it listens on loopback only,"
            f" not on {address}: use 127.0.0.1:<port>, or the TLS port"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _read(context: Context) -> bytes | None:
    """Return the next message, ``None`` at the end."""
    raw: object = await context.read()
    return raw if isinstance(raw, bytes) else None


def _code(error: RefusedError) -> grpc.StatusCode:
    is_known = isinstance(error, ForbiddenError)
    return grpc.StatusCode.PERMISSION_DENIED if is_known else grpc.StatusCode.UNAUTHENTICATED


def _shown(context: Context, *, is_local: bool) -> Credentials:
    """Return what a client has shown: certificate names that gRPC verified, and the bearer token."""
    names = (context.auth_context() or {}).get(_SUBJECT_NAMES, ())
    uris = tuple(name.decode() for name in names if name.startswith(b"spiffe://"))
    header = next((v for k, v in context.invocation_metadata() or () if k == "authorization"), "")
    text = header.decode(errors="replace") if isinstance(header, bytes) else header
    is_bearer = text.lower().startswith(_BEARER)
    token = text[len(_BEARER) :].strip() if is_bearer else ""
    return Credentials(token=token, uris=uris, is_local=is_local)


def _credentials(identity: Callable[[], ServerIdentity]) -> grpc.ServerCredentials:
    """Return credentials that ask for the server's certificate again at each handshake."""

    def fetch() -> grpc.ServerCertificateConfiguration:
        return _configuration(identity())

    return grpc.dynamic_ssl_server_credentials(
        _configuration(identity()), fetch, require_client_authentication=False
    )


def _configuration(identity: ServerIdentity) -> grpc.ServerCertificateConfiguration:
    pair = (identity.key_pem, identity.chain_pem)
    return grpc.ssl_server_certificate_configuration([pair], identity.roots_pem)


def _options(settings: XdsSettings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", settings.receive_limit_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", _ms(settings.keepalive)),
        ("grpc.keepalive_timeout_ms", _ms(settings.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),
        ("grpc.so_reuseport", 0),
    ]


def _ms(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)
