"""gRPC as a pod speaks it: calls one after the other, all on one connection (RFC 9113)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import hpack

if TYPE_CHECKING:
    import socket

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0x0, 0x1, 0x4
_ACK = _END_STREAM = 0x1
_END_HEADERS: Final = 0x4


@dataclass(slots=True, kw_only=True)
class Answer:
    """What came back of a call: headers and trailers together, and the message."""

    headers: dict[str, str] = field(default_factory=dict)
    message: bytes = b""

    @property
    def status(self) -> str:
        """The gRPC status; 0 is good."""
        return self.headers.get("grpc-status", "")


class GrpcCaller:
    """A client on a connection that was made for it; closed with it."""

    def __init__(self, connection: socket.socket, authority: str) -> None:
        self._connection = connection
        self._reads = connection.makefile("rb")
        self._authority = authority
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._stream = -1
        connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0))

    def close(self) -> None:
        """Close the connection."""
        self._reads.close()
        self._connection.close()

    def call(self, method: str, message: bytes = b"") -> Answer:
        """Call ``/package.Service/Method`` and wait for its end."""
        self._stream += 2
        headers: dict[str | bytes, str | bytes] = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
        }
        headers |= {
            ":authority": self._authority,
            "content-type": "application/grpc",
            "te": "trailers",
        }
        asked = struct.pack(">BI", 0, len(message)) + message
        self._connection.sendall(
            _frame(_HEADERS, _END_HEADERS, self._stream, self._encoder.encode(headers))
            + _frame(_DATA, _END_STREAM, self._stream, asked)
        )
        return self._answer()

    def _answer(self) -> Answer:
        answer, flags, kind = Answer(), 0, _SETTINGS
        while kind not in (_DATA, _HEADERS) or not flags & _END_STREAM:
            size, kind, flags, _stream = _head(self._reads.read(9))
            payload = self._reads.read(size)
            if kind == _SETTINGS and not flags & _ACK:
                self._connection.sendall(_frame(_SETTINGS, _ACK, 0))
            elif kind == _HEADERS:
                answer.headers |= {str(n): str(v) for n, v in self._decoder.decode(payload)}
            elif kind == _DATA:
                answer.message += payload
        return answer


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _head(raw: bytes) -> tuple[int, int, int, int]:
    assert raw, "the connection is closed"
    kind, flags, stream = struct.unpack(">BBI", raw[3:])
    return int.from_bytes(raw[:3]), kind, flags, stream
