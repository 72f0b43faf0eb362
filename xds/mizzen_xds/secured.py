"""TLS of one connection, between its socket and its protocol, in as little memory as it takes.

asyncio's own layer keeps a buffer of 256 KiB for each connection, a quarter of a gigabyte for a thousand
proxies. This one decrypts into the buffer that all connections share, and gives OpenSSL little at a time, so
that its own buffers stay small.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from typing_extensions import override

_HANDSHAKE_S: Final = 10.0
# OpenSSL keeps as much room for each direction of each connection as it was ever given at once. A record
# holds 16 KiB at most; smaller ones cost a little of the processor and save much of that.
_RECORD_BYTES: Final = 8 * 1024
_FEED_BYTES: Final = 4 * 1024


class Above(Protocol):
    """A protocol that TLS is below; within it as a context, what it sends is gathered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def buffer_updated(self, nbytes: int) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


class Secured(asyncio.BufferedProtocol, asyncio.Transport):
    """The socket's protocol, and the transport of the protocol above, which begins after the handshake.

    ``buffer`` is what every read goes through; ``handshaking`` holds this while the handshake goes on.
    """

    def __init__(
        self,
        above: Above,
        context: ssl.SSLContext,
        *,
        buffer: memoryview,
        handshaking: set[Secured],
    ) -> None:
        super().__init__()
        self._above = above
        self._buffer = buffer
        self._into = cast("bytearray", buffer)
        self._handshaking = handshaking
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._is_open = False

    # The socket's protocol

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("TLS needs a byte stream")
        self._transport = transport
        self._handshaking.add(self)
        self._deadline = asyncio.get_running_loop().call_later(_HANDSHAKE_S, self.abort)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._settle()
        if self._is_open:
            self._above.connection_lost(exc)

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    @override
    def buffer_updated(self, nbytes: int) -> None:
        # Bytes, because what is decrypted goes into the same buffer.
        data = bytes(self._buffer[:nbytes])
        try:
            with self._above:
                for start in range(0, nbytes, _FEED_BYTES):
                    self._incoming.write(data[start : start + _FEED_BYTES])
                    if self._is_open or self._shake_hands():
                        self._read()
        except ssl.SSLError:
            self._send()  # the alert that says what is wrong
            self._finish()

    @override
    def pause_writing(self) -> None:
        if self._is_open:
            self._above.pause_writing()

    @override
    def resume_writing(self) -> None:
        if self._is_open:
            self._above.resume_writing()

    # The transport of the protocol above

    @override
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peercert":
            return self._session.getpeercert()
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        view = memoryview(data)
        records: list[bytes] = []
        for start in range(0, len(view), _RECORD_BYTES):
            self._session.write(view[start : start + _RECORD_BYTES])
            records.append(self._outgoing.read())
        self._transport.write(b"".join(records))

    @override
    def pause_reading(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    @override
    def resume_reading(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    @override
    def is_closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    @override
    def close(self) -> None:
        """Say goodbye and close; what was written before is sent."""
        with suppress(ssl.SSLError):  # the peer's own goodbye is not waited for
            self._session.unwrap()
        self._send()
        self._finish()

    @override
    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Within

    def _finish(self) -> None:
        """Close once what was written is sent."""
        if self._transport is not None:
            self._transport.close()

    def _shake_hands(self) -> bool:
        """Go on with the handshake; tell whether it is done, the protocol above having begun."""
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return False
        self._send()
        self._settle()
        self._is_open = True
        self._above.connection_made(self)
        return True

    def _read(self) -> None:
        while self._transport is not None:
            try:
                # Into a buffer it reads a number of bytes, whatever its signature says.
                count = cast("int", self._session.read(len(self._buffer), self._into))
            except ssl.SSLWantReadError:
                return
            if not count:
                self.close()  # the peer has closed its half
                return
            self._above.buffer_updated(count)

    def _send(self) -> None:
        data = self._outgoing.read()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _settle(self) -> None:
        """The handshake is over, one way or the other."""
        self._handshaking.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
