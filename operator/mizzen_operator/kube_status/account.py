"""A replica's account of itself: how it stands with its own proxies, and with the objects it is asked of."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from mizzen_operator.kube.paths import RESOURCE_OF, is_steering
from mizzen_operator.kube_status.words import Answer, Report
from mizzen_xds.standing import Standings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.clock import Clock
    from mizzen.names import ObjectKey
    from mizzen_operator.kube_status.records import Records
    from mizzen_operator.kube_status.returning import Injected
    from mizzen_xds.ledger import Ledger, Member
    from mizzen_xds.standing import Standing


class Account:
    """Gives account of this replica, named ``replica``; ``version`` is its version of Mizzen."""

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        injected: Injected,
        clock: Clock,
        *,
        replica: str,
        version: str,
    ) -> None:
        self.revision = 0
        self.is_complete = False
        self._ledger = ledger
        self._records = records
        self._injected = injected
        self._clock = clock
        self._replica = replica
        self._version = version
        self._standings = Standings(ledger, filter(is_steering, RESOURCE_OF))

    def report(self, keys: tuple[ObjectKey, ...]) -> Report:
        """Return how it stands here, and with these objects."""
        members = tuple(self._ledger.members())
        standings = self._standings.of(keys)
        slowest, slowest_s = self._slowest(members)
        return Report(
            replica=self._replica,
            complete=self.is_complete,
            version=self._version,
            revision=self.revision,
            proxies=len(members),
            pods=self._injected.connected(members),
            up_to_date=sum(map(_is_up_to_date, members)),
            rejecting=sum(map(_is_rejecting, members)),
            envoys=_envoys(members),
            slowest=slowest,
            slowest_s=slowest_s,
            convergence_p99_s=self._convergence_s(),
            snapshot_bytes=self._standings.size_bytes,
            rejected=tuple(self._standings.rejected().items()),
            objects=tuple(self._answer(key, standings[key]) for key in keys),
        )

    def _answer(self, key: ObjectKey, standing: Standing) -> Answer | None:
        record = self._records.get(key)
        if record is None:
            return None
        return Answer(
            version=record.version,
            in_force=record.in_force,
            live=standing.live,
            of=standing.concerned,
            rejected=standing.rejected,
        )

    def _slowest(self, members: Iterable[Member]) -> tuple[str, float]:
        """Return the proxy that is the furthest behind, or the last that caught up, and its time."""
        now_s = self._clock.now().timestamp()
        times = ((*_behind(member, now_s), member.node) for member in members)
        _, seconds, node = max(times, key=lambda one: one[:2], default=(False, 0.0, None))
        return ("", 0.0) if node is None else (f"{node.name}.{node.namespace}", seconds)

    def _convergence_s(self) -> float:
        took = sorted(done.took.total_seconds() for done in self._ledger.convergences)
        return took[min(len(took) - 1, len(took) * 99 // 100)] if took else -1.0


def _is_up_to_date(member: Member) -> bool:
    target = member.stream.target
    return target is not None and target.revision == member.revision


def _is_rejecting(member: Member) -> bool:
    return member.audience is not None and bool(member.audience.quarantine)


def _envoys(members: Iterable[Member]) -> tuple[tuple[str, int], ...]:
    found = Counter(member.node.envoy_version or "unknown" for member in members)
    return tuple(sorted(found.items()))


def _behind(member: Member, now_s: float) -> tuple[bool, float]:
    """Return whether a proxy is behind, and for how long, or how long it was."""
    since = member.behind_since_s
    return (False, member.took_s) if since is None else (True, now_s - since)
