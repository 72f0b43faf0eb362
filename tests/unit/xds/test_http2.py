"""HTTP/2 as far as discovery needs it, rule by rule (RFC 9113), and gRPC's framing on top."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen_xds.frames import Code, Http2Error
from mizzen_xds.http2 import Ended, Event, Http2, Message, Opened, Status

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _PRIORITY, _RESET, _SETTINGS = 0, 1, 2, 3, 4
_PING, _GOAWAY, _WINDOW, _CONTINUATION = 6, 7, 8, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _HAS_PRIORITY = 1, 1, 4, 8, 32
_LIMIT: Final = 100_000
_ROOM: Final = 1 << 20
_WINDOW_SENT: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    def __bytes__(self) -> bytes:
        size = struct.pack(">I", len(self.payload))[1:]
        return size + struct.pack(">BBI", self.kind, self.flags, self.stream) + self.payload


def frames(raw: bytes) -> Iterator[Frame]:
    """Yield the frames of what was written."""
    while raw:
        size = int.from_bytes(raw[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", raw[3:9])
        yield Frame(kind, flags, stream, raw[9 : 9 + size])
        raw = raw[9 + size :]


@dataclass(slots=True)
class Peer:
    """The other side of a connection, in a test's hands."""

    http2: Http2 = field(default_factory=lambda: Http2(message_limit_bytes=_LIMIT))
    encoder: hpack.Encoder = field(default_factory=hpack.Encoder)
    decoder: hpack.Decoder = field(default_factory=hpack.Decoder)

    def greet(self, **settings: int) -> list[Frame]:
        """Send preface and settings (by number, as ``s4=...``); return what comes back."""
        pairs = b"".join(struct.pack(">HI", int(k[1:]), v) for k, v in settings.items())
        self.http2.receive(_PREFACE)
        self.send(Frame(_SETTINGS, 0, 0, pairs))
        return self.read()

    def send(self, *sent: Frame) -> Sequence[Event]:
        """Send frames and return what they mean."""
        return self.http2.receive(b"".join(map(bytes, sent)))

    def read(self, room: int = _ROOM) -> list[Frame]:
        """Return the frames that are written."""
        return list(frames(self.http2.output(room)))

    def open(self, stream: int = 1, *, flags: int = 0, path: str = "/p") -> Sequence[Event]:
        """Open a stream."""
        return self.send(Frame(_HEADERS, _END_HEADERS | flags, stream, self.block(path)))

    def block(self, path: str = "/p", **more: str) -> bytes:
        """Return encoded headers."""
        return self.encoder.encode([(":method", "POST"), (":path", path), *more.items()])

    def headers(self, frame: Frame) -> dict[str, str]:
        """Return decoded headers."""
        return {str(one[0]): str(one[1]) for one in self.decoder.decode(frame.payload)}


def message(body: bytes, *, compressed: int = 0) -> bytes:
    """Return a gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(body)) + body


def data(body: bytes, stream: int = 1, flags: int = 0) -> Frame:
    """Return a gRPC message in one frame."""
    return Frame(_DATA, flags, stream, message(body))


def connected(**settings: int) -> Peer:
    """Return a peer with one stream open."""
    peer = Peer()
    peer.greet(**settings)
    peer.open()
    return peer


def test_settings_are_sent_first_and_the_peers_are_acknowledged() -> None:
    """With windows large enough for what a proxy says when it comes back."""
    answers = Peer().greet()
    assert [frame.kind for frame in answers] == [_SETTINGS, _WINDOW, _SETTINGS]
    assert answers[-1].flags == _ACK
    assert struct.pack(">HI", 4, _WINDOW_SENT) in answers[0].payload


def test_the_acknowledgement_of_our_settings_needs_no_answer() -> None:
    """Nor does a frame of a kind that nobody knows, or a priority."""
    peer = connected()
    peer.read()
    assert peer.send(Frame(_SETTINGS, _ACK, 0), Frame(99, 0, 0, b"x")) == []
    assert peer.send(Frame(_PRIORITY, 0, 1, bytes(5)), Frame(_GOAWAY, 0, 0, bytes(8))) == []
    assert peer.read() == []


def test_a_preface_may_come_in_pieces() -> None:
    """Nothing is understood before it is whole."""
    peer = Peer()
    assert peer.http2.receive(_PREFACE[:5]) == []
    assert peer.http2.receive(_PREFACE[5:]) == []
    assert peer.open() != []


def test_what_is_not_http2_is_refused() -> None:
    """An HTTP/1 client, say."""
    with pytest.raises(Http2Error, match="not an HTTP/2") as caught:
        Peer().http2.receive(b"GET / HTTP/1.1\r\n\r\n")
    assert caught.value.code is Code.PROTOCOL_ERROR


def test_a_request_opens_a_stream_and_its_messages_come_one_by_one() -> None:
    """Two in a frame, or one over two frames, or a prefix cut in half: it is all the same."""
    peer = Peer()
    peer.greet()
    assert peer.open(path="/x") == [Opened(1, {":method": "POST", ":path": "/x"})]
    both = message(b"one") + message(b"two")
    assert peer.send(Frame(_DATA, 0, 1, both)) == [Message(1, b"one"), Message(1, b"two")]
    whole = message(b"three")
    for cut in range(1, len(whole)):
        assert peer.send(Frame(_DATA, 0, 1, whole[:cut])) == []
        assert peer.send(Frame(_DATA, 0, 1, whole[cut:])) == [Message(1, b"three")]
    assert peer.send(data(b"", flags=_END_STREAM)) == [Message(1, b""), Ended(1)]


def test_frames_may_come_in_any_pieces() -> None:
    """The socket cuts where it likes."""
    peer = connected()
    raw = bytes(data(b"hello"))
    events = [event for byte in raw for event in peer.http2.receive(bytes((byte,)))]
    assert events == [Message(1, b"hello")]


def test_padding_and_priorities_are_passed_over() -> None:
    """In headers as in data."""
    peer = Peer()
    peer.greet()
    block = b"\x03" + bytes(5) + peer.block() + bytes(3)
    flags = _END_HEADERS | _PADDED | _HAS_PRIORITY
    assert peer.send(Frame(_HEADERS, flags, 1, block))[0] == Opened(
        1, {":method": "POST", ":path": "/p"}
    )
    padded = Frame(_DATA, _PADDED, 1, b"\x02" + message(b"x") + bytes(2))
    assert peer.send(padded) == [Message(1, b"x")]


def test_headers_may_be_continued() -> None:
    """Until they say that they are complete; their end of stream counts from the start."""
    peer = Peer()
    peer.greet()
    block = peer.block()
    first = Frame(_HEADERS, _END_STREAM, 1, block[:3])
    assert peer.send(first, Frame(_CONTINUATION, 0, 1, block[3:5])) == []
    events = peer.send(Frame(_CONTINUATION, _END_HEADERS, 1, block[5:]))
    assert events == [Opened(1, {":method": "POST", ":path": "/p"}), Ended(1)]


def test_trailers_end_a_request() -> None:
    """Headers on a stream that is open."""
    peer = connected()
    assert peer.open() == [Ended(1)]


def test_headers_of_a_stream_that_is_over_are_passed_over() -> None:
    """They still take part in the compression, so they are decoded."""
    peer = connected()
    peer.http2.finish(1, Status.OK)
    assert peer.open() == []
    assert peer.open(3) == [Opened(3, {":method": "POST", ":path": "/p"})]


def test_a_reset_ends_a_stream() -> None:
    """What is said of it afterwards counts for nothing."""
    peer = connected()
    assert peer.send(Frame(_RESET, 0, 1, bytes(4))) == [Ended(1)]
    assert peer.send(Frame(_RESET, 0, 1, bytes(4)), data(b"x")) == []
    peer.http2.send(1, [b"x"])
    peer.http2.finish(1, Status.OK)
    assert [f.kind for f in peer.read() if f.kind in (_DATA, _HEADERS)] == []


def test_data_after_the_end_is_refused() -> None:
    """Section 5.1, half-closed (remote)."""
    peer = connected()
    peer.send(data(b"x", flags=_END_STREAM))
    peer.read()
    assert peer.send(data(b"x")) == [Ended(1)]
    assert peer.read() == [Frame(_RESET, 0, 1, struct.pack(">I", Code.STREAM_CLOSED))]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([Frame(_DATA, 0, 3)], Code.PROTOCOL_ERROR),
        ([Frame(_WINDOW, 0, 3, bytes(4))], Code.PROTOCOL_ERROR),
        ([Frame(_RESET, 0, 3, bytes(4))], Code.PROTOCOL_ERROR),
        ([Frame(_HEADERS, _END_HEADERS, 2)], Code.PROTOCOL_ERROR),
        ([Frame(_CONTINUATION, 0, 1)], Code.PROTOCOL_ERROR),
        ([Frame(_HEADERS, 0, 3), Frame(_PING, 0, 0, bytes(8))], Code.PROTOCOL_ERROR),
        ([Frame(_HEADERS, 0, 3), Frame(_CONTINUATION, 0, 5)], Code.PROTOCOL_ERROR),
        ([Frame(_DATA, _PADDED, 1, b"\x05x")], Code.PROTOCOL_ERROR),
        ([Frame(_DATA, _PADDED, 1)], Code.PROTOCOL_ERROR),
        ([Frame(_PING, 0, 0, bytes(7))], Code.FRAME_SIZE_ERROR),
        ([Frame(_SETTINGS, 0, 0, bytes(5))], Code.FRAME_SIZE_ERROR),
        ([Frame(_WINDOW, 0, 0, bytes(3))], Code.FRAME_SIZE_ERROR),
        ([Frame(_DATA, 0, 1, bytes(16_385))], Code.FRAME_SIZE_ERROR),
        ([Frame(_SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31))], Code.FLOW_CONTROL_ERROR),
        ([Frame(_WINDOW, 0, 0, struct.pack(">I", 2**31 - 1))], Code.FLOW_CONTROL_ERROR),
        ([Frame(_WINDOW, 0, 1, struct.pack(">I", 2**31 - 1))], Code.FLOW_CONTROL_ERROR),
        ([Frame(_HEADERS, _END_HEADERS, 3, b"\xff\xff\xff\xff\xff")], Code.COMPRESSION_ERROR),
        (
            [Frame(_HEADERS, 0, 3), *(Frame(_CONTINUATION, 0, 3, bytes(16_000)) for _ in "abc")],
            Code.ENHANCE_YOUR_CALM,
        ),
    ],
)
def test_a_broken_protocol_ends_the_connection(sent: list[Frame], code: Code) -> None:
    """Each with the code of its section."""
    peer = connected()
    with pytest.raises(Http2Error) as caught:
        peer.send(*sent)
    assert caught.value.code is code


def test_a_ping_is_answered_and_the_answer_to_ours_is_not() -> None:
    """With the same eight bytes."""
    peer = connected()
    peer.read()
    peer.send(Frame(_PING, 0, 0, b"12345678"))
    assert peer.read() == [Frame(_PING, _ACK, 0, b"12345678")]
    peer.http2.ping()
    assert peer.read() == [Frame(_PING, 0, 0, bytes(8))]
    peer.send(Frame(_PING, _ACK, 0, bytes(8)))
    assert peer.read() == []


def test_a_message_is_answered_on_a_stream_that_was_accepted() -> None:
    """Headers once, then messages."""
    peer = connected()
    peer.read()
    peer.http2.send(1, [b"ab", b"", b"c"])
    peer.http2.send(1, [b"d"])
    head, *bodies = peer.read()
    assert peer.headers(head) == {":status": "200", "content-type": "application/grpc"}
    assert bodies == [data(b"abc"), data(b"d")]


def test_a_message_waits_for_the_windows_and_is_cut_to_frames() -> None:
    """The stream's and the connection's; what waits goes on where it stopped."""
    peer = connected(s4=10)
    peer.read()
    body = bytes(range(256)) * 100
    peer.http2.send(1, [body[:1000], body[1000:]])
    peer.http2.send(1, [b"next"])
    assert [len(f.payload) for f in peer.read() if f.kind == _DATA] == [10]
    peer.send(Frame(_WINDOW, 0, 1, struct.pack(">I", 1 << 20)))
    sent = [f for f in peer.read() if f.kind == _DATA]
    assert max(len(f.payload) for f in sent) == 16_384
    whole = b"".join(f.payload for f in sent)
    assert message(body)[10:] + message(b"next") == whole


def test_the_connections_window_holds_all_streams() -> None:
    """64 KiB until the peer says more."""
    peer = connected(s4=1 << 20)
    peer.open(3)
    peer.read()
    peer.http2.send(1, [bytes(60_000)])
    peer.http2.send(3, [bytes(60_000)])
    assert sum(len(f.payload) for f in peer.read() if f.kind == _DATA) == 65_535
    peer.send(Frame(_WINDOW, 0, 0, struct.pack(">I", 1 << 20)))
    assert sum(len(f.payload) for f in peer.read() if f.kind == _DATA) == 2 * 60_005 - 65_535


def test_a_change_of_the_initial_window_changes_open_streams() -> None:
    """Section 6.9.2; frames may become larger too, to a degree."""
    peer = connected(s4=0)
    peer.read()
    peer.http2.send(1, [bytes(50_000)])
    assert [f.kind for f in peer.read()] == [_HEADERS]
    peer.send(Frame(_SETTINGS, 0, 0, struct.pack(">HIHI", 4, 60_000, 5, 40_000)))
    assert [len(f.payload) for f in peer.read() if f.kind == _DATA] == [40_000, 10_005]


def test_no_more_is_written_than_there_is_room_for() -> None:
    """The rest stays by reference until the socket takes it."""
    peer = connected(s4=1 << 20)
    peer.send(Frame(_WINDOW, 0, 0, struct.pack(">I", 1 << 20)))
    peer.read()
    peer.http2.send(1, [bytes(100_000)])
    assert sum(len(f.payload) for f in peer.read(30_000) if f.kind == _DATA) == 30_000
    assert sum(len(f.payload) for f in peer.read() if f.kind == _DATA) == 70_005


def test_windows_are_given_back_for_what_has_come() -> None:
    """Half a window at a time, for the connection and for each stream."""
    peer = connected()
    peer.read()
    sent = 0
    while sent < _WINDOW_SENT // 2:
        peer.send(data(bytes(16_000)))
        sent += 16_005
    grown = [(f.stream, int.from_bytes(f.payload, "big")) for f in peer.read()]
    assert grown == [(0, sent), (1, sent)]


def test_a_status_ends_a_stream_after_what_waits() -> None:
    """And tells a client that is not done that nothing more is wanted."""
    peer = connected(s4=3)
    peer.read()
    peer.http2.send(1, [b"abc"])
    peer.http2.finish(1, Status.UNAVAILABLE, "going away: 100 %, é")
    peer.http2.send(1, [b"too late"])
    assert [f.kind for f in peer.read()] == [_HEADERS, _DATA]
    peer.send(Frame(_WINDOW, 0, 1, struct.pack(">I", 100)))
    body, trailers, reset = peer.read()
    assert body.payload == message(b"abc")[3:]
    assert trailers.flags == _END_STREAM | _END_HEADERS
    assert peer.headers(trailers) == {
        "grpc-status": "14",
        "grpc-message": "going away: 100 %25, %C3%A9",
    }
    assert reset == Frame(_RESET, 0, 1, bytes(4))


def test_a_status_without_a_message_before_is_trailers_only() -> None:
    """And no reset where the client is done; long texts are told too."""
    peer = Peer()
    peer.greet()
    peer.open(flags=_END_STREAM)
    peer.http2.finish(1, Status.PERMISSION_DENIED, "x" * 1000)
    (only,) = peer.read()
    assert peer.headers(only) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "7",
        "grpc-message": "x" * 1000,
    }


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (message(b"x", compressed=1), "12"),
        (struct.pack(">BI", 0, _LIMIT + 1), "8"),
    ],
    ids=["compressed", "too large"],
)
def test_a_message_that_cannot_be_taken_ends_its_stream(raw: bytes, status: str) -> None:
    """Not the connection."""
    peer = connected()
    peer.read()
    assert peer.send(Frame(_DATA, 0, 1, raw)) == [Ended(1)]
    assert peer.headers(peer.read()[0])["grpc-status"] == status


def test_incomplete_messages_are_not_piled_up() -> None:
    """Two of the largest on a connection, not one on each of its thousands of streams."""
    peer = Peer()
    peer.greet()
    head = struct.pack(">BI", 0, _LIMIT)

    def begin_many() -> None:
        for stream in range(1, 99, 2):
            peer.open(stream)
            peer.send(Frame(_DATA, 0, stream, head + bytes(10_000)))

    with pytest.raises(Http2Error, match="incomplete"):
        begin_many()


def test_incomplete_messages_of_ended_streams_count_no_more() -> None:
    """Nor do complete ones."""
    peer = Peer()
    peer.greet()
    head = struct.pack(">BI", 0, _LIMIT)
    for stream in range(1, 99, 2):
        peer.open(stream)
        peer.send(Frame(_DATA, 0, stream, head + bytes(10_000)))
        peer.send(Frame(_RESET, 0, stream, bytes(4)))
    peer.open(101)
    for _ in range(30):
        assert peer.send(Frame(_DATA, 0, 101, message(b"x" * 10_000)[:9_000])) == []
        assert peer.send(Frame(_DATA, 0, 101, message(b"x" * 10_000)[9_000:])) != []


def test_no_stream_is_taken_while_the_connection_is_shut() -> None:
    """The peer is told which was the last."""
    peer = connected()
    peer.read()
    peer.http2.shut()
    assert peer.read() == [Frame(_GOAWAY, 0, 0, struct.pack(">II", 1, 0))]
    assert peer.open(3) == []
    assert peer.read() == [Frame(_RESET, 0, 3, struct.pack(">I", Code.REFUSED_STREAM))]


def test_there_is_a_limit_to_the_streams_of_a_connection() -> None:
    """Beyond it they are refused one by one."""
    peer = Peer()
    peer.greet()
    for number in range(4096):
        assert peer.open(2 * number + 1) != []
    assert peer.open(2 * 4096 + 1) == []


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_garbage_is_an_error_or_nothing(pieces: list[bytes]) -> None:
    """Whatever comes, it is an error of the protocol, never of the program."""
    peer = connected()
    try:
        for piece in pieces:
            peer.http2.receive(piece)
    except Http2Error as error:
        peer.http2.shut(error.code)
    peer.http2.output(_ROOM)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9),
            st.integers(0, 255),
            st.integers(0, 5),
            st.binary(max_size=40),
        ),
        max_size=30,
    )
)
def test_well_formed_frames_in_any_order_are_an_error_or_nothing(
    sent: list[tuple[int, int, int, bytes]],
) -> None:
    """Frames of each kind with arbitrary flags, streams and payloads."""
    peer = connected()
    try:
        for kind, flags, stream, payload in sent:
            peer.send(Frame(kind, flags, stream, payload))
            peer.http2.send(1, [b"answer"])
            peer.http2.output(_ROOM)
    except Http2Error:
        pass
