"""As much of HTTP/2 and gRPC as a server of long streams needs, without I/O.

A discovery server holds a thousand streams that are silent nearly always, and now and then says a few
hundred bytes to all of them. gRPC's own server takes 70 µs of processor time for a message in and as
much for one out; here it is a few, because there is no thread between the socket and the stream, and
all that arrives in one read is dealt with in one turn (docs/decisions, the xDS server's transport).

Bytes go into :meth:`Http2.receive`, which returns events; what is to be written is fetched from
:meth:`Http2.output`. Messages that do not fit the peer's flow-control windows wait here by reference.

Sources: RFC 9113 (HTTP/2; section numbers below), RFC 7541 (HPACK), gRPC's "gRPC over HTTP2". Padding,
priorities and continuations are understood; server push, trailers of requests and compressed messages
are not.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote

import hpack

from mizzen_xds import frames
from mizzen_xds.frames import Code, Http2Error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PREFIX_BYTES: Final = 5

_MAX_WINDOW: Final = 2**31 - 1
_DEFAULT_WINDOW: Final = 65_535
# Section 4.2: no frame may be larger than this unless we say so, and we don't.
_MAX_FRAME_BYTES: Final = 16_384
# A request's headers are a path and a token; the longest tokens are a few kilobytes.
_MAX_HEADER_BYTES: Final = 32 * 1024
# Streams of one connection: an Envoy has one, a test's client may share a connection among many.
_MAX_STREAMS: Final = 4096
# What a client may send before we hand out more; requests are acknowledged byte by byte as they come.
_RECEIVE_WINDOW: Final = 4 * 1024 * 1024

# HPACK, literals without indexing: ``:status: 200`` (static 8), ``content-type`` (static 31).
_OK_HEADERS: Final = b"\x88\x0f\x10\x10application/grpc"

_SETTING: Final = struct.Struct(">HI")
_SETTINGS_SENT: Final = (
    (3, _MAX_STREAMS),  # SETTINGS_MAX_CONCURRENT_STREAMS
    (4, _RECEIVE_WINDOW),  # SETTINGS_INITIAL_WINDOW_SIZE
    (6, _MAX_HEADER_BYTES),  # SETTINGS_MAX_HEADER_LIST_SIZE
)
_SETTING_INITIAL_WINDOW: Final = 4
_SETTING_FRAME_BYTES: Final = 5
# Larger frames than this would only make other streams of the connection wait.
_LARGEST_FRAME_SENT: Final = 64 * 1024
# What gRPC leaves as it is in ``grpc-message`` ("Responses", percent-encoding): printable ASCII but ``%``.
_UNQUOTED: Final = " !\"#$&'()*+,/:;<=>?@[\\]^`{|}"


class Status(IntEnum):
    """gRPC status codes that are sent."""

    OK = 0
    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Opened(NamedTuple):
    """A request began."""

    stream: int
    headers: Mapping[str, str]


class Message(NamedTuple):
    """A gRPC message of a request came in."""

    stream: int
    body: bytes


class Ended(NamedTuple):
    """A request has nothing more to say, or was given up."""

    stream: int


Event = Opened | Message | Ended


@dataclass(slots=True)
class _Stream:
    """One stream; ``waiting`` is what the windows have not let through."""

    window: int
    credit: int = 0
    incoming: bytearray | None = None
    waiting: deque[memoryview] | None = None
    is_answered: bool = False
    is_ended: bool = False
    status: tuple[Status, str] | None = None


class Http2:
    """One connection, from the server's side."""

    def __init__(self, *, message_limit_bytes: int) -> None:
        self._limit = message_limit_bytes
        self._incoming = bytearray()
        self._has_preface = False
        self._decoder = hpack.Decoder(max_header_list_size=_MAX_HEADER_BYTES)
        self._block: tuple[int, int, bytearray] | None = None
        self._streams: dict[int, _Stream] = {}
        self._newest = 0
        self._is_closing = False
        self._window = _DEFAULT_WINDOW
        self._credit = 0
        self._stream_window = _DEFAULT_WINDOW
        self._frame_bytes = _MAX_FRAME_BYTES
        self._held_bytes = 0
        self._blocked: dict[int, None] = {}
        self._events: list[Event] = []
        self._out: list[bytes | memoryview] = [
            frames.frame(
                frames.SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in _SETTINGS_SENT)
            ),
            frames.window_frame(0, _RECEIVE_WINDOW - _DEFAULT_WINDOW),
        ]

    # What comes in

    def receive(self, data: bytes) -> Sequence[Event]:
        """Take bytes in and return what they say.

        Raises:
            Http2Error: The peer broke the protocol; say so to it by :meth:`shut`.
        """
        self._incoming += data
        self._events = []
        if self._has_preface or self._take_preface():
            self._take_frames()
        # Handed over, not kept: a first request with all its names is a hundred kilobytes.
        events, self._events = self._events, []
        return events

    def _take_preface(self) -> bool:
        head = self._incoming[: len(_PREFACE)]
        if not _PREFACE.startswith(head):
            raise Http2Error(Code.PROTOCOL_ERROR, "not an HTTP/2 connection")
        if len(head) < len(_PREFACE):
            return False
        del self._incoming[: len(_PREFACE)]
        self._has_preface = True
        return True

    def _take_frames(self) -> None:
        buffer = self._incoming
        at, end = 0, len(buffer)
        while end - at >= frames.HEADER_BYTES:
            size = buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2]
            if size > _MAX_FRAME_BYTES:
                raise Http2Error(Code.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
            stop = at + frames.HEADER_BYTES + size
            if stop > end:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & _MAX_WINDOW
            self._take_frame(buffer[at + 3], buffer[at + 4], stream, bytes(buffer[at + 9 : stop]))
            at = stop
        del buffer[:at]

    def _take_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and kind != frames.CONTINUATION:
            raise Http2Error(Code.PROTOCOL_ERROR, "headers were interrupted")
        if kind == frames.DATA:
            self._take_data(flags, stream, payload)
            return
        take = _TAKERS.get(kind)
        if take is not None:
            take(self, flags, stream, payload)

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        self._give_credit(number, len(payload))
        stream = self._known(number)
        if stream is None:
            return
        if flags & frames.PADDED:
            payload = frames.unpadded(payload)
        if stream.is_ended:
            self._reset(number, Code.STREAM_CLOSED)
            return
        self._take_messages(number, stream, payload)
        if flags & frames.END_STREAM:
            self._end(number, stream)

    def _take_messages(self, number: int, stream: _Stream, payload: bytes) -> None:
        held = stream.incoming
        if held is not None:
            held += payload
            self._hold(len(payload))
            if len(held) < _wanted(held):
                return
            payload, stream.incoming = bytes(held), None
            self._hold(-len(payload))
        at, end = 0, len(payload)
        while end - at >= _PREFIX_BYTES:
            size = int.from_bytes(payload[at + 1 : at + _PREFIX_BYTES], "big")
            if payload[at] or size > self._limit:
                self._refuse_message(number, is_compressed=payload[at] != 0)
                return
            stop = at + _PREFIX_BYTES + size
            if stop > end:
                break
            self._events.append(Message(number, payload[at + _PREFIX_BYTES : stop]))
            at = stop
        if at < end:
            stream.incoming = bytearray(payload[at:])
            self._hold(end - at)

    def _hold(self, size: int) -> None:
        """Account for incomplete messages, of which one connection may have so many bytes."""
        self._held_bytes += size
        if self._held_bytes > 2 * self._limit:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "too many incomplete messages")

    def _refuse_message(self, number: int, *, is_compressed: bool) -> None:
        if is_compressed:
            self.finish(number, Status.UNIMPLEMENTED, "compressed messages are not understood")
        else:
            self.finish(number, Status.RESOURCE_EXHAUSTED, "the message is too large")
        self._events.append(Ended(number))

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.unpadded(payload)
        if flags & frames.HAS_PRIORITY:
            payload = payload[5:]
        if number % 2 == 0:
            raise Http2Error(Code.PROTOCOL_ERROR, f"a client's stream {number}")
        self._block = (number, flags, bytearray(payload))
        if flags & frames.END_HEADERS:
            self._take_block()

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise Http2Error(Code.PROTOCOL_ERROR, "a continuation of nothing")
        block = self._block[2]
        block += payload
        if len(block) > _MAX_HEADER_BYTES:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "the headers are too large")
        if flags & frames.END_HEADERS:
            self._take_block()

    def _take_block(self) -> None:
        """Take in a complete block of headers: a new request, or the trailers of one."""
        if self._block is None:
            return
        number, flags, block = self._block
        self._block = None
        try:
            headers = {str(name): str(value) for name, value in self._decoder.decode(bytes(block))}
        except (hpack.HPACKError, UnicodeDecodeError) as error:
            raise Http2Error(Code.COMPRESSION_ERROR, "headers that cannot be read") from error
        stream = self._streams.get(number)
        if stream is not None:
            self._end(number, stream)
        elif number > self._newest:
            self._open(number, headers, is_ended=bool(flags & frames.END_STREAM))

    def _open(self, number: int, headers: Mapping[str, str], *, is_ended: bool) -> None:
        self._newest = number
        if self._is_closing or len(self._streams) >= _MAX_STREAMS:
            self._out.append(frames.reset_frame(number, Code.REFUSED_STREAM))
            return
        stream = self._streams[number] = _Stream(window=self._stream_window)
        self._events.append(Opened(number, headers))
        if is_ended:
            self._end(number, stream)

    def _end(self, number: int, stream: _Stream) -> None:
        stream.is_ended = True
        self._events.append(Ended(number))

    def _take_reset(self, _flags: int, number: int, _payload: bytes) -> None:
        if self._known(number) is not None:
            self._drop(number)
            self._events.append(Ended(number))

    def _take_settings(self, flags: int, _number: int, payload: bytes) -> None:
        if flags & frames.ACK:
            return
        if len(payload) % 6:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "settings of a wrong size")
        for setting, value in struct.iter_unpack(">HI", payload):
            self._take_setting(setting, value)
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _take_setting(self, setting: int, value: int) -> None:
        """Take in what concerns what we send; our headers need no table."""
        if setting == _SETTING_INITIAL_WINDOW:
            if value > _MAX_WINDOW:
                raise Http2Error(Code.FLOW_CONTROL_ERROR, "an initial window too large")
            difference, self._stream_window = value - self._stream_window, value
            for stream in self._streams.values():
                stream.window += difference
        elif setting == _SETTING_FRAME_BYTES:
            self._frame_bytes = min(max(value, _MAX_FRAME_BYTES), _LARGEST_FRAME_SENT)

    def _take_ping(self, flags: int, _number: int, payload: bytes) -> None:
        if len(payload) != 8:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "a ping of a wrong size")
        if not flags & frames.ACK:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _take_window(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Http2Error(Code.FRAME_SIZE_ERROR, "a window update of a wrong size")
        grown = int.from_bytes(payload, "big") & _MAX_WINDOW
        if number == 0:
            self._window += grown
            is_too_large = self._window > _MAX_WINDOW
        else:
            stream = self._known(number)
            if stream is None:
                return
            stream.window += grown
            is_too_large = stream.window > _MAX_WINDOW
        if is_too_large:
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "a window too large")

    def _known(self, number: int) -> _Stream | None:
        """Return a living stream, ``None`` for one that is over."""
        if number > self._newest:
            raise Http2Error(Code.PROTOCOL_ERROR, f"stream {number} was never opened")
        return self._streams.get(number)

    def _give_credit(self, number: int, size: int) -> None:
        """Let the peer send more once half of what it may send has come."""
        self._credit += size
        if self._credit >= _RECEIVE_WINDOW // 2:
            self._out.append(frames.window_frame(0, self._credit))
            self._credit = 0
        stream = self._streams.get(number)
        if stream is not None:
            stream.credit += size
            if stream.credit >= _RECEIVE_WINDOW // 2:
                self._out.append(frames.window_frame(number, stream.credit))
                stream.credit = 0

    # What goes out

    def send(self, number: int, parts: Sequence[bytes]) -> None:
        """Send a gRPC message, given in parts; on a stream that is over, nothing is sent."""
        stream = self._streams.get(number)
        if stream is None or stream.status is not None:
            return
        self._answer(number, stream)
        size = sum(map(len, parts))
        prefix = b"\0" + size.to_bytes(4, "big")
        total = size + _PREFIX_BYTES
        if not stream.waiting and total <= min(self._window, stream.window, self._frame_bytes):
            self._window -= total
            stream.window -= total
            self._out += (frames.frame_header(total, frames.DATA, 0, number), prefix, *parts)
            return
        waiting = stream.waiting = stream.waiting or deque()
        waiting.extend(memoryview(part) for part in (prefix, *parts) if part)
        self._blocked[number] = None

    def finish(self, number: int, status: Status, message: str = "") -> None:
        """End a stream with a status, after what waits to be sent on it."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if stream.waiting:
            stream.status = (status, message)
            return
        block = b"" if stream.is_answered else _OK_HEADERS
        block += frames.literal(b"grpc-status", str(int(status)).encode())
        if message:
            block += frames.literal(b"grpc-message", quote(message, safe=_UNQUOTED).encode())
        self._out.append(
            frames.frame(frames.HEADERS, frames.END_STREAM | frames.END_HEADERS, number, block)
        )
        if not stream.is_ended:
            # The response is complete; whatever else the client says is of no use (section 8.1).
            self._out.append(frames.reset_frame(number, Code.NO_ERROR))
        self._drop(number)

    def ping(self) -> None:
        """Ask whether the peer is there: whatever comes from it then says that it is."""
        self._out.append(frames.frame(frames.PING, 0, 0, bytes(8)))

    def shut(self, code: Code = Code.NO_ERROR) -> None:
        """Say that no further stream is taken."""
        self._is_closing = True
        self._out.append(frames.frame(frames.GOAWAY, 0, 0, struct.pack(">II", self._newest, code)))

    def output(self, room_bytes: int) -> bytes:
        """Return what may be written now: of what waits, about as much as there is room for."""
        for number in tuple(self._blocked):
            room_bytes -= self._release(number, room_bytes)
        if not self._out:
            return b""
        out, self._out = self._out, []
        return b"".join(out)

    def _answer(self, number: int, stream: _Stream) -> None:
        if not stream.is_answered:
            stream.is_answered = True
            self._out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, number, _OK_HEADERS))

    def _release(self, number: int, room_bytes: int) -> int:
        """Put frames of a stream out as far as windows and room allow; return their size."""
        stream = self._streams[number]
        waiting = stream.waiting or deque()
        released = 0
        while waiting:
            size = min(self._window, stream.window, self._frame_bytes, room_bytes - released)
            if size <= 0:
                return released
            pieces = _taken(waiting, size)
            size = sum(map(len, pieces))
            self._out += (frames.frame_header(size, frames.DATA, 0, number), *pieces)
            self._window -= size
            stream.window -= size
            released += size
        stream.waiting = None
        del self._blocked[number]
        if stream.status is not None:
            self.finish(number, *stream.status)
        return released

    def _reset(self, number: int, code: Code) -> None:
        self._out.append(frames.reset_frame(number, code))
        self._drop(number)
        self._events.append(Ended(number))

    def _drop(self, number: int) -> None:
        stream = self._streams.pop(number)
        self._blocked.pop(number, None)
        if stream.incoming is not None:
            self._held_bytes -= len(stream.incoming)


_TAKERS: Final = {
    frames.HEADERS: Http2._take_headers,
    frames.RST_STREAM: Http2._take_reset,
    frames.SETTINGS: Http2._take_settings,
    frames.PING: Http2._take_ping,
    frames.WINDOW_UPDATE: Http2._take_window,
    frames.CONTINUATION: Http2._take_continuation,
}


def _taken(waiting: deque[memoryview], size: int) -> list[memoryview]:
    """Take up to ``size`` bytes from the front."""
    pieces: list[memoryview] = []
    while waiting and size:
        piece = waiting.popleft()
        if len(piece) > size:
            waiting.appendleft(piece[size:])
            piece = piece[:size]
        pieces.append(piece)
        size -= len(piece)
    return pieces


def _wanted(held: bytearray) -> int:
    """Return how long an incomplete message will be, as far as that is known."""
    if len(held) < _PREFIX_BYTES:
        return _PREFIX_BYTES
    return _PREFIX_BYTES + int.from_bytes(held[1:_PREFIX_BYTES], "big")
