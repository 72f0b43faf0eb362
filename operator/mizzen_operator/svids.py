"""Certificates in use, kept over a restart: a proxy that reconnects is not sent a new one.

They stand as PEM, key and chain, beside the authority's own keys, which are worth more. What the
authority would not issue today (another issuer, too old, tampered with) is not taken up again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mizzen.identity import SpiffeId
from mizzen_certs import PrivateKeyPem
from mizzen_operator.state import account_file, write_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mizzen_certs import Issuing, Svid

_SUFFIX: Final = ".pem"
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"


class KeptSvids(Protocol):
    """Keeps certificates in use over a restart, or does not."""

    def keep(self, svid: Svid) -> None:
        """Replace what is kept of an identity."""
        ...

    def recall(self, authority: Issuing) -> Iterator[Svid]:
        """Return the kept certificates that may go on."""
        ...


class NoSvids:
    """Keeps none: on a cluster a key never leaves the process that made it but for its proxy."""

    def keep(self, svid: Svid) -> None:
        """Forget it."""

    def recall(self, authority: Issuing) -> Iterator[Svid]:
        """Return nothing."""
        return iter(())


class SvidFolder:
    """One file for each identity."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, svid: Svid) -> None:
        """Replace what is kept of an identity."""
        of = svid.identity
        path = self._folder / account_file(of.namespace, of.service_account, _SUFFIX)
        write_private(path, svid.key.reveal() + svid.chain_pem)

    def recall(self, authority: Issuing) -> Iterator[Svid]:
        """Return the kept certificates that may go on; the files of others are removed."""
        for path in sorted(self._folder.glob(f"[!.]*{_SUFFIX}")):
            svid = _recalled(path, authority)
            if svid is None:
                path.unlink(missing_ok=True)
            else:
                yield svid


def _recalled(path: Path, authority: Issuing) -> Svid | None:
    namespace, _, account = path.name.removesuffix(_SUFFIX).partition(".")
    key, begin, chain = path.read_bytes().partition(_CERTIFICATE)
    identity = SpiffeId(
        trust_domain=authority.trust_domain, namespace=namespace, service_account=account
    )
    return authority.recall(identity, begin + chain, PrivateKeyPem(key))
