"""Brings what is live to where people look: conditions on objects, MeshStatus, Events.

::

    rounds, findings ─▶ records ─┐                    ┌─▶ conditions on objects
    the ledger ─────────────────▶ account ─▶ tally ──▶ agenda, budget ──▶ MeshStatus
    other replicas' accounts ───▶ (HTTPS)  ┘          └─▶ Events

Every replica keeps records and answers the others; the holder of the Lease asks and writes. Nothing of it
enters the World, and nothing of it is needed to serve proxies: when the API server is away, it waits.

A look is one pass. It asks every replica once, about a few objects at most, and writes at most a few.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.conditions import conditions
from mizzen_operator.kube.client import ApiError
from mizzen_operator.kube_status import tally
from mizzen_operator.kube_status.account import Account
from mizzen_operator.kube_status.agenda import Agenda
from mizzen_operator.kube_status.budget import Budget
from mizzen_operator.kube_status.herald import Herald
from mizzen_operator.kube_status.mesh import Certificates, Mesh, document
from mizzen_operator.kube_status.news import newsworthy
from mizzen_operator.kube_status.records import Records
from mizzen_operator.kube_status.returning import Injected, Returning
from mizzen_operator.kube_status.row import Row
from mizzen_operator.kube_status.said import State
from mizzen_operator.kube_status.uninjected import Uninjected
from mizzen_operator.kube_status.writer import Outcome, Writer
from mizzen_xds.metrics import Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any, Protocol

    from mizzen.clock import Clock
    from mizzen.diagnostics import Diagnostic
    from mizzen.names import ObjectKey
    from mizzen.resolve.allocation import Given
    from mizzen_operator.compiler import Round
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.kube_status.words import Report
    from mizzen_operator.logs import Log
    from mizzen_xds.ledger import Ledger

    class Peers(Protocol):
        """The other replicas."""

        @property
        def failures(self) -> Mapping[str, str]:
            """Why replicas did not answer the last question, by their addresses."""
            ...

        async def ask(self, keys: tuple[ObjectKey, ...]) -> tuple[Report | None, ...]:
            """Return what each says, None for one that does not answer."""
            ...


# The API server bears more, but it is not there for us.
_WRITES_PER_SECOND: Final = 4.0
_WRITES_AT_ONCE: Final = 5.0
# How long a quiet mesh is left alone.
_QUIET_S: Final = 1.0
# From a change to the first look: most proxies have taken it in by then, and are left alone meanwhile.
_GATHER_S: Final = 0.3
_BREATH_S: Final = 0.1
_OUTAGE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusParts:
    """What the sink is made from.

    Attributes:
        is_leader: Whether this replica writes.
        certificates: When they end; asked at each look.
        wants_sidecar: Of a pod (as the API server has it) without one and its namespace's labels.
        replica: This replica's name, its pod's.
        version: Its version of Mizzen.
        owners: What MeshStatus goes with, as ownerReferences.
    """

    api: ApiClient
    ledger: Ledger
    clock: Clock
    log: Log
    peers: Peers
    is_leader: Callable[[], bool]
    certificates: Callable[[], Certificates]
    wants_sidecar: Callable[[dict[str, Any], Mapping[str, str]], bool]
    replica: str
    version: str = ""
    owners: tuple[dict[str, object], ...] = ()


class StatusSink:
    """Lives in the event loop; ``take_round`` comes before a round's bundles are offered."""

    def __init__(self, parts: StatusParts) -> None:
        self._parts = parts
        self._records = Records()
        self._uninjected = Uninjected(parts.wants_sidecar)
        self._injected = Injected()
        self._returning = Returning()
        self._account = Account(
            parts.ledger,
            self._records,
            self._injected,
            parts.clock,
            replica=parts.replica,
            version=parts.version,
        )
        self._agenda = Agenda()
        self._budget = Budget(per_second=_WRITES_PER_SECOND, most=_WRITES_AT_ONCE)
        self._writer = Writer(parts.api)
        self._row = Row(parts.api, parts.owners)
        self._herald = Herald(parts.api, replica=parts.replica)
        self._counts: Counter[str] = Counter()
        self._rejected: Mapping[ObjectKey, tuple[str, ...]] = {}
        self._given: Mapping[ObjectKey, Given] = {}
        self._failing: frozenset[str] = frozenset()
        self._told_s = float("-inf")
        self._is_leading = False
        self._is_analysed = True
        self._wake = asyncio.Event()

    # What comes in

    def take_round(self, made: Round) -> None:
        """Take note of what a round brings into force."""
        self._account.is_complete = made.is_complete
        if made.batch is None:
            return
        self._account.revision = made.revision
        self._uninjected.take_batch(made.batch)
        self._injected.take_batch(made.batch)
        changed = self._records.take_batch(made.batch)
        if changed and self._is_leading:
            self._agenda.changed(changed, self._now_s())
            self._is_analysed = False
            self._wake.set()

    def take_findings(self, findings: Mapping[ObjectKey, tuple[Diagnostic, ...]]) -> None:
        """Take in the findings of the whole mesh."""
        linted = self._records.take_lint(findings)
        self._is_analysed = True
        if self._is_leading:
            self._agenda.changed(linted.errors, self._now_s())
            self._agenda.doubted(linted.others, self._now_s())
            self._wake.set()

    def take_given(self, given: Mapping[ObjectKey, Given]) -> None:
        """Take in the addresses that hosts without any were given."""
        before, self._given = self._given, given
        if before is given or not self._is_leading:
            return
        keys = {key for key in {*before, *given} if before.get(key) != given.get(key)}
        self._agenda.changed(filter(self._records.get, keys), self._now_s())
        self._wake.set()

    def report(self, keys: tuple[ObjectKey, ...]) -> Report:
        """Return how it stands at this replica, for the others."""
        return self._account.report(keys)

    def samples(self) -> Iterator[Sample]:
        """Yield what is counted."""
        for outcome in Outcome:
            name = outcome.name.lower()
            label = (("outcome", name),)
            yield Sample("mizzen_operator_kube_status_writes_total", self._counts[name], label)
        yield Sample("mizzen_operator_kube_status_events_total", self._counts["events"])
        yield Sample("mizzen_operator_kube_status_questions_total", self._counts["questions"])
        yield Sample("mizzen_operator_kube_status_silences_total", self._counts["silences"])
        yield Sample("mizzen_operator_kube_status_objects_in_motion", self._agenda.in_motion)
        yield Sample("mizzen_operator_uninjected_pods", len(self._uninjected.names()))

    # What goes out

    async def run(self) -> None:
        """Look again and again until cancelled."""
        is_away = False
        while True:
            try:
                await self.look()
            except ApiError as error:
                if not is_away:
                    self._parts.log.warning("status cannot be written", error=str(error))
                is_away = True
                await asyncio.sleep(_OUTAGE_S)
                continue
            is_away = False
            await self._pause()

    async def look(self) -> None:
        """Ask and write once; raises ``ApiError`` where the API server is away."""
        if not self._parts.is_leader():
            self._step_down()
            return
        if not self._account.is_complete:
            return
        if not self._is_leading:
            await self._take_over()
        keys = self._agenda.due(self._records, self._now_s())
        reports, silent = await self._ask(keys)
        self._note_rejected(reports)
        await self._write_objects(keys, reports, silent)
        now_s = self._now_s()
        if now_s - self._told_s >= _QUIET_S:
            self._told_s = now_s
            mesh = self._mesh(reports)
            await self._write_row(mesh)
            await self._tell(mesh)

    async def _take_over(self) -> None:
        """Learn what stands on objects, so that what is true already is not written again."""
        self._agenda.forget_all()
        self._row.pace.forget()
        async for key, standing in self._writer.standing():
            self._agenda.remember(key, standing)
        self._is_leading = True

    def _step_down(self) -> None:
        self._is_leading = False

    async def _ask(self, keys: tuple[ObjectKey, ...]) -> tuple[tuple[Report, ...], int]:
        """Return the reports of this replica and of those that answer, and how many do not."""
        others = await self._parts.peers.ask(keys)
        own = self._account.report(keys)
        answers = tuple(one for one in others if one is not None)
        self._counts["questions"] += len(others)
        self._counts["silences"] += len(others) - len(answers)
        failing = frozenset(self._parts.peers.failures)
        for peer in sorted(failing - self._failing):
            reason = self._parts.peers.failures[peer]
            self._parts.log.warning("replica does not answer", replica=peer, error=reason)
        self._failing = failing
        return (own, *answers), len(others) - len(answers)

    def _note_rejected(self, reports: tuple[Report, ...]) -> None:
        """Have objects looked at that are refused now, or were and are not any more."""
        before, self._rejected = self._rejected, tally.rejected(reports)
        keys = {*before, *self._rejected}
        changed = (key for key in keys if before.get(key) != self._rejected.get(key))
        self._agenda.changed(filter(self._records.get, changed), self._now_s())

    async def _write_objects(
        self, keys: tuple[ObjectKey, ...], reports: tuple[Report, ...], silent: int
    ) -> None:
        missing = tally.missing(len(self._injected), reports)
        awaited = self._returning.expected(missing, self._now_s())
        for key, answers in tally.by_object(keys, reports).items():
            record = self._records.get(key)
            now_s = self._now_s()
            if record is None or (not self._is_analysed and self._agenda.is_fresh(key, now_s)):
                continue
            if awaited and self._agenda.is_at_rest(key, record.version):
                continue  # what stands there was true, and will be again in a moment
            liveness = tally.liveness(record, answers, silent=silent, awaited=awaited)
            stand = conditions(self._records.findings(key), liveness)
            wanted = State.of(record.version, stand, self._given.get(key, ()))
            if not self._agenda.wants(key, wanted, stand, now_s):
                continue
            if not self._budget.take(now_s, urgent=self._agenda.is_urgent(key)):
                continue
            outcome = await self._writer.write(key, record, wanted, self._parts.clock.now())
            self._count(outcome)
            match outcome:
                case Outcome.OTHER:
                    self._agenda.lost(key)
                case Outcome.REFUSED:
                    self._parts.log.warning("status was refused", object=str(key))
                    self._agenda.refused(key, now_s)
                case _:
                    self._agenda.wrote(key, wanted, stand, now_s)

    def _count(self, outcome: Outcome) -> None:
        self._counts[outcome.name.lower()] += 1
        if outcome is not Outcome.WRITTEN:
            self._budget.give_back()

    def _mesh(self, reports: tuple[Report, ...]) -> Mesh:
        return Mesh(
            reports=reports,
            certificates=self._parts.certificates(),
            now=self._parts.clock.now(),
            silent=tuple(sorted(self._failing)),
            objects=len(self._records),
            wrong=self._records.wrong(),
            uninjected=self._uninjected.names(),
        )

    async def _write_row(self, mesh: Mesh) -> None:
        wanted = document(mesh)
        now_s = self._now_s()
        if self._row.pace.is_due(wanted, now_s) and self._budget.take(now_s, urgent=True):
            is_new = await self._row.write(wanted, mesh.now)
            self._count(Outcome.WRITTEN if is_new else Outcome.EQUAL)

    async def _tell(self, mesh: Mesh) -> None:
        told = newsworthy(self._rejected, self._records, mesh, self._row.uid)
        for news in told:
            self._counts["events"] += await self._herald.tell(news, mesh.now)

    async def _pause(self) -> None:
        longest_s = _QUIET_S if self._is_leading else _QUIET_S * 2
        pause_s = max(_BREATH_S, self._agenda.pause_s(self._now_s(), longest_s))
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        if self._wake.is_set():
            self._wake.clear()
            await asyncio.sleep(_GATHER_S)

    def _now_s(self) -> float:
        return self._parts.clock.now().timestamp()
