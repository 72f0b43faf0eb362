"""Bytes that must not reach a log: printing, formatting or a traceback shows only their length."""

from __future__ import annotations

import hmac
from typing import Final, final

from typing_extensions import override

_HIDDEN: Final = "hidden"


class SecretBytes:
    """Holds secret bytes, which only :meth:`reveal` shows; compares in constant time."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Keep ``value``."""
        self._value = value

    def reveal(self) -> bytes:
        """Return the secret; the caller answers for where it goes."""
        return self._value

    @override
    def __repr__(self) -> str:
        """Show the type and that the rest is hidden."""
        return f"<{type(self).__name__} {_HIDDEN}, {len(self._value)} bytes>"

    @override
    def __eq__(self, other: object) -> bool:
        """Tell whether both hold the same bytes."""
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    @override
    def __hash__(self) -> int:
        """Hash as the bytes do, so that equal secrets hash equally."""
        return hash(self._value)


@final
class PrivateKeyPem(SecretBytes):
    """A private key in PKCS #8 PEM, not encrypted, as Envoy's SDS takes it."""

    __slots__ = ()
