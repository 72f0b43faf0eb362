"""A name server for pods of a live mesh: what stands in a file, by UDP and TCP; the standard library only.

    name_server.py ZONE [ADDRESS]

The file has a line for each name: ``name address address…``, read anew for each question. Addresses of the family
that is asked for are answered, with a time to live of a second, or of none with ``ttl=0`` before them; other names do
not exist.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import Final

_A: Final = 1
_AAAA: Final = 28
_NO_SUCH_NAME: Final = 3
_TTL_S: Final = 1


def answer(question: bytes, zone: str) -> bytes:
    """Return the answer to a DNS message with one question."""
    name, end = _name(question)
    kind = struct.unpack("!H", question[end : end + 2])[0]
    known = {
        line.split()[0].lower(): line.split()[1:] for line in zone.splitlines() if line.strip()
    }
    found = known.get(name.lower())
    ttl = 0 if "ttl=0" in (found or ()) else _TTL_S
    packed = [ip_address(each).packed for each in found or () if each != "ttl=0"]
    wanted = {_A: 4, _AAAA: 16}.get(kind, 0)
    records = [
        struct.pack("!HHHIH", 0xC00C, kind, 1, ttl, len(each)) + each
        for each in packed
        if len(each) == wanted
    ]
    flags = 0x8180 | (_NO_SUCH_NAME if found is None else 0)
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return head + question[12 : end + 4] + b"".join(records)


def _name(message: bytes) -> tuple[str, int]:
    """Return the name that is asked for, and where its type stands."""
    place, labels = 12, []
    while length := message[place]:
        labels.append(message[place + 1 : place + 1 + length].decode("ascii"))
        place += 1 + length
    return ".".join(labels), place + 1


class _Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        question, way = self.request
        way.sendto(answer(question, _zone()), self.client_address)


class _Streams(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while size := self.rfile.read(2):
            said = answer(self.rfile.read(struct.unpack("!H", size)[0]), _zone())
            self.wfile.write(struct.pack("!H", len(said)) + said)


def _zone() -> str:
    return Path(sys.argv[1]).read_text(encoding="ascii")


def main() -> None:
    place = (sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", 53)
    six = ":" in place[0]

    class Streams(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if six else socket.AF_INET
        allow_reuse_address = True
        daemon_threads = True

    class Datagrams(socketserver.UDPServer):
        address_family = socket.AF_INET6 if six else socket.AF_INET

    datagrams = Datagrams(place, _Datagrams)  # first, so that who gets a stream gets everything
    threading.Thread(target=Streams(place, _Streams).serve_forever, daemon=True).start()
    datagrams.serve_forever()


if __name__ == "__main__":
    main()
