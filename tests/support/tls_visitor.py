"""A visitor of a live mesh who comes with TLS: what is verified, what is shown, and what came back."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

from tests.support.live_client import Reply
from tests.support.live_mesh import HUB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.certificates import Issued
    from tests.support.live_mesh import LiveMesh

_READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """What a connection came to: ``failure`` says why it came to nothing."""

    version: str = ""
    cipher: str = ""
    protocol: str = ""
    certificate_hash: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Comes to an address of a live mesh from outside of it, or from one of its pods.

    Attributes:
        roots: What the server's certificate has to be of, in PEM.
        shows: The client's own certificate; a text has key and chain in PEM.
        from_pod: Whose network it comes from.
    """

    mesh: LiveMesh
    address: str
    port: int
    roots: str
    shows: Issued | str | None = None
    from_pod: str = HUB
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] = (
        ssl.TLSVersion.MINIMUM_SUPPORTED,
        ssl.TLSVersion.MAXIMUM_SUPPORTED,
    )
    ciphers: str = ""
    protocols: tuple[str, ...] = field(default=("http/1.1",))

    def call(
        self, host: str, path: str = "/", *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Make a request for a host, named in the handshake as well."""
        try:
            with self.connected(host) as made:
                return request(made, host, path, headers=headers)
        except (OSError, HTTPException) as failed:
            return Reply(status=0, failure=f"{type(failed).__name__} {failed}".strip())

    def shake_hands(self, host: str) -> Handshake:
        """Connect, and say what was agreed on."""
        try:
            with self.connected(host) as made:
                # With TLS 1.3 a server refuses a client only after the client is through.
                made.settimeout(0.3)
                try:
                    if made.recv(1) == b"":
                        return Handshake(failure="closed")
                except TimeoutError:
                    pass
                return _agreed(made)
        except OSError as failed:
            return Handshake(failure=f"{type(failed).__name__} {failed}".strip())

    def say(self, host: str, data: bytes) -> bytes:
        """Return what comes back for some bytes; nothing where the connection is refused or cut."""
        try:
            with self.connected(host) as made:
                made.sendall(data)
                return made.recv(_READ_BYTES)
        except OSError:
            return b""

    @contextmanager
    def connected(self, host: str) -> Iterator[ssl.SSLSocket]:
        """Have a connection for as long as the block lasts."""
        plain = self.mesh.connect(self.from_pod, (self.address, self.port))
        with plain, self._context().wrap_socket(plain, server_hostname=host) as made:
            yield made

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version, context.maximum_version = self.versions
        context.load_verify_locations(cadata=self.roots)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        if self.protocols:
            context.set_alpn_protocols(list(self.protocols))
        if self.shows is not None:
            own = self.shows if isinstance(self.shows, str) else self.shows.key + self.shows.chain
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
                file.write(own)
                file.flush()
                os.fsync(file.fileno())
                context.load_cert_chain(file.name)
        return context


def request(
    made: socket.socket, host: str, path: str = "/", *, headers: Mapping[str, str] | None = None
) -> Reply:
    """Make a request on a connection; it may be used for others."""
    connection = HTTPConnection(host)
    connection.sock = made
    connection.auto_open = 0
    connection.request("GET", path, headers={"Host": host, **(headers or {})})
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(status=answer.status, headers=found, body=answer.read())


def _agreed(made: ssl.SSLSocket) -> Handshake:
    cipher, certificate = made.cipher(), made.getpeercert(binary_form=True)
    return Handshake(
        version=made.version() or "",
        cipher=cipher[0] if cipher else "",
        protocol=made.selected_alpn_protocol() or "",
        certificate_hash=hashlib.sha256(certificate or b"").hexdigest(),
    )
