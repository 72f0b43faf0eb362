"""Which replica writes: a Lease, taken and kept as client-go's leader election does.

A replica that is cut off stops writing before another may begin: it counts its Lease from when it
*asked* for it, and others from when they *saw* it renewed. Nobody compares clocks of two machines.

Source: coordination.k8s.io/v1; client-go, tools/leaderelection.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mizzen_operator.kube.client import ApiError, ConflictError, NotFoundError
from mizzen_operator.kube.paths import path

if TYPE_CHECKING:
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.logs import Log

Json = dict[str, Any]

LEASE_NAME: Final = "mizzen"
# client-go's proportions: 15 s, of which a holder uses 10 at most without having renewed it.
_DURATION_SECONDS: Final = 15.0
_HOLD_SECONDS: Final = 10.0
_RENEW_SECONDS: Final = 2.0


class Lease:
    """Wants the Lease ``mizzen`` of a namespace, under the name of this replica, while it runs."""

    def __init__(
        self,
        api: ApiClient,
        namespace: str,
        identity: str,
        log: Log,
        *,
        owners: tuple[Json, ...] = (),
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._identity = identity
        self._log = log
        self._owners = list(owners)
        self._held_until = float("-inf")
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = float("-inf")
        self._was_held = False
        self._is_given_up = False
        # A renewal that is under way would be a conflict for the release.
        self._turn = asyncio.Lock()
        self.transitions_total = 0

    def is_held(self) -> bool:
        """Tell whether this replica may write now."""
        return time.monotonic() < self._held_until

    async def run(self) -> None:
        """Take the Lease when it is free and keep it, until cancelled or released."""
        while not self._is_given_up:
            try:
                async with self._turn:
                    await self._try()
            except ApiError as error:
                self._log.debug("lease not renewed", reason=str(error))
            self._tell()
            await asyncio.sleep(_RENEW_SECONDS)

    async def release(self) -> None:
        """Give the Lease up for good, so that another replica need not wait for its end."""
        self._is_given_up = True
        async with self._turn:
            if self.is_held():
                self._held_until = float("-inf")
                await self._let_go()

    async def _let_go(self) -> None:
        try:
            found = await self._api.get(self._path())
            if found["spec"].get("holderIdentity") == self._identity:
                found["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._api.replace(self._path(), found)
        except ApiError as error:
            self._log.debug("lease not released", reason=str(error))

    async def _try(self) -> None:
        asked = time.monotonic()
        try:
            found = await self._api.get(self._path())
        except NotFoundError:
            await self._create()
        else:
            if not self._is_free(found["spec"]):
                return
            try:
                await self._api.replace(self._path(), self._taken(found))
            except ConflictError:
                return
        if not self._is_given_up:
            self._held_until = asked + _HOLD_SECONDS

    async def _create(self) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE_NAME, "ownerReferences": self._owners},
            "spec": {},
        }
        await self._api.create(self._path(collection=True), self._taken(lease))

    def _is_free(self, spec: Json) -> bool:
        """Tell whether the Lease is ours, nobody's, or was not renewed for as long as it lasts."""
        holder = spec.get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        seen = (holder, spec.get("renewTime") or "")
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        lasts = float(spec.get("leaseDurationSeconds") or _DURATION_SECONDS)
        return time.monotonic() > self._seen_at + lasts

    def _taken(self, lease: Json) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = lease["spec"]
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + 1
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(_DURATION_SECONDS),
            "renewTime": now,
        }
        return lease

    def _tell(self) -> None:
        is_held = self.is_held()
        if is_held != self._was_held:
            self._was_held = is_held
            self.transitions_total += 1
            self._log.info("lease taken" if is_held else "lease lost", identity=self._identity)

    def _path(self, *, collection: bool = False) -> str:
        name = None if collection else LEASE_NAME
        return path("coordination.k8s.io/v1", "leases", self._namespace, name)
