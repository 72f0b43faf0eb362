"""The client side of one gRPC stream."""

from __future__ import annotations

from struct import pack

import pytest

from bench.h2 import GrpcStream, StreamEndedError

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8


def _frame(kind: int, payload: bytes, *, flags: int = 0, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + pack(">L", stream) + payload


def _message(body: bytes) -> bytes:
    return pack(">BL", 0, len(body)) + body


def _stream() -> GrpcStream:
    stream = GrpcStream("/a.B/C", "localhost:1")
    stream.outgoing.clear()
    return stream


def _data_sent(stream: GrpcStream) -> int:
    """Return the bytes of DATA frames that are ready to be written."""
    total, position = 0, 0
    while position < len(stream.outgoing):
        length = int.from_bytes(stream.outgoing[position : position + 3], "big")
        total += length if stream.outgoing[position + 3] == _DATA else 0
        position += 9 + length
    return total


def test_the_opening_starts_with_the_preface() -> None:
    """A connection begins with the magic that HTTP/2 demands."""
    assert GrpcStream("/a.B/C", "localhost:1").outgoing.startswith(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    )


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_messages_are_found_however_the_bytes_are_cut(chunk: int) -> None:
    """Frames and messages may begin and end anywhere in what one read returns."""
    first, second = b"x" * 300, b"y" * 20
    both = _message(first) + _message(second)
    wire = (
        _frame(_HEADERS, b"\x88", flags=4) + _frame(_DATA, both[:100]) + _frame(_DATA, both[100:])
    )
    stream = _stream()
    pieces = [wire[start : start + chunk] for start in range(0, len(wire), chunk)]
    assert [found for piece in pieces for found in stream.receive(piece)] == [first, second]
    assert stream.received_bytes == len(wire)


def test_sending_stops_at_the_window_and_goes_on_when_it_is_opened() -> None:
    """A message larger than the peer's windows waits for both of them."""
    stream = _stream()
    stream.send(b"z" * 100_000)
    assert _data_sent(stream) == 65_535
    stream.receive(_frame(_WINDOW_UPDATE, pack(">L", 50_000), stream=0))
    assert _data_sent(stream) == 65_535
    stream.receive(_frame(_WINDOW_UPDATE, pack(">L", 50_000), stream=1))
    assert _data_sent(stream) == 100_005


def test_a_larger_initial_window_opens_the_stream() -> None:
    """SETTINGS change the windows of streams that are already open, and are acknowledged."""
    stream = _stream()
    stream.receive(_frame(_SETTINGS, pack(">HL", 4, 70_000), stream=0))
    assert bytes(stream.outgoing) == _frame(_SETTINGS, b"", flags=1, stream=0)


def test_a_ping_is_answered() -> None:
    """The server measures the line with pings."""
    stream = _stream()
    stream.receive(_frame(_PING, b"12345678", stream=0))
    assert bytes(stream.outgoing) == _frame(_PING, b"12345678", flags=1, stream=0)


@pytest.mark.parametrize(
    "wire", [_frame(_HEADERS, b"\x88", flags=5), _frame(_RST_STREAM, b"\0\0\0\x08")]
)
def test_the_end_of_the_stream_is_an_error(wire: bytes) -> None:
    """Whatever the status: a stream of configuration is not to end."""
    with pytest.raises(StreamEndedError):
        _stream().receive(wire)


def test_a_token_of_any_length_is_shown_whole() -> None:
    """Tokens of service accounts are longer than a length that stands in one octet (RFC 7541, 5.1)."""
    hpack = pytest.importorskip("hpack")
    token = "t" * 1337
    opening = bytes(GrpcStream("/a.B/C", "mesh", token).outgoing)
    start = opening.index(b"\x83\x87")  # POST, https
    headers = dict(hpack.Decoder().decode(opening[start:]))
    assert headers["authorization"] == f"Bearer {token}"
    assert headers[":scheme"] == "https"
