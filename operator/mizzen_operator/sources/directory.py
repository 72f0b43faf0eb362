"""A folder of manifests as a source: watched, read and parsed in a thread of its own.

The thread exists because parsing takes the processor for as long as a file is large, and streams to
proxies must not wait for that. What an edit means is decided in :mod:`mizzen_operator.sources.folder`;
here are the files, the time and the thread.

When the folder itself vanishes, everything in it stays in force until it is back: an unmounted
volume is not a wish to have no mesh.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen_operator.sources.files import manifests_below, read_text
from mizzen_operator.sources.folder import Folder
from mizzen_operator.sources.watch import open_watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Batch
    from mizzen_operator.sources.watch import Changes, Watcher

# How long a file must be left alone before objects that it no longer names are taken as removed. Editors
# that move a file away and write a new one, and `git checkout`, are done within a few milliseconds; a
# second would be felt by who deletes a file and waits.
SETTLE_SECONDS: Final = 0.1


def read_folder(root: Path) -> tuple[Folder, Batch]:
    """Read all manifests below a folder once."""
    folder = Folder()
    texts = {str(path): read_text(path) for path in manifests_below(root)}
    return folder, folder.update(texts, settled=True)


class DirectorySource:
    """All manifests below a folder."""

    def __init__(self, root: Path, *, settle_seconds: float = SETTLE_SECONDS) -> None:
        self._root = root
        self._settle_seconds = settle_seconds
        self._folder = Folder()
        self._due: dict[str, float] = {}
        self._stopping = False
        # Held by whoever uses the folder: the source's thread, or who asks for a place in it.
        self._lock = threading.Lock()

    async def run(self, deliver: Callable[[Batch], None]) -> None:
        """Deliver the whole folder, and then each change as it is saved, until cancelled."""
        with closing(open_watcher(self._root)) as watcher:
            thread = asyncio.ensure_future(asyncio.to_thread(self._watch, watcher, deliver))
            try:
                await asyncio.shield(thread)
            finally:
                self._stopping = True
                watcher.wake()
                await asyncio.wait([thread])

    def _watch(self, watcher: Watcher, deliver: Callable[[Batch], None]) -> None:
        with self._lock:
            self._folder, batch = read_folder(self._root)
        deliver(batch)
        while not self._stopping:
            changes = watcher.wait(self._seconds_to_next())
            for batch in (self._take(changes), self._settle()):
                if batch.changes or batch.diagnostics:
                    deliver(batch)

    def located(self, found: Diagnostic) -> Diagnostic:
        """Return a finding with its file and line, where they are known; from any thread."""
        with self._lock:
            return self._folder.located(found)

    def _take(self, changes: Changes) -> Batch:
        paths = {str(path) for path in changes.files}
        for folder in changes.folders:
            paths |= {path for path in self._folder.files if folder in Path(path).parents}
            paths |= {str(path) for path in manifests_below(folder)}
        return self._update(paths, settled=False)

    def _settle(self) -> Batch:
        now = time.monotonic()
        return self._update({path for path, due in self._due.items() if due <= now}, settled=True)

    def _update(self, paths: Iterable[str], *, settled: bool) -> Batch:
        texts = {path: read_text(Path(path)) for path in paths}
        with self._lock:
            batch = self._folder.update(texts, settled=settled)
        for path in texts:
            self._due.pop(path, None)
            if path in self._folder.unsettled:
                self._due[path] = time.monotonic() + self._settle_seconds
        return batch

    def _seconds_to_next(self) -> float | None:
        return min(self._due.values()) - time.monotonic() if self._due else None
