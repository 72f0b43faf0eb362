"""Where an authority's document rests: a seam, a folder that only its owner can enter, and memory.

A store holds one document. Writing says what it replaces, so that of two replicas that rotate at
the same moment one is told to look again; neither overwrites the other's root.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mizzen_certs.errors import StoreConflict, StoreError, StoreUnsafe
from mizzen_certs.secret import SecretBytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCUMENT: Final = "authority.json"
_LOCK: Final = "lock"
_TEMPORARY: Final = ".tmp"
_OTHERS: Final = 0o077
_PRIVATE_FOLDER: Final = 0o700
_PRIVATE_FILE: Final = 0o600


class KeyStore(Protocol):
    """Keeps one secret document; raises :class:`StoreError` when it cannot."""

    def load(self) -> SecretBytes | None:
        """Return the document, or None where none was ever saved."""
        ...

    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        """Replace the document whole; :class:`StoreConflict` when another one is there by now."""
        ...


class MemoryStore:
    """Keeps the document for as long as the process lives."""

    def __init__(self) -> None:
        """Start empty."""
        self._document: SecretBytes | None = None

    def load(self) -> SecretBytes | None:
        """Return the document, or None where none was ever saved."""
        return self._document

    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        """Replace the document; :class:`StoreConflict` when another one is there by now."""
        _require_same(self._document, replacing)
        self._document = document


class FileStore:
    """Keeps the document in a folder of its owner's (0700, the file 0600), replaced atomically.

    The folder is made at the first save. One that others may enter, a file that others may read,
    a link, or another user's file is refused rather than mended: whoever could read a key may have
    done so, and a person has to decide.
    """

    def __init__(self, folder: Path, *, owner: int | None = None) -> None:
        """Use ``folder``; ``owner`` is the user id that must own it, the process's by default."""
        self._folder = folder
        self._file = folder / _DOCUMENT
        self._owner = os.geteuid() if owner is None else owner

    def load(self) -> SecretBytes | None:
        """Return the document, or None where none was ever saved."""
        with _io_errors(self._file):
            if not self._folder_is_safe():
                return None
            return self._read()

    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        """Replace the document; after a crash there is the old one or the new one, whole."""
        with _io_errors(self._file):
            self._make_folder()
            with self._locked():
                _require_same(self._read(), replacing)
                self._sweep()
                self._replace(document)

    def _make_folder(self) -> None:
        if self._folder_is_safe():
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
        _sync_folder(self._folder.parent)
        self._folder_is_safe()

    def _folder_is_safe(self) -> bool:
        """Return False where there is no folder; raise where it is not its owner's alone."""
        try:
            found = self._folder.stat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(found.st_mode):
            raise StoreUnsafe(f"{self._folder} is not a folder")
        self._require_private(self._folder, found, _PRIVATE_FOLDER)
        return True

    def _require_private(self, path: Path, found: os.stat_result, mode: int) -> None:
        if found.st_uid != self._owner:
            raise StoreUnsafe(
                f"{path} belongs to user id {found.st_uid}, not to {self._owner}: run as its owner "
                "or use another folder"
            )
        if found.st_mode & _OTHERS:
            raise StoreUnsafe(
                f"{path} is open to others than its owner (mode {stat.S_IMODE(found.st_mode):04o}): "
                f"if nobody can have read its keys, run chmod {mode:o} {path}; if somebody may "
                "have, start with an empty folder"
            )

    def _read(self) -> SecretBytes | None:
        if self._file.is_symlink():
            raise StoreUnsafe(f"{self._file} is a link, which could lead out of its folder")
        try:
            handle = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StoreUnsafe(f"{self._file} is not a regular file")
            self._require_private(self._file, found, _PRIVATE_FILE)
            return SecretBytes(file.read())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Held for one read and one write; the kernel lets go when a process dies.
        handle = os.open(
            self._folder / _LOCK,
            os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            _PRIVATE_FILE,
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        # A crash between writing and renaming leaves a file that holds keys and that nobody reads.
        for leftover in self._folder.glob(f"{_DOCUMENT}.*{_TEMPORARY}"):
            leftover.unlink(missing_ok=True)

    def _replace(self, document: SecretBytes) -> None:
        # mkstemp makes the file 0600 whatever the umask says.
        handle, name = tempfile.mkstemp(_TEMPORARY, f"{_DOCUMENT}.", self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(document.reveal())
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._file)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(self._folder)


def _require_same(stored: SecretBytes | None, replacing: SecretBytes | None) -> None:
    if stored != replacing:
        raise StoreConflict("the stored keys were changed by another process")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _io_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"the store of keys at {path} failed: {error.strerror}") from error
