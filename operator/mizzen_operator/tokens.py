"""Bearer tokens in a folder: what a service-account token is on a cluster.

The file ``<namespace>.<account>`` holds the token of all proxies of that account. Whoever can read the
file is that workload, so the folder is its owner's alone, and each proxy is given its own token only.
The tokens of accounts that the mesh knows are made when they are first seen.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from mizzen.identity import SpiffeId
from mizzen_operator.state import account_file, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen.identity import TrustDomain

_TOKEN_BYTES: Final = 32
# A token shorter than this can be guessed; a file being written may be empty for a moment.
_SHORTEST: Final = 16


class TokenFolder:
    """Says whose a token is."""

    def __init__(self, folder: Path, trust_domain: TrustDomain) -> None:
        self._folder = folder
        self._trust_domain = trust_domain
        self._known: dict[str, SpiffeId] = {}

    def identity(self, token: str) -> SpiffeId | None:
        """Return whose token it is, ``None`` when it is nobody's; a withdrawn file counts at once."""
        known = self._known.get(token)
        if known is not None and self._is_current(known, token):
            return known
        self._known = self._read()
        return next(
            (of for mine, of in self._known.items() if hmac.compare_digest(mine, token)), None
        )

    def ensure(self, namespace: str, account: str) -> None:
        """Make the token of an account that has none."""
        path = self._folder / account_file(namespace, account)
        if not path.exists():
            write_private(path, secrets.token_urlsafe(_TOKEN_BYTES).encode())

    def _is_current(self, identity: SpiffeId, token: str) -> bool:
        name = account_file(identity.namespace, identity.service_account)
        return self._token(self._folder / name) == token

    def _read(self) -> dict[str, SpiffeId]:
        known: dict[str, SpiffeId] = {}
        for path in sorted(self._folder.iterdir()):
            namespace, dot, account = path.name.partition(".")
            token = self._token(path)
            if namespace and dot and account and len(token) >= _SHORTEST:
                known[token] = SpiffeId(
                    trust_domain=self._trust_domain, namespace=namespace, service_account=account
                )
        return known

    def _token(self, path: Path) -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
