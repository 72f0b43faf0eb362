"""A Kubernetes API server as a source: one list of everything, then every change as it happens.

The list is our own, read page by page; when it is through, the first batch is complete. Once that is
compiled, kopf watches from the list's version on.

**What vanishes while nobody watches.** kopf 1.45 never tells of an object that was deleted while its
watch was broken, which is every time the server answers «410 Gone». So where kopf would list a kind
anew, we do, and what is known and not in the list is taken out. As nobody can prove that a watch misses
nothing, the keys of all kinds are held against those that are known every ten minutes besides.

Everything here runs in a thread with an event loop of its own: parsing takes the processor, and streams
to proxies must not wait for that.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from mizzen.model.mesh import MeshSettings
from mizzen.names import ObjectKey
from mizzen_operator.kube.client import ApiClient, ApiError, NotFoundError
from mizzen_operator.kube.paths import SECRETS, WATCHED
from mizzen_operator.sources.mesh_config import MeshConfigMap
from mizzen_operator.sources.namespaces import ComingIntoView
from mizzen_operator.sources.objects import Objects, key_of, secret_key, together, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mizzen.model.world import Batch
    from mizzen_operator.kube.connection import Connection
    from mizzen_operator.kube.paths import Resource
    from mizzen_operator.logs import Log
    from mizzen_operator.sources.objects import Raw
    from mizzen_operator.sources.references import SecretName

_SWEEP_SECONDS: Final = 600.0
_RETRY_SECONDS: Final = 1.0
# How long the first compilation may keep the watch from beginning.
_COMPILE_SECONDS: Final = 30.0
# How soon a kind is noticed whose CRD comes after us.
_LOOK_SECONDS: Final = 5.0
# Secrets are not watched, since that would show us all of them: this is how soon a new key is used.
_SECRETS_SECONDS: Final = 30.0
_CLOSING_SECONDS: Final = 0.05
# Troubles that follow each other more closely are one.
_SILENCE_SECONDS: Final = 30.0


class KubeSource:
    """The objects of one cluster. Its counters are for the metrics.

    ``namespace`` is the mesh's own, where its settings are.
    """

    def __init__(
        self,
        connection: Connection,
        log: Log,
        *,
        resources: tuple[Resource, ...] = WATCHED,
        namespace: str = "",
        sweep_seconds: float = _SWEEP_SECONDS,
    ) -> None:
        self._namespace = namespace
        self._connection = connection
        self._log = log
        self._resources = resources
        self._sweep_seconds = sweep_seconds
        self.relists_total = 0
        self.sweeps_total = 0
        self.swept_objects_total = 0
        self.restarts_total = 0
        self._thread: _Thread | None = None

    def watch_now(self) -> None:
        """Let the watch begin: the first batch is compiled; from any thread."""
        if self._thread is not None:
            self._thread.watch_now()

    async def run(self, deliver: Callable[[Batch], None]) -> None:
        """Deliver everything there is, and then each change, until cancelled."""
        thread = _Thread(
            self, self._connection, self._log, self._resources, deliver, self._namespace
        )
        if self._namespace:
            thread.read_mesh_config_of(self._namespace)
        self._thread = thread
        working = asyncio.ensure_future(asyncio.to_thread(thread.work, self._sweep_seconds))
        try:
            await asyncio.shield(working)
        finally:
            thread.stop()
            await asyncio.wait([working])


class _Thread:
    """What runs in the source's thread."""

    def __init__(
        self,
        source: KubeSource,
        connection: Connection,
        log: Log,
        resources: tuple[Resource, ...],
        deliver: Callable[[Batch], None],
        namespace: str,
    ) -> None:
        self._source = source
        self._connection = connection
        self._log = log
        self._resources = resources
        self._deliver_on = deliver
        self._objects = Objects(MeshSettings(config_namespace=namespace))
        self._mesh_config: MeshConfigMap | None = None
        self._served: tuple[Resource, ...] = ()
        # The versions of lists that no watch has begun from yet, by plurals.
        self._versions: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._referred = asyncio.Event()
        self._coming = ComingIntoView(self._objects, log, lambda: self._served)
        self._told_at = float("-inf")
        self._compiled = asyncio.Event()

    def read_mesh_config_of(self, namespace: str) -> None:
        """Take the mesh's settings from its namespace too."""
        self._mesh_config = MeshConfigMap(namespace, self._objects, self._log)

    def work(self, sweep_seconds: float) -> None:
        """Run until stopped; called in the thread."""
        try:
            asyncio.run(self._run(sweep_seconds))
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise

    def watch_now(self) -> None:
        """Let the watch begin; from another thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._compiled.set)

    def stop(self) -> None:
        """Have it end; from another thread."""
        self._is_stopping = True
        if self._loop is not None and self._main is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._main.cancel)

    async def _run(self, sweep_seconds: float) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        if self._is_stopping:
            return
        try:
            async with ApiClient(self._connection) as client, asyncio.TaskGroup() as group:
                await self._load(client)
                group.create_task(self._keep_watching(client))
                group.create_task(self._keep_sweeping(client, sweep_seconds))
                group.create_task(self._keep_secrets(client))
                group.create_task(self._coming.keep(client, self._come))
                if self._mesh_config is not None:
                    group.create_task(self._mesh_config.keep(client, self._deliver))
        finally:
            # Connections that were closed are gone only some turns of the loop later, which ends here.
            await asyncio.sleep(_CLOSING_SECONDS)

    # The list of everything

    async def _load(self, client: ApiClient) -> None:
        """Deliver everything there is as one complete batch."""
        batches: list[Batch] = []
        # First, for they say of which namespaces anything is kept.
        if self._mesh_config is not None:
            batches += filter(None, (await self._mesh_config.load(client),))
        for resource in self._resources:
            if await self._load_kind(client, resource, batches):
                self._served = (*self._served, resource)
        await self._fetch_secrets(client, batches.append)
        self._deliver(together(batches, complete=True))

    async def _load_kind(self, client: ApiClient, resource: Resource, batches: list[Batch]) -> bool:
        """Take in all objects of a kind, trying until it works; False where the server does not have it."""
        while True:
            try:
                self._versions[resource.plural] = await self._list(client, resource, batches)
            except NotFoundError:
                return False
            except ApiError as error:
                self._log.warning("cannot list", kind=resource.kind, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return True

    async def _list(self, client: ApiClient, resource: Resource, batches: list[Batch]) -> str:
        """Take in all objects of a kind, and out those that are gone; return the version of the list."""
        since, listed, version = self._objects.told, self._of_others(), ""
        async for page, of in client.snapshot(resource.path(), resource.selectors):
            version = of
            for raw in typed(page, resource):
                key = key_of(raw)
                if key is not None:
                    listed.add(key)
                    batches += filter(None, (self._objects.take(raw, is_listed=True),))
        gone = list(self._objects.sweep(resource.kind, listed, since))
        self._source.swept_objects_total += len(gone)
        batches += gone
        return version

    # The watch

    async def _keep_watching(self, client: ApiClient) -> None:
        """Watch the kinds that there are; begin anew when a kind comes, or a watch cannot go on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_COMPILE_SECONDS):
                await self._compiled.wait()
        while True:
            missing = [kind for kind in self._resources if kind not in self._served]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._await_kind(client, missing, stop))
                await self._watch(client, stop)
                looking.cancel()
            self._source.restarts_total += 1

    async def _watch(self, client: ApiClient, stop: asyncio.Event) -> None:
        with _without("kubernetes"):
            from mizzen_operator.kube.watching import Watcher, watch  # noqa: PLC0415  # heavy

        watcher = Watcher(
            on_change=self._take,
            on_gone=self._remove,
            relist=functools.partial(self._relist, client),
            on_trouble=self._tell,
        )
        began = time.monotonic()
        try:
            await watch(self._connection, self._served, watcher, stop)
        except Exception as error:  # noqa: BLE001  kopf lets any error of its parts through; it begins anew
            self._log.warning("watching begins anew", reason=repr(error))
            await asyncio.sleep(max(0.0, _RETRY_SECONDS - (time.monotonic() - began)))

    async def _relist(self, client: ApiClient, plural: str) -> str:
        """Return from which version on to watch a kind: the first list's, or that of a list made now.

        A kind that is gone keeps the watch from going on, and so has it begin anew without that kind.
        """
        version = self._versions.pop(plural, "")
        if version:
            return version
        resource = next(kind for kind in self._resources if kind.plural == plural)
        batches: list[Batch] = []
        if not await self._load_kind(client, resource, batches):
            batches += self._objects.sweep(resource.kind, (), self._objects.told)
            self._served = tuple(kind for kind in self._served if kind is not resource)
        self._source.relists_total += 1
        self._hand_over(batches)
        return self._versions.pop(plural, "")

    def _tell(self, words: str) -> None:
        """Log what the watch says of itself, one line for an outage and not one for every attempt."""
        now = time.monotonic()
        tell = self._log.warning if now - self._told_at > _SILENCE_SECONDS else self._log.debug
        self._told_at = now
        tell("watching", message=words)

    async def _await_kind(
        self, client: ApiClient, missing: Iterable[Resource], stop: asyncio.Event
    ) -> None:
        """Set the event when one of the kinds that the server lacked is there."""
        while missing:
            await asyncio.sleep(_LOOK_SECONDS)
            for resource in missing:
                batches: list[Batch] = []
                if await self._has(client, resource) and await self._load_kind(
                    client, resource, batches
                ):
                    self._served = (*self._served, resource)
                    self._hand_over(batches)
                    stop.set()
            if stop.is_set():
                return

    async def _has(self, client: ApiClient, resource: Resource) -> bool:
        try:
            await client.get(resource.path(), limit="1")
        except ApiError:
            return False
        return True

    def _take(self, raw: Raw) -> None:
        self._change(lambda: self._objects.take(raw))

    def _remove(self, raw: Raw) -> None:
        self._change(lambda: self._objects.end(raw))

    def _change(self, change: Callable[[], Batch | None]) -> None:
        referred = self._objects.references
        batch = change()
        if batch is not None:
            self._deliver(batch)
        if self._objects.references != referred:
            self._referred.set()

    def _deliver(self, batch: Batch) -> None:
        self._deliver_on(batch)
        self._coming.look()

    def _hand_over(self, batches: Iterable[Batch]) -> None:
        whole = together(batches, complete=True)
        if whole.changes or whole.diagnostics:
            self._deliver(whole)

    def _come(self, batches: Iterable[Batch]) -> None:
        """Deliver what has come into view, and look at once which Secrets it refers to."""
        self._hand_over(batches)
        self._referred.set()

    # The sweep

    async def _keep_sweeping(self, client: ApiClient, sweep_seconds: float) -> None:
        while True:
            await asyncio.sleep(sweep_seconds)
            for resource in self._served:
                await self._sweep(client, resource)

    async def _sweep(self, client: ApiClient, resource: Resource) -> None:
        """Take out what is known of a kind and no longer there."""
        since, listed = self._objects.told, set[ObjectKey | None](self._of_others())
        try:
            pages = client.pages(resource.path(), resource.selectors, metadata_only=True)
            async for page in pages:
                listed |= {key_of(raw) for raw in typed(page, resource)}
        except NotFoundError:
            listed = set[ObjectKey | None]()  # the kind itself is gone, and with it all its objects
        except ApiError as error:
            self._log.debug("cannot sweep", kind=resource.kind, reason=str(error))
            return
        keys = (key for key in listed if key is not None)
        gone = list(self._objects.sweep(resource.kind, keys, since))
        self._source.sweeps_total += 1
        self._source.swept_objects_total += len(gone)
        self._hand_over(gone)

    def _of_others(self) -> set[ObjectKey]:
        """Return what lists of a kind do not show, though it is there."""
        return {self._mesh_config.key} if self._mesh_config is not None else set()

    # Secrets

    async def _keep_secrets(self, client: ApiClient) -> None:
        """Fetch what is referred to, when it is, and again and again, since nobody tells of changes."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECRETS_SECONDS):
                    await self._referred.wait()
            self._referred.clear()
            batches: list[Batch] = []
            await self._fetch_secrets(client, batches.append)
            self._hand_over(batches)

    async def _fetch_secrets(self, client: ApiClient, deliver: Callable[[Batch], None]) -> None:
        wanted = self._objects.secrets()
        unwanted = self._objects.sweep(
            SECRETS.kind, map(secret_key, wanted), since=self._objects.told
        )
        for batch in unwanted:
            deliver(batch)
        for name in sorted(wanted):
            changed = await self._fetch_secret(client, name)
            if changed is not None:
                deliver(changed)

    async def _fetch_secret(self, client: ApiClient, name: SecretName) -> Batch | None:
        try:
            raw = await client.get(SECRETS.path(*name))
        except NotFoundError:
            return self._objects.remove(secret_key(name))
        except ApiError as error:
            self._log.warning("cannot read secret", name="/".join(name), reason=str(error))
            return None
        return self._objects.take(raw)


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Have a package not found: kopf takes the official client in where there is one, with 10 MB."""
    known = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment]  # what Python itself puts there for "not found"
    try:
        yield
    finally:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known
