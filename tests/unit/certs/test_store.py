"""Keys rest where only their owner can read them, whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from mizzen_certs import (
    FileStore,
    MemoryStore,
    SecretBytes,
    StoreConflict,
    StoreError,
    StoreUnsafe,
)

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen_certs import KeyStore

ONE, TWO = SecretBytes(b"one"), SecretBytes(b"two")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that is not there yet, below another that is not."""
    return tmp_path / "state" / "ca"


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, folder: Path) -> KeyStore:
    """Each kind of store, empty."""
    return FileStore(folder) if request.param == "file" else MemoryStore()


def test_an_unused_store_is_empty(store: KeyStore) -> None:
    assert store.load() is None


def test_what_is_saved_is_loaded(store: KeyStore) -> None:
    store.save(ONE, replacing=None)
    store.save(TWO, replacing=ONE)
    assert store.load() == TWO


@pytest.mark.parametrize("expected", [None, TWO])
def test_nothing_is_overwritten_unseen(store: KeyStore, expected: SecretBytes | None) -> None:
    store.save(ONE, replacing=None)
    with pytest.raises(StoreConflict):
        store.save(TWO, replacing=expected)
    assert store.load() == ONE


def test_a_document_survives_the_process(folder: Path) -> None:
    FileStore(folder).save(ONE, replacing=None)
    assert FileStore(folder).load() == ONE


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folder_and_files_are_their_owners_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        FileStore(folder).save(ONE, replacing=None)
    finally:
        os.umask(before)
    assert _mode(folder) == 0o700
    assert {path.name: _mode(path) for path in folder.iterdir()} == {
        "authority.json": 0o600,
        "lock": 0o600,
    }


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_file_that_others_can_use_is_refused_with_what_to_do(folder: Path, mode: int) -> None:
    store = FileStore(folder)
    store.save(ONE, replacing=None)
    (folder / "authority.json").chmod(mode)
    with pytest.raises(StoreUnsafe, match=rf"mode {mode:04o}.*chmod 600 .*authority\.json"):
        store.load()
    with pytest.raises(StoreUnsafe):
        store.save(TWO, replacing=ONE)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o777])
def test_a_folder_that_others_can_enter_is_refused_with_what_to_do(folder: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with pytest.raises(StoreUnsafe, match=rf"mode {mode:04o}.*chmod 700 "):
        FileStore(folder).load()
    with pytest.raises(StoreUnsafe):
        FileStore(folder).save(ONE, replacing=None)
    assert list(folder.iterdir()) == []


def test_another_users_folder_is_refused(folder: Path) -> None:
    FileStore(folder).save(ONE, replacing=None)
    somebody = os.geteuid() + 1
    with pytest.raises(StoreUnsafe, match=f"belongs to user id {os.geteuid()}, not to {somebody}"):
        FileStore(folder, owner=somebody).load()


def test_a_link_in_the_files_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    store = FileStore(folder)
    store.save(ONE, replacing=None)
    (folder / "authority.json").rename(tmp_path / "elsewhere")
    (folder / "authority.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnsafe, match="link"):
        store.load()


def test_a_pipe_in_the_files_place_is_refused_without_waiting(folder: Path) -> None:
    store = FileStore(folder)
    store.save(ONE, replacing=None)
    (folder / "authority.json").unlink()
    os.mkfifo(folder / "authority.json", 0o600)
    with pytest.raises(StoreUnsafe, match="not a regular file"):
        store.load()


def test_a_file_in_the_folders_place_is_refused(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(StoreUnsafe, match="is not a folder"):
        FileStore(folder).load()


def test_what_a_crash_left_half_written_is_ignored_and_swept_away(folder: Path) -> None:
    store = FileStore(folder)
    store.save(ONE, replacing=None)
    leftover = folder / "authority.json.x7.tmp"
    leftover.write_bytes(b"hal")
    assert store.load() == ONE
    store.save(TWO, replacing=ONE)
    assert not leftover.exists()


def test_a_failed_write_leaves_the_old_document_and_no_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: the one thing of the system that a test cannot bring about itself."""
    store = FileStore(folder)
    store.save(ONE, replacing=None)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            store.save(TWO, replacing=ONE)
    assert store.load() == ONE
    assert sorted(path.name for path in folder.iterdir()) == ["authority.json", "lock"]


def test_a_path_that_cannot_be_is_a_failure_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Not a directory"):
        FileStore(tmp_path / "file" / "ca").load()


def test_a_writer_waits_for_the_other(folder: Path) -> None:
    """Seen from outside: whoever holds the lock file keeps a second holder out."""
    store = FileStore(folder)
    store.save(ONE, replacing=None)
    with store._locked(), (folder / "lock").open() as second, pytest.raises(BlockingIOError):
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (folder / "lock").open() as second:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
