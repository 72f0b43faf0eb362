"""TLS of the secure port: the server's own certificate, renewed while it runs, and clients' SVIDs.

A client certificate is optional, because a proxy may show a token instead; one that is shown must be
signed by the mesh's roots. Settings that a newer certificate needs make a new context, which the
handshakes after that use.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerIdentity:
    """What the TLS port is served with, in PEM: the leaf's key, the chain from the leaf, the roots."""

    key_pem: bytes
    chain_pem: bytes
    roots_pem: bytes

    def __repr__(self) -> str:
        return "ServerIdentity(<private>)"


class Contexts:
    """The context of the identity that the server has now; ``protocols`` are what it speaks (ALPN)."""

    def __init__(
        self, identity: Callable[[], ServerIdentity], *, protocols: tuple[str, ...] = ("h2",)
    ) -> None:
        self._identity = identity
        self._protocols = protocols
        self._used: ServerIdentity | None = None
        self._context: ssl.SSLContext | None = None

    def current(self) -> ssl.SSLContext:
        """Return the context to use for a handshake that begins now."""
        identity = self._identity()
        if self._context is None or identity != self._used:
            self._used, self._context = identity, self._made(identity)
        return self._context

    def _made(self, identity: ServerIdentity) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(self._protocols)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=identity.roots_pem.decode("ascii"))
        with in_memory(identity.chain_pem + identity.key_pem) as path:
            context.load_cert_chain(path)
        context.sni_callback = self._switch
        return context

    def _switch(self, connection: ssl.SSLObject, _name: str | None, _of: ssl.SSLContext) -> None:
        """OpenSSL asks at each handshake, with or without a server name."""
        connection.context = self.current()


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """Give content a path, which is all that OpenSSL takes, without writing it to a disk."""
    handle = os.memfd_create("identity")
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def spiffe_uris(certificate: object) -> tuple[str, ...]:
    """Return the URI SANs of a verified client certificate in the form that :mod:`ssl` gives it."""
    if not isinstance(certificate, dict):
        return ()
    names = certificate.get("subjectAltName", ())
    return tuple(value for kind, value in names if kind == "URI")
