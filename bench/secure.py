"""TLS for one stream of the load generator: bytes in, bytes out, no socket."""

from __future__ import annotations

import ssl
from pathlib import Path

_READ_BYTES = 1 << 20


def client_context(roots: Path) -> ssl.SSLContext:
    """Return how every proxy believes the control plane: by the mesh's roots, for HTTP/2."""
    context = ssl.create_default_context(cafile=str(roots))
    context.set_alpn_protocols(["h2"])
    return context


class Tls:
    """The client's half of a TLS connection."""

    __slots__ = ("_from_peer", "_is_open", "_session", "_to_peer")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._from_peer, self._to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(
            self._from_peer, self._to_peer, server_hostname=server_name
        )
        self._is_open = False
        self._shake_hands()

    def decrypt(self, data: bytes) -> bytes:
        """Return what these bytes say; nothing while the handshake goes on."""
        self._from_peer.write(data)
        if not self._is_open:
            self._shake_hands()
        parts: list[bytes] = []
        while self._is_open:
            try:
                parts.append(self._session.read(_READ_BYTES))
            except ssl.SSLWantReadError:
                break
            if not parts[-1]:
                break  # the peer has closed; the socket's end follows
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def encrypt(self, plain: bytearray) -> bytes:
        """Return what is to be sent, taking from ``plain`` what it says once the handshake is over."""
        if self._is_open and plain:
            self._session.write(bytes(plain))
            plain.clear()
        return self._to_peer.read()

    def _shake_hands(self) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._is_open = True
