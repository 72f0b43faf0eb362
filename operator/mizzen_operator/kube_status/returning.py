"""Proxies that are on their way back: their pods are there, and no replica has them connected.

When all replicas were gone, those that come next serve nobody at first, and an object that concerns
fifty proxies would be said to concern none. Envoy comes back within five seconds, so for a while what
is missing is waited for. A proxy that stays away longer is not: it may never come, and others wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.model.kube import Pod
from mizzen_operator.inject.decide import STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.model.world import Batch
    from mizzen_xds.ledger import Member

# Several attempts of Envoy, and what it takes to start a replica's worth of streams.
PATIENCE_S: Final = 30.0


class Injected:
    """The pods that have a proxy and an address, which is from when on they are to be connected."""

    def __init__(self) -> None:
        self._pods: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        return len(self._pods)

    def take_batch(self, batch: Batch) -> None:
        """Take note of pods that came, changed and went."""
        for key, item in batch.changes.items():
            if key.kind != "Pod":
                continue
            if isinstance(item, Pod) and item.ips and STATUS in dict(item.meta.annotations):
                self._pods.add((key.namespace, key.name))
            else:
                self._pods.discard((key.namespace, key.name))

    def connected(self, members: Iterable[Member]) -> int:
        """Return how many of these pods are connected."""
        nodes = {(one.node.namespace, one.node.name) for one in members}
        return len(nodes & self._pods)


class Returning:
    """How many proxies are waited for."""

    def __init__(self) -> None:
        self._given_up = 0
        self._since_s: float | None = None

    def expected(self, missing: int, now_s: float) -> int:
        """Return how many of ``missing`` proxies are waited for at a time, which does not go back."""
        self._given_up = min(self._given_up, missing)
        if missing == self._given_up:
            self._since_s = None
            return 0
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < PATIENCE_S:
            return missing - self._given_up
        self._given_up = missing
        self._since_s = None
        return 0
