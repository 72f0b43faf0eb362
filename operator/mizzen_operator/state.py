"""The folder that a control plane without a cluster keeps beside it: keys, tokens and what it says.

::

    STATE/
      ca/                       the authority's keys
      svids/<ns>.<account>.pem  certificates in use, so that a restart does not renew them all
      tokens/<ns>.<account>     by which a proxy shows whose it is
      root.pem                  what proxies believe
      status.yaml               what is live where

Everything that is secret is its owner's alone; every file is replaced whole.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600
_PUBLIC_FILE: Final = 0o644


class StateError(Exception):
    """The state folder cannot be used as it is; the message says what to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Names what is in a state folder."""

    root: Path

    @property
    def authority(self) -> Path:
        """The folder of the authority's keys."""
        return self.root / "ca"

    @property
    def svids(self) -> Path:
        """The folder of certificates in use."""
        return self.root / "svids"

    @property
    def tokens(self) -> Path:
        """The folder of bearer tokens."""
        return self.root / "tokens"

    @property
    def roots(self) -> Path:
        """The roots in PEM."""
        return self.root / "root.pem"

    @property
    def status(self) -> Path:
        """What is live where, in YAML."""
        return self.root / "status.yaml"

    def prepare(self) -> None:
        """Make the folders, for the owner alone; :class:`StateError` where that is not possible."""
        try:
            self.root.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            for folder in (self.svids, self.tokens):
                folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
                _require_private(folder)
            # The state may stand inside a repository of manifests: its keys must not be committed.
            write(self.root / ".gitignore", b"*\n")
        except OSError as error:
            raise StateError(f"{error.filename}: {error.strerror}; use --state") from error


def write(path: Path, content: bytes) -> None:
    """Replace a file that everybody may read, or leave the old one whole."""
    _replace(path, content, _PUBLIC_FILE)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only its owner may read, or leave the old one whole."""
    _replace(path, content, _PRIVATE_FILE)


def account_file(namespace: str, account: str, suffix: str = "") -> str:
    """Return the name of a workload's file; no namespace has a dot, so it reads back."""
    return f"{namespace}.{account}{suffix}"


def _require_private(folder: Path) -> None:
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        raise StateError(
            f"{folder} is open to others than its owner (mode {mode:04o}): run chmod 700 {folder}"
        )


def _replace(path: Path, content: bytes, mode: int) -> None:
    # mkstemp makes the file 0600 whatever the umask says; its name is hidden from folder sources.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
