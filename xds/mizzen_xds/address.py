"""Where a server may listen: an address taken apart, and plaintext kept to this machine."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from mizzen_xds.errors import ListenError

_LAST_PORT: Final = 65_535


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``; ``ListenError`` when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ListenError(f"{address!r} is not <host>:<port>")
    return host.strip("[]"), int(port)


def refuse_public(address: str) -> None:
    """Refuse an address that more than this machine can reach; ``ListenError`` says why."""
    host, _ = split_address(address)
    if not _is_loopback(host):
        raise ListenError(
            f"plaintext xDS gives private keys to whoever asks, so it listens on loopback only,"
            f" not on {address}: use 127.0.0.1:<port>, or the TLS port"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
