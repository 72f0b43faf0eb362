"""Tokens for tests: a key set, and signed claims (RFC 7515, RFC 7517), with the standard library alone."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Final

ISSUER: Final = "https://issuer.example"
_SECRET: Final = b"a secret of at least thirty-two bytes"
_LONG_AGO: Final = 1_600_000_000
_IN_A_HUNDRED_YEARS: Final = 4_800_000_000


def key_set(secret: bytes = _SECRET) -> str:
    """Return a key set, as JSON, with which tokens of :func:`token` are found valid."""
    key = {"kty": "oct", "alg": "HS256", "kid": "one", "k": _encoded(secret)}
    return json.dumps({"keys": [key]})


def token(
    *, issuer: str = ISSUER, secret: bytes = _SECRET, expired: bool = False, **claims: object
) -> str:
    """Return a signed token."""
    ends = _LONG_AGO if expired else _IN_A_HUNDRED_YEARS
    head = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    payload = {"iss": issuer, "sub": "ann", "exp": ends, **claims}
    signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, payload))
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{_encoded(mac)}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
