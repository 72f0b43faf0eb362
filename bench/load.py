"""The load generator: a process that keeps the streams of many Envoys and tells when things arrive.

It is driven by JSON lines: a command on standard input, one answer on standard output. All times are
nanoseconds of the system-wide monotonic clock, so that they can be compared with those of the process
that edits files. Commands: ``connect``, ``arm``, ``wait``, ``settle``, ``reconnect``, ``names``.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns, process_time
from typing import Any, Final

from bench.h2 import GrpcStream, StreamEndedError
from bench.node import NodeFacts, encode_node
from bench.proxy import Proxy
from bench.responses import Kind, Parser, Response
from bench.secure import Tls, client_context

_PATH: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Awaited:
    """A resource that must come (or go), found by a part of its name."""

    kind: Kind
    contains: str
    removed: bool = False

    def is_in(self, response: Response) -> bool:
        """Tell whether a response brings it."""
        if response.kind is not self.kind:
            return False
        if self.removed:
            return any(self.contains in name for name in response.removed)
        return any(self.contains in name for name in response.names())


class Connection:
    """A socket with the stream that runs over it, in TLS where there is a session of it."""

    __slots__ = ("_encrypted", "_tls", "socket", "stream")

    def __init__(self, address: tuple[str, int], stream: GrpcStream, tls: Tls | None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)
        self.stream = stream
        self._tls = tls
        self._encrypted = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete."""
        return self.stream.receive(data if self._tls is None else self._tls.decrypt(data))

    def outgoing(self) -> bytearray:
        """Return what is to be written to the socket; the caller deletes what it has written."""
        if self._tls is None:
            return self.stream.outgoing
        self._encrypted += self._tls.encrypt(self.stream.outgoing)
        return self._encrypted


@dataclass(slots=True, eq=False)
class Client:
    """One Envoy: what it has, its connection, and when what it waits for was there."""

    proxy: Proxy
    token: str = ""
    connection: Connection | None = None
    awaited: set[Awaited] = field(default_factory=set)
    arrived_ns: int = 0
    acked_ns: int = 0
    messages: int = 0
    message_bytes: int = 0

    def start_counting(self, awaited: set[Awaited]) -> None:
        """Forget what was counted, and wait for these resources."""
        self.awaited = set(awaited)
        self.arrived_ns = self.acked_ns = self.messages = self.message_bytes = 0


class Fleet:
    """All clients, and the loop that serves them."""

    def __init__(self, address: tuple[str, int], roots: Path | None, server_name: str) -> None:
        self.address = address
        self.tls = client_context(roots) if roots else None
        self.server_name = server_name
        self.clients: list[Client] = []
        self.selector = selectors.DefaultSelector()
        self.parser = Parser()
        self.matches: dict[tuple[Awaited, Response], bool] = {}
        self.expected: dict[str, int] = {}
        self.outstanding: set[Client] = set()
        self.connecting = False
        self.bytes = 0
        self.last_byte_ns = 0
        self.ended = 0

    def connect(
        self, nodes: list[dict[str, Any]], tokens: list[str], expected: dict[str, int]
    ) -> dict[str, Any]:
        """Open a stream for each node; the answer comes from :meth:`wait`."""
        self.expected = expected
        who = zip(nodes, tokens or [""] * len(nodes), strict=True)
        new = [Client(Proxy(encode_node(NodeFacts(**node))), token) for node, token in who]
        self.clients += new
        return self._open(new)

    def reconnect(self) -> dict[str, Any]:
        """Close every stream and open it again with the versions of what was received."""
        for client in self.clients:
            self._forget(client)
        return self._open(self.clients)

    def arm(self, awaited: list[dict[str, Any]]) -> dict[str, Any]:
        """Expect these resources on every client from now on."""
        conditions = {
            Awaited(Kind[each["kind"]], each["contains"], each.get("removed", False))
            for each in awaited
        }
        self.connecting, self.bytes = False, 0
        for client in self.clients:
            client.start_counting(conditions)
        self.outstanding = set(self.clients)
        return {}

    def wait(self, timeout_s: float) -> dict[str, Any]:
        """Serve until every client has what it waits for; tell when each had it."""
        deadline = monotonic_ns() + int(timeout_s * 1e9)
        cpu = process_time()
        while self.outstanding and monotonic_ns() < deadline:
            self.turn(0.1)
        return {
            "arrived_ns": [client.arrived_ns for client in self.clients],
            "acked_ns": [client.acked_ns for client in self.clients],
            "cpu_s": process_time() - cpu,
            "missing": len(self.outstanding),
            "why": self._why(),
            **self._counts(),
        }

    def settle(self, quiet_s: float, timeout_s: float) -> dict[str, Any]:
        """Serve until nothing has come for a while."""
        start = self.last_byte_ns = monotonic_ns()
        while monotonic_ns() - self.last_byte_ns < quiet_s * 1e9:
            self.turn(quiet_s / 4)
            if monotonic_ns() - start > timeout_s * 1e9:
                break
        return {"settled_ns": self.last_byte_ns, **self._counts()}

    def names(self, kind: str, contains: str) -> dict[str, Any]:
        """Return the names that the first client holds of a type."""
        held = self.clients[0].proxy.holdings.get(Kind[kind])
        return {"names": held.matching(contains) if held else []}

    def turn(self, timeout_s: float) -> None:
        """Serve what is ready."""
        for key, events in self.selector.select(timeout_s):
            client: Client | None = key.data
            if client is None or client.connection is None:
                continue  # a command: its reader is called between turns
            try:
                if events & selectors.EVENT_READ:
                    self._read(client, client.connection)
                if events & selectors.EVENT_WRITE:
                    self._write(client, client.connection)
            except (OSError, StreamEndedError) as error:
                print(f"stream ended: {error}", file=sys.stderr)
                self.ended += 1
                self._forget(client)

    def _open(self, clients: list[Client]) -> dict[str, Any]:
        self.connecting, self.bytes = True, 0
        self.outstanding = set(clients)
        started = monotonic_ns()
        for client in clients:
            client.start_counting(set())
            client.connection = self._connection(client)
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            self.selector.register(client.connection.socket, both, client)
        return {"started_ns": started}

    def _connection(self, client: Client) -> Connection:
        authority = self.server_name or f"{self.address[0]}:{self.address[1]}"
        stream = GrpcStream(_PATH, authority, client.token)
        for request in client.proxy.opening():
            stream.send(request)
        tls = Tls(self.tls, self.server_name) if self.tls else None
        return Connection(self.address, stream, tls)

    def _read(self, client: Client, connection: Connection) -> None:
        data = connection.socket.recv(_READ_BYTES)
        if not data:
            raise StreamEndedError("the server closed the connection")
        self.bytes += len(data)
        self.last_byte_ns = arrived = monotonic_ns()
        for message in connection.receive(data):
            client.messages += 1
            client.message_bytes += len(message)
            response, nonce = self.parser.parse(message)
            for request in client.proxy.received(response, nonce):
                connection.stream.send(request)
            if not client.arrived_ns and self._has_all(client, response):
                client.arrived_ns = arrived
        if connection.outgoing():
            self._write(client, connection)
        if client.arrived_ns and not client.acked_ns:
            client.acked_ns = monotonic_ns()
            self.outstanding.discard(client)

    def _write(self, client: Client, connection: Connection) -> None:
        outgoing = connection.outgoing()
        if outgoing:
            del outgoing[: connection.socket.send(outgoing)]
        read = selectors.EVENT_READ
        wanted = read | selectors.EVENT_WRITE if outgoing else read
        if self.selector.get_key(connection.socket).events != wanted:
            self.selector.modify(connection.socket, wanted, client)

    def _has_all(self, client: Client, response: Response) -> bool:
        if self.connecting:
            return client.proxy.is_complete(**self.expected)
        for each in tuple(client.awaited):
            if (found := self.matches.get((each, response))) is None:
                found = self.matches[each, response] = each.is_in(response)
            if found:
                client.awaited.discard(each)
        return not client.awaited

    def _forget(self, client: Client) -> None:
        if client.connection is not None:
            self.selector.unregister(client.connection.socket)
            client.connection.socket.close()
            client.connection = None

    def _counts(self) -> dict[str, Any]:
        return {
            "bytes": self.bytes,
            "message_bytes": sum(client.message_bytes for client in self.clients),
            "messages": sum(client.messages for client in self.clients),
            "ended": self.ended,
        }

    def _why(self) -> str:
        """Tell what the first client that waits still lacks."""
        for client in self.outstanding:
            held = [
                f"{kind.name}: {len(each)} held, {each.missing} missing, answered {each.answered}"
                for kind, each in client.proxy.holdings.items()
            ]
            awaited = [f"{each.kind.name} {each.contains}" for each in client.awaited]
            return "; ".join((*held, *awaited))
        return ""


def _serve(fleet: Fleet) -> None:
    """Do what standard input says, and serve the streams while it is silent."""
    source = sys.stdin.fileno()
    os.set_blocking(source, False)
    fleet.selector.register(source, selectors.EVENT_READ)
    buffered = b""
    while True:
        line, newline, rest = buffered.partition(b"\n")
        if newline:
            buffered = rest
            command = json.loads(line)
            answer = getattr(fleet, command.pop("do"))(**command)
            print(json.dumps(answer), flush=True)
            continue
        fleet.turn(1.0)
        try:
            read = os.read(source, 1 << 16)
        except BlockingIOError:
            continue
        if not read:
            return
        buffered += read


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(description="Keep the streams of many Envoys.")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--roots", type=Path, help="speak TLS, and believe these roots")
    parser.add_argument("--server-name", default="", help="whose certificate it has to be")
    options = parser.parse_args()
    _serve(Fleet((options.host, options.port), options.roots, options.server_name))


if __name__ == "__main__":
    main()
