"""Tells people what happens: a log line for what came into force or was refused, and a status file.

The file is written only once the mesh has been quiet for a moment, and lists only what people write to
steer the mesh: a status is read after a change, and must not stand in the change's way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import yaml

from mizzen.diagnostics import Severity
from mizzen_operator.state import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mizzen.diagnostics import Diagnostic
    from mizzen_operator.logs import Log
    from mizzen_operator.metrics import OperatorMetrics
    from mizzen_operator.status import Document
    from mizzen_xds.ledger import Ledger

_LOOK_SECONDS: Final = 0.5
# After how many looks without a change the file is written.
_QUIET_LOOKS: Final = 2
_NAMES_SHOWN: Final = 5


class Reporter:
    """Looks at the ledger twice a second for as long as it runs."""

    def __init__(
        self,
        ledger: Ledger,
        log: Log,
        metrics: OperatorMetrics,
        *,
        file: Path | None,
        document: Callable[[], Document],
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._metrics = metrics
        self._file = file
        self._document = document
        self._seen_refusals: tuple[object, ...] = ()
        self._seen_convergence: object = None
        self._written = ""

    async def run(self) -> None:
        """Report until cancelled."""
        before, quiet = self._mark(), 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._tell_refusals()
            self._tell_convergence()
            now = self._mark()
            quiet = quiet + 1 if now == before else 0
            before = now
            if quiet == _QUIET_LOOKS:
                await self.write()

    async def write(self) -> None:
        """Write the status file, where there is to be one, if it says something new."""
        if self._file is None:
            return
        document = self._document()
        text = await asyncio.to_thread(_yaml, document)
        if text != self._written:
            self._written = text
            write(self._file, text.encode())
            self._metrics.status_writes_total += 1

    def tell_findings(self, findings: Iterable[Diagnostic]) -> None:
        """Log findings that are new."""
        for found in findings:
            tell = self._log.error if found.code.severity is Severity.ERROR else self._log.warning
            tell(
                found.code.title,
                code=found.code.id,
                object=str(found.object or ""),
                where=str(found.location or ""),
                field=found.path,
                message=found.message,
                remedy=found.advice,
            )

    def _tell_refusals(self) -> None:
        refusals = self._ledger.refusals
        new = [refusal for refusal in refusals if refusal not in self._seen_refusals]
        self._seen_refusals = refusals
        for refusal in new:
            self._log.error(
                "proxy refused configuration",
                proxy=refusal.proxy,
                type=refusal.type.value.rpartition(".")[2],
                resources=refusal.names[:_NAMES_SHOWN],
                objects=[str(origin) for origin in refusal.origins[:_NAMES_SHOWN]],
                message=refusal.text,
            )

    def _tell_convergence(self) -> None:
        last = self._ledger.convergences[-1:]
        if not last or last[0] is self._seen_convergence:
            return
        self._seen_convergence = last[0]
        self._log.info(
            "in force on every proxy",
            revision=last[0].revision,
            milliseconds=round(last[0].took.total_seconds() * 1_000, 1),
            proxies=len(self._ledger.proxies()),
        )

    def _mark(self) -> tuple[object, ...]:
        """Return something that differs when there may be something new to say."""
        ledger, metrics = self._ledger, self._metrics
        states = tuple((proxy.node.id, proxy.acknowledged) for proxy in ledger.proxies())
        return metrics.revision, metrics.errors, metrics.warnings, len(ledger.refusals), states


def _yaml(document: Document) -> str:
    return yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
