"""The roots in every namespace, as a ConfigMap that pods mount: how a proxy knows its control plane.

The holder of the Lease writes it wherever it is missing or says something else. Which namespaces there
are and what stands in them is told by the source, as everything else is.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mizzen.model.kube import ConfigMap, Namespace
from mizzen_operator.kube.client import ApiError
from mizzen_operator.kube.paths import RESOURCE_OF, ROOTS_CONFIG_MAP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mizzen.model.world import Object
    from mizzen.names import ObjectKey
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.logs import Log

Json = dict[str, Any]

ROOTS_KEY: Final = "root-cert.pem"
# How often is looked whether this replica holds the Lease by now, and failures are tried again.
_LOOK_SECONDS: Final = 5.0
_AT_ONCE: Final = 8
# A namespace that is ending takes nothing new.
_REFUSED: Final = 403


class RootBundles:
    """Keeps the ConfigMaps; lives in one event loop, but for :meth:`take`."""

    def __init__(
        self,
        api: ApiClient,
        log: Log,
        is_leader: Callable[[], bool],
        *,
        owners: tuple[Json, ...] = (),
    ) -> None:
        self._api = api
        self._log = log
        self._is_leader = is_leader
        self._owners = list(owners)
        self._roots = ""
        # What is known to stand in each namespace; a hash, since the roots are the same everywhere.
        self._standing: dict[str, int | None] = {}
        self._refused: set[str] = set()
        self._news = asyncio.Event()
        self.writes_total = 0

    def publish(self, roots: bytes) -> None:
        """Have these roots everywhere."""
        self._roots = roots.decode("ascii")
        self._news.set()

    def take(self, changes: Mapping[ObjectKey, Object | None]) -> None:
        """Take note of what the source tells; in the event loop."""
        for key, item in changes.items():
            match key.kind:
                case "Namespace" if item is None:
                    self._standing.pop(key.name, None)
                case "Namespace" if isinstance(item, Namespace):
                    self._standing.setdefault(key.name, None)
                    self._refused.discard(key.name)
                case "ConfigMap" if key.namespace in self._standing or item is not None:
                    self._standing[key.namespace] = _content(item)
                case _:
                    continue
            self._news.set()

    async def run(self) -> None:
        """Write until cancelled, while this replica holds the Lease."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            if self._is_leader() and self._roots:
                await self._write_all()

    async def _write_all(self) -> None:
        wanted = hash(self._roots)
        namespaces = [
            name
            for name, standing in self._standing.items()
            if standing != wanted and name not in self._refused
        ]
        for start in range(0, len(namespaces), _AT_ONCE):
            some = namespaces[start : start + _AT_ONCE]
            await asyncio.gather(*(self._write(namespace, wanted) for namespace in some))

    async def _write(self, namespace: str, wanted: int) -> None:
        path = RESOURCE_OF["ConfigMap"].path(namespace, ROOTS_CONFIG_MAP)
        try:
            await self._api.patch(path, self._config_map(namespace), "apply", force=True)
        except ApiError as error:
            self._log.debug("roots not written", namespace=namespace, reason=str(error))
            if error.status == _REFUSED:
                self._refused.add(namespace)
            return
        self.writes_total += 1
        if namespace in self._standing:
            self._standing[namespace] = wanted

    def _config_map(self, namespace: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ROOTS_CONFIG_MAP,
                "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": "mizzen"},
                "ownerReferences": self._owners,
            },
            "data": {ROOTS_KEY: self._roots},
        }


def _content(item: Object | None) -> int | None:
    if not isinstance(item, ConfigMap):
        return None
    return hash(dict(item.data).get(ROOTS_KEY))
