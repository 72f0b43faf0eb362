"""What an issuer of tokens says of itself: one request, as far as an untrusted answer may take us.

OpenID Connect Discovery 1.0, section 4; RFC 8414, section 3. Whoever may write a RequestAuthentication chooses
whom the control plane calls. So: no redirects, no addresses of the link (which is where clouds keep their
metadata), no more than 64 KiB, no more than five seconds, and nothing of a wrong answer is repeated.
"""

from __future__ import annotations

import json
import socket
import ssl
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from mizzen.api.request_authentication import is_uri

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_PATIENCE_SECONDS: Final = 5.0
_MOST_BYTES: Final = 65_536
_OK: Final = 200
# Where clouds keep the metadata of machines, besides the link's addresses.
_METADATA: Final = ("fd00:ec2::254", "100.100.100.200")


class DiscoveryError(Exception):
    """An issuer's word could not be had; the message says why."""


def keys_of(issuer: str, *, loopback: bool = False) -> str:
    """Return where an issuer says that its keys are; :class:`DiscoveryError` where it does not.

    ``loopback`` lets it be on this machine. Takes up to some seconds.
    """
    place = issuer.rstrip("/") + _WELL_KNOWN
    if not is_uri(place) or not place.isascii():
        raise DiscoveryError(f"{issuer!r} is no http or https URL")
    try:
        status, body = _get(place, loopback=loopback)
    except (OSError, HTTPException) as error:
        raise DiscoveryError(f"{place} cannot be had: {_words(error)}") from error
    if status != _OK:
        raise DiscoveryError(f"{place} answers {status}")
    return _place_in(body, issuer, place)


def _words(error: OSError | HTTPException) -> str:
    return str(getattr(error, "strerror", None) or "") or str(error) or type(error).__name__


def _get(place: str, *, loopback: bool) -> tuple[int, bytes]:
    """Return status and the first bytes of an answer."""
    parts = urlsplit(place)
    over_tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if over_tls else 80)
    connection = HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)
    # Connected to the address that was looked at, so that a name cannot mean another one a moment later.
    connection.sock = _connect(_address(host, port, loopback=loopback), port)
    try:
        if over_tls:
            trusted = ssl.create_default_context()
            connection.sock = trusted.wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET", parts.path, headers={"Host": parts.netloc.rpartition("@")[2]})
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES + 1)
    finally:
        connection.close()


def _connect(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), timeout=_PATIENCE_SECONDS)


def _address(host: str, port: int, *, loopback: bool) -> str:
    """Return the address of a host; ``OSError`` where it has none that may be called."""
    found = [str(one[4][0]) for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    allowed = [address for address in found if may_be_called(address, loopback=loopback)]
    if not allowed:
        raise OSError("its address is one that is not called")
    return allowed[0]


def may_be_called(address: str, *, loopback: bool) -> bool:
    """Tell whether an address may be called: not the link's, nobody's, everybody's, nor our own."""
    read = ip_address(address.partition("%")[0])
    mapped = getattr(read, "ipv4_mapped", None) or read
    if mapped.is_loopback:
        return loopback
    return not (
        mapped.is_link_local
        or mapped.is_multicast
        or mapped.is_unspecified
        or str(mapped) in _METADATA
    )


def _place_in(body: bytes, issuer: str, place: str) -> str:
    """Return the ``jwks_uri`` of a document that is the issuer's own."""
    if len(body) > _MOST_BYTES:
        raise DiscoveryError(f"{place} is longer than {_MOST_BYTES} bytes")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DiscoveryError(f"{place} is not JSON") from error
    if not isinstance(found, dict) or found.get("issuer") != issuer:
        raise DiscoveryError(f"{place} is not of the issuer {issuer!r}")
    keys = found.get("jwks_uri")
    if not isinstance(keys, str) or not is_uri(keys):
        raise DiscoveryError(f"{place} has no jwks_uri")
    return keys
