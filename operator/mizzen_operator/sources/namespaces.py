"""Namespaces that come into view: what is in them was left out, and is listed once they are looked at."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mizzen_operator.kube.client import ApiError, NotFoundError
from mizzen_operator.sources.looked_at import ALWAYS_KEPT
from mizzen_operator.sources.objects import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.model.world import Batch
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.kube.paths import Resource
    from mizzen_operator.logs import Log
    from mizzen_operator.sources.objects import Objects

_RETRY_SECONDS: Final = 1.0


class ComingIntoView:
    """Lists the objects of namespaces that were not looked at, and are; ``served`` are the kinds there are."""

    def __init__(
        self, objects: Objects, log: Log, served: Callable[[], Iterable[Resource]]
    ) -> None:
        self._objects = objects
        self._log = log
        self._served = served
        self._news = asyncio.Event()

    def look(self) -> None:
        """Take note that something was told, by which some may have come."""
        if self._objects.wanted:
            self._news.set()

    async def keep(self, client: ApiClient, deliver: Callable[[Iterable[Batch]], None]) -> None:
        """Deliver what is in them, for ever."""
        while True:
            await self._news.wait()
            self._news.clear()
            batches: list[Batch] = []
            try:
                with self._objects.listing() as namespaces:
                    for namespace in sorted(namespaces):
                        await self._list(client, namespace, batches)
            except ApiError as error:
                self._log.warning("cannot list what came into view", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            deliver(batches)
            self.look()

    async def _list(self, client: ApiClient, namespace: str, batches: list[Batch]) -> None:
        for resource in self._served():
            if resource.kind in ALWAYS_KEPT:
                continue
            with suppress(NotFoundError):
                pages = client.pages(resource.path(namespace), resource.selectors)
                async for page in pages:
                    batches += filter(None, map(self._objects.take, typed(page, resource)))
