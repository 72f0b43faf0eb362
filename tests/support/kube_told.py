"""What a source of a cluster has told, gathered for a test that waits for something to hold of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube.connection import from_kubeconfig
from mizzen_operator.logs import Log
from mizzen_operator.sources.kube import KubeSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import TextIO

    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Batch, Object

TIMEOUT_S = 60.0


class Told:
    """The objects as they are by what was told."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.findings: dict[ObjectKey, tuple[Diagnostic, ...]] = {}
        self.versions: dict[ObjectKey, str] = {}
        self.batches = 0
        self.is_complete = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Condition()

    def deliver(self, batch: Batch) -> None:
        """Take a batch in; in the source's thread."""
        asyncio.run_coroutine_threadsafe(self._take(batch), self._loop)

    def named(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """The object of a name."""
        return self.objects.get(ObjectKey(DEFAULT_REGISTRY, kind, namespace, name))

    def names(self, kind: str, namespace: str) -> set[str]:
        """The names of the objects of a kind in a namespace."""
        return {key.name for key in self.objects if (key.kind, key.namespace) == (kind, namespace)}

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(TIMEOUT_S), self._news:
            await self._news.wait_for(lambda: bool(holds()))

    async def _take(self, batch: Batch) -> None:
        async with self._news:
            for key, item in batch.changes.items():
                if item is None:
                    del self.objects[key]
                else:
                    self.objects[key] = item
            self.findings.update(batch.diagnostics)
            self.versions.update(batch.versions)
            self.batches += 1
            self.is_complete |= batch.complete
            self._news.notify_all()


@asynccontextmanager
async def told_by(
    kubeconfig: Path, log: TextIO, *, sweep_seconds: float = 600.0, namespace: str = ""
) -> AsyncIterator[tuple[KubeSource, Told]]:
    """Run a source on an API server; inside, everything that was there at first is told."""
    told = Told()
    source = KubeSource(
        from_kubeconfig(kubeconfig),
        Log(log, level="debug"),
        namespace=namespace,
        sweep_seconds=sweep_seconds,
    )
    running = asyncio.create_task(source.run(told.deliver))
    try:
        await told.until(lambda: told.is_complete)
        source.watch_now()
        yield source, told
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
