"""Tells what changed below a folder: at once on Linux, by looking twice a second elsewhere.

A watcher names the files, or the whole folders, to look at again; it may name too many and never names
too few. It is opened before the folder is first read, so that no change falls between the two.

Only the end of a write counts (``IN_CLOSE_WRITE``), not each of its steps, so a file that is being
filled is not read half-way. The binding is ``inotify_simple``: it sleeps in the kernel and hands over
a change within a tenth of a millisecond, where a library that debounces takes 50 ms.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mizzen_operator.sources.files import (
    folders_below,
    is_ignored,
    is_manifest,
    manifests_below,
)

if TYPE_CHECKING:
    from inotify_simple import Event, INotify

# How often a polling watcher looks, and how often a lost folder is looked for.
_POLL_SECONDS: Final = 0.5
# A mounted ConfigMap or Secret changes by renaming this link; its manifests are links through it.
_KUBERNETES_LINK: Final = "..data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What to look at again: single files, and folders with all that is and was below them."""

    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()

    def __bool__(self) -> bool:
        """Tell whether there is anything to look at."""
        return bool(self.files or self.folders)


class Watcher(Protocol):
    """Waits for changes below a folder. ``wake`` may be called from any thread."""

    def wait(self, seconds: float | None) -> Changes:
        """Return what changed; nothing when ``seconds`` passed or ``wake`` was called."""
        ...

    def wake(self) -> None:
        """Let the present or else the next ``wait`` return."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


def open_watcher(root: Path) -> Watcher:
    """Return the best watcher that this machine has."""
    return InotifyWatcher(root) if sys.platform == "linux" else PollingWatcher(root)


class _Bell:
    """A pipe that ends a poll: the one part of a watcher that other threads touch."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._poll = select.poll()
        self._poll.register(self.reader, select.POLLIN)

    def ring(self) -> None:
        os.write(self._writer, b"!")

    def wait(self, seconds: float | None, *others: int) -> None:
        """Return once it rang, or one of the other handles can be read, or the time is over."""
        for handle in others:
            self._poll.register(handle, select.POLLIN)
        ready = self._poll.poll(None if seconds is None else max(0.0, seconds) * 1_000)
        if any(handle == self.reader for handle, _ in ready):
            os.read(self.reader, 4_096)

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


class InotifyWatcher:
    """Watches with Linux's inotify, one watch for each folder."""

    def __init__(self, root: Path) -> None:
        # Not at the top: the module loads the C library in a way that other systems do not have.
        from inotify_simple import INotify, flags  # noqa: PLC0415

        self._root = root
        self._flags = flags
        self._mask: int = (
            flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM | flags.CREATE | flags.DELETE
        ) | (flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR)
        self._inotify: INotify = INotify()
        self._bell = _Bell()
        self._folders: dict[int, Path] = {}
        self._enter(root)

    def wait(self, seconds: float | None) -> Changes:
        """Return what changed; nothing when ``seconds`` passed or ``wake`` was called."""
        if self._root not in self._folders.values():
            return self._find_root(seconds)
        self._bell.wait(seconds, self._inotify.fileno())
        files: set[Path] = set()
        folders: set[Path] = set()
        for event in self._inotify.read(timeout=0):
            self._sort(event, files, folders)
        return Changes(files=frozenset(files), folders=frozenset(folders))

    def wake(self) -> None:
        """Let the present or else the next ``wait`` return."""
        self._bell.ring()

    def close(self) -> None:
        """Give everything back."""
        self._inotify.close()
        self._bell.close()

    def _find_root(self, seconds: float | None) -> Changes:
        """Look for the folder itself, which was moved or deleted; what was in it stays in force."""
        self._bell.wait(_POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS))
        self._enter(self._root)
        found = self._root in self._folders.values()
        return Changes(folders=frozenset({self._root} if found else ()))

    def _enter(self, folder: Path) -> None:
        """Watch a folder and all below it; one that vanishes meanwhile tells so by its parent."""
        for below in folders_below(folder):
            with suppress(FileNotFoundError, NotADirectoryError):
                self._folders[self._inotify.add_watch(below, self._mask)] = below

    def _leave(self, folder: Path) -> None:
        """Forget a folder that was moved away: its watches would go on under a wrong name."""
        for watch, watched in list(self._folders.items()):
            if watched == folder or folder in watched.parents:
                del self._folders[watch]
                with suppress(OSError):  # deleted, not moved: the kernel has dropped it already
                    self._inotify.rm_watch(watch)

    def _sort(self, event: Event, files: set[Path], folders: set[Path]) -> None:
        """Put one event where it belongs."""
        flags = self._flags
        if event.mask & flags.Q_OVERFLOW:
            self._enter(self._root)
            folders.add(self._root)
            return
        folder = self._folders.get(event.wd)
        if folder is None:
            return
        if event.mask & (flags.DELETE_SELF | flags.MOVE_SELF | flags.IGNORED):
            self._sort_self(event, folder)
            return
        path = folder / event.name
        if event.name == _KUBERNETES_LINK:
            folders.add(folder)
        elif event.mask & flags.ISDIR and not is_ignored(event.name):
            self._sort_folder(event, path)
            folders.add(path)
        elif is_manifest(event.name) and not self._is_being_written(event, path):
            files.add(path)

    def _sort_self(self, event: Event, folder: Path) -> None:
        if event.mask & self._flags.MOVE_SELF and folder != self._root:
            return  # its parent tells it too, and with both names
        self._leave(folder)

    def _sort_folder(self, event: Event, path: Path) -> None:
        self._leave(path)
        if event.mask & (self._flags.CREATE | self._flags.MOVED_TO):
            self._enter(path)

    def _is_being_written(self, event: Event, path: Path) -> bool:
        """Tell whether a new file's end of writing is still to come; links are complete at once."""
        if not event.mask & self._flags.CREATE:
            return False
        try:
            found = path.lstat()
        except FileNotFoundError:
            return False
        return found.st_nlink == 1 and not path.is_symlink()


class PollingWatcher:
    """Watches by comparing sizes and times of all files."""

    def __init__(self, root: Path, *, seconds: float = _POLL_SECONDS) -> None:
        self._root = root
        self._seconds = seconds
        self._bell = _Bell()
        self._seen = self._look()

    def wait(self, seconds: float | None) -> Changes:
        """Return what changed; nothing when ``seconds`` passed or ``wake`` was called."""
        self._bell.wait(self._seconds if seconds is None else min(seconds, self._seconds))
        if not self._root.is_dir():
            return Changes()
        before, self._seen = self._seen, self._look()
        changed = {
            path
            for path in before.keys() | self._seen.keys()
            if before.get(path) != self._seen.get(path)
        }
        return Changes(files=frozenset(changed))

    def wake(self) -> None:
        """Let the present or else the next ``wait`` return."""
        self._bell.ring()

    def close(self) -> None:
        """Give everything back."""
        self._bell.close()

    def _look(self) -> dict[Path, tuple[int, int, int]]:
        seen: dict[Path, tuple[int, int, int]] = {}
        for path in manifests_below(self._root):
            with suppress(FileNotFoundError):
                found = path.stat()
                seen[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
        return seen
