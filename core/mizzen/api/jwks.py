"""Key sets for tokens, as they are written in place (RFC 7517, RFC 7518)."""

from __future__ import annotations

import json
import re
from typing import Final

_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
# What each type of key cannot do without.
_NEEDED: Final = {
    "RSA": ("n", "e"),
    "EC": ("crv", "x", "y"),
    "oct": ("k",),
    "OKP": ("crv", "x"),
}
_CURVES: Final = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519",)}


def key_set_error(text: str) -> str:
    """Return why a text is no key set, empty where nothing is found wrong. Keys stand in no message."""
    try:
        found = json.loads(text)
    except ValueError:
        return "is not JSON"
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or not keys:
        return 'has no keys; a key set is {"keys": [...]}'
    for number, key in enumerate(keys):
        if error := _key_error(key):
            return f"key {number} {error}"
    return ""


def _key_error(key: object) -> str:
    if not isinstance(key, dict):
        return "is not a mapping"
    kind = key.get("kty")
    if not isinstance(kind, str) or kind not in _NEEDED:
        return f"has no kty out of {', '.join(_NEEDED)}"
    curves = _CURVES.get(kind)
    if curves is not None and key.get("crv") not in curves:
        return f"has no crv out of {', '.join(curves)}"
    for name in _NEEDED[kind]:
        value = key.get(name)
        if not isinstance(value, str) or (name != "crv" and not _BASE64URL.fullmatch(value)):
            return f"of type {kind} has no {name} in base64url"
    return ""
