"""The ConfigMap with the mesh's settings, watched apart: a watch of a kind can be for one name alone.

That watch is but a bell. Whatever it says, the object is read anew, from which both its content and the version
to watch from come.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube.client import ApiError
from mizzen_operator.kube.paths import CONFIG_MAPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mizzen.model.world import Batch
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.logs import Log
    from mizzen_operator.sources.objects import Objects, Raw

NAME: Final = "mizzen"
"""The ConfigMap in the mesh's namespace whose key ``mesh`` is the MeshConfig."""

_RETRY_SECONDS: Final = 1.0
# How long one watch lasts at most: a broken connection that nobody tells of costs no more than that.
_WATCH_SECONDS: Final = 300


class MeshConfigMap:
    """The one ConfigMap of a namespace."""

    def __init__(self, namespace: str, objects: Objects, log: Log) -> None:
        self.key = ObjectKey(DEFAULT_REGISTRY, CONFIG_MAPS.kind, namespace, NAME)
        self._objects = objects
        self._log = log

    async def read(self, client: ApiClient) -> tuple[Batch | None, str]:
        """Return what changes by what stands there now, and the version from which on to watch."""
        found: list[Raw] = []
        version = ""
        async for page, of in client.snapshot(self._path, self._selector):
            found, version = [*found, *page], of
        if not found:
            return self._objects.remove(self.key), version
        raw = {**found[0], "kind": CONFIG_MAPS.kind, "apiVersion": CONFIG_MAPS.api_version}
        return self._objects.take(raw), version

    async def load(self, client: ApiClient) -> Batch | None:
        """Return what changes by it, trying until it can be read: proxies are not to have other settings first."""
        while True:
            try:
                return (await self.read(client))[0]
            except ApiError as error:
                self._log.warning("cannot read the mesh's settings", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def keep(self, client: ApiClient, deliver: Callable[[Batch], None]) -> None:
        """Deliver each change, for ever."""
        while True:
            try:
                version = await self._told(client, deliver)
                limit = {"resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
                async for _ in client.signals(self._path, {**self._selector, **limit}):
                    await self._told(client, deliver)
            except ApiError as error:
                self._log.debug("cannot watch", kind=str(self.key), reason=str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _told(self, client: ApiClient, deliver: Callable[[Batch], None]) -> str:
        batch, version = await self.read(client)
        if batch is not None:
            deliver(batch)
        return version

    @property
    def _path(self) -> str:
        return CONFIG_MAPS.path(self.key.namespace)

    @property
    def _selector(self) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={NAME}"}
