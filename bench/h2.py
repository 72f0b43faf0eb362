"""One gRPC stream over HTTP/2, client side, in as little work for each message as Python allows.

The load generator shares a small machine with the server that it measures, so it must cost next to
nothing: a general HTTP/2 stack costs ten times what follows. It is sans I/O: bytes in, messages out,
bytes to send. It knows one bidirectional stream on one connection, ignores what the server's headers say
(a stream that ends is an error here whatever its status), and opens its receive windows wide, as Envoy
does for xDS. Sources: RFC 9113, RFC 7541 (literal fields without indexing), gRPC over HTTP/2.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_STREAM: Final = 1
_MAX_FRAME: Final = 16_384  # what every peer accepts without being asked
_DEFAULT_WINDOW: Final = 65_535
_MAX_WINDOW: Final = 2**31 - 1
# Windows are given back long before they could run dry, and seldom enough to cost nothing.
_REPLENISH_BYTES: Final = 2**28
_INITIAL_WINDOW_SIZE: Final = 4

_REST, _CONTINUED = 127, 128  # of HPACK's integers, RFC 7541 section 5.1

_HEAD: Final = Struct(">BHBBL")  # length (24 bits in two parts), type, flags, stream
_U32: Final = Struct(">L")
_SETTING: Final = Struct(">HL")
_PREFIX: Final = Struct(">BL")  # gRPC: compressed flag, message length


class StreamEndedError(Exception):
    """The server ended the stream or the connection."""


class GrpcStream:
    """A gRPC call whose requests and responses are bytes.

    Attributes:
        outgoing: What is to be written to the socket; the owner deletes what it has
            written.
        received_bytes: All bytes that came in, framing included.
    """

    __slots__ = (
        "_connection_window", "_incoming", "_parts", "_pending", "_prefix", "_received_since",
        "_stream_window", "_their_initial", "_wanted", "outgoing", "received_bytes",
    )  # fmt: skip

    def __init__(self, path: str, authority: str, token: str = "") -> None:
        self._incoming = b""
        # The message that is being received: its prefix, its parts, and how much of it is to come.
        self._prefix = b""
        self._parts: list[memoryview] = []
        self._wanted = -1
        self._pending = bytearray()
        self._connection_window = self._stream_window = self._their_initial = _DEFAULT_WINDOW
        self._received_since = 0
        self.received_bytes = 0
        self.outgoing = bytearray(_opening(path, authority, token))

    def send(self, message: bytes) -> None:
        """Queue one message; what does not fit into the peer's windows waits for them."""
        self._pending += _PREFIX.pack(0, len(message)) + message
        self._flush()

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete; ``StreamEndedError`` when the call is over."""
        self.received_bytes += len(data)
        buffer = self._incoming + data if self._incoming else data
        view = memoryview(buffer)
        messages: list[bytes] = []
        position, end = 0, len(buffer)
        while end - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(buffer, position)
            start, position = position + 9, position + 9 + (high << 16 | low)
            if position > end:
                position = start - 9
                break
            if kind == _DATA:
                self._received_since += position - start
                self._collect(view[start:position], messages)
            elif kind == _WINDOW_UPDATE:
                self._window_update(stream, buffer[start:position])
            else:
                self._control(kind, flags, buffer[start:position])
            if flags & _END_STREAM and kind in (_DATA, _HEADERS):
                raise StreamEndedError("the server ended the stream")
        self._incoming = buffer[position:]
        if self._received_since > _REPLENISH_BYTES:
            self._replenish()
        return messages

    def _collect(self, payload: memoryview, messages: list[bytes]) -> None:
        """Add a frame's payload to the message that it belongs to, and add complete ones."""
        while payload:
            if self._wanted < 0:
                taken = _PREFIX.size - len(self._prefix)
                self._prefix += payload[:taken]
                payload = payload[taken:]
                if len(self._prefix) < _PREFIX.size:
                    return
                self._wanted = _PREFIX.unpack(self._prefix)[1]
            part = payload[: self._wanted]
            self._parts.append(part)
            self._wanted -= len(part)
            payload = payload[len(part) :]
            if self._wanted == 0:
                messages.append(b"".join(self._parts))
                self._parts, self._prefix, self._wanted = [], b"", -1

    def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            self._settings(payload)
        elif kind == _PING and not flags & _ACK:
            self.outgoing += _frame(_PING, _ACK, 0, payload)
        elif kind in (_RST_STREAM, _GOAWAY):
            raise StreamEndedError(f"the server sent frame {kind}: {payload[-80:]!r}")

    def _window_update(self, stream: int, payload: bytes) -> None:
        increment = _U32.unpack(payload)[0] & _MAX_WINDOW
        if stream:
            self._stream_window += increment
        else:
            self._connection_window += increment
        self._flush()

    def _settings(self, payload: bytes) -> None:
        for position in range(0, len(payload), 6):
            setting, value = _SETTING.unpack_from(payload, position)
            if setting == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._their_initial
                self._their_initial = value
        self.outgoing += _frame(_SETTINGS, _ACK, 0, b"")
        self._flush()

    def _flush(self) -> None:
        pending = self._pending
        while pending:
            size = min(len(pending), _MAX_FRAME, self._connection_window, self._stream_window)
            if size <= 0:
                return
            self.outgoing += _frame(_DATA, 0, _STREAM, bytes(pending[:size]))
            self._connection_window -= size
            self._stream_window -= size
            del pending[:size]

    def _replenish(self) -> None:
        for stream in (0, _STREAM):
            self.outgoing += _frame(_WINDOW_UPDATE, 0, stream, _U32.pack(self._received_since))
        self._received_since = 0


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    length = len(payload)
    return _HEAD.pack(length >> 16, length & 0xFFFF, kind, flags, stream) + payload


def _opening(path: str, authority: str, token: str) -> bytes:
    settings = _SETTING.pack(_INITIAL_WINDOW_SIZE, _MAX_WINDOW)
    return b"".join(
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _frame(_SETTINGS, 0, 0, settings),
            _frame(_WINDOW_UPDATE, 0, 0, _U32.pack(_MAX_WINDOW - _DEFAULT_WINDOW)),
            _frame(_HEADERS, _END_HEADERS, _STREAM, _header_block(path, authority, token)),
        )
    )


def _header_block(path: str, authority: str, token: str) -> bytes:
    """Return the request's headers: indexed static fields, the rest literal and never indexed.

    A bearer token is only ever sent over TLS, so it says the scheme too.
    """
    return b"".join(
        (
            b"\x83" + (b"\x87" if token else b"\x86"),  # :method POST, :scheme https or http
            b"\x04" + _string(path),
            b"\x01" + _string(authority),
            b"\x0f\x10" + _string("application/grpc"),  # content-type
            b"\x00" + _string("te") + _string("trailers"),
            b"\x0f\x08" + _string(f"Bearer {token}") if token else b"",  # authorization
        )
    )


def _string(text: str) -> bytes:
    raw = text.encode()
    return _length(len(raw)) + raw


def _length(number: int) -> bytes:
    """Return a length as HPACK writes integers: in the rest of an octet, or from there on by sevens."""
    if number < _REST:
        return bytes((number,))
    octets = bytearray((_REST,))
    number -= _REST
    while number >= _CONTINUED:
        octets.append(number % _CONTINUED + _CONTINUED)
        number //= _CONTINUED
    octets.append(number)
    return bytes(octets)
