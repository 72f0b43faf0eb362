"""HTTP/2's frames as bytes: their kinds and flags, their headers, and header fields without tables.

Sources: RFC 9113 (section numbers below) and RFC 7541 (HPACK).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from mizzen_xds.errors import XdsError

HEADER_BYTES: Final = 9
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20
_HEADER: Final = struct.Struct(">HBBBI")


class Code(IntEnum):
    """Error codes of section 7 that are sent."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    FLOW_CONTROL_ERROR = 0x3
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    ENHANCE_YOUR_CALM = 0xB


class Http2Error(XdsError):
    """The connection cannot go on; ``code`` is told to the peer."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def unpadded(payload: bytes) -> bytes:
    """Return a payload without its padding (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise Http2Error(Code.PROTOCOL_ERROR, "more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def frame_header(size: int, kind: int, flags: int, stream: int) -> bytes:
    """Return the nine bytes before a payload (section 4.1)."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a whole frame."""
    return frame_header(len(payload), kind, flags, stream) + payload


def reset_frame(stream: int, code: Code) -> bytes:
    """Return a frame that ends one stream (section 6.4)."""
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def window_frame(stream: int, grown: int) -> bytes:
    """Return a frame that lets the peer send so many bytes more (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", grown))


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header that enters no table (RFC 7541, section 6.2.2)."""
    return b"\0" + _counted(name) + _counted(value)


def _counted(text: bytes) -> bytes:
    """Return a string with its length as an integer of a 7-bit prefix (RFC 7541, section 5)."""
    size = len(text)
    if size < 0x7F:
        return bytes((size,)) + text
    out = bytearray((0x7F,))
    size -= 0x7F
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out) + text
