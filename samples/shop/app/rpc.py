"""gRPC with the standard library only: enough of HTTP/2 (RFC 9113) to answer one message with another.

Nobody reads what is asked for, which would take HPACK's table of codes: every method of a port is answered alike.
"""

import socketserver
import struct

PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
DATA, HEADERS, SETTINGS, PING, WINDOW_UPDATE = 0x0, 0x1, 0x4, 0x6, 0x8
ACK = END_STREAM = 0x1
END_HEADERS = 0x4

# HPACK (RFC 7541): ":status: 200" is number 8 of the static table, and "content-type" the name of number 31.
OPENING = b"\x88" + b"\x0f\x10" + b"\x10application/grpc"
OK, UNAVAILABLE = 0, 14


def status(code):
    """What ends an answer: "grpc-status", which HPACK's table does not have."""
    said = str(code).encode()
    return b"\0\x0bgrpc-status" + bytes((len(said),)) + said


def text(words):
    """A message whose field 1 is a string."""
    data = words.encode()
    return b"\x0a" + bytes((len(data),)) + data


def judge(asked):
    """Answer `envoy.service.auth.v3.Authorization/Check`: thieves are not let in."""
    is_thief = b"\x0a\x08end-user\x12\x05thief" in asked
    return b"\x0a\x02\x08\x07" if is_thief else b""  # status.code 7: PERMISSION_DENIED


class RpcServer(socketserver.ThreadingTCPServer):
    """Calls a function with each message; no answer is the error UNAVAILABLE."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, port, answer):
        super().__init__(("", port), RpcHandler)
        self.answer = answer


class RpcHandler(socketserver.StreamRequestHandler):
    """One connection, and all streams on it."""

    def handle(self):
        self.rfile.read(PREFACE_BYTES)
        self.send(SETTINGS, 0, 0, b"")
        messages = {}
        while head := self.rfile.read(9):
            size, kind, flags, stream = struct.unpack(">I", b"\0" + head[:3]) + struct.unpack(
                ">BBI", head[3:]
            )
            payload = self.rfile.read(size)
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.send(kind, ACK, 0, payload if kind == PING else b"")
            if kind == DATA and size:
                messages[stream] = messages.get(stream, b"") + payload
                self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", size))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.finish_stream(stream, messages.pop(stream, b"")[5:])

    def finish_stream(self, stream, message):
        answer = self.server.answer(message)
        if (
            answer is None
        ):  # in one go, so that who asked can see before the answer begins, and try elsewhere
            end = OPENING + status(UNAVAILABLE)
        else:
            self.send(HEADERS, END_HEADERS, stream, OPENING)
            self.send(DATA, 0, stream, struct.pack(">BI", 0, len(answer)) + answer)
            end = status(OK)
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, end)

    def send(self, kind, flags, stream, payload):
        size = struct.pack(">I", len(payload))[1:]
        self.wfile.write(size + struct.pack(">BBI", kind, flags, stream) + payload)
