"""The tour: eight promises, each tried for real. A step is data; what it finds out is data too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import AskError
from mizzen_cli.demo.stage import Measured, NeverError
from mizzen_cli.demo.steps import access, canary, identity, mistakes, resilience, upkeep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen_cli.demo.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One promise.

    Attributes:
        id: A short name, which does not change.
        title: What is promised, as a sentence for the terminal.
        run: Tries it.
    """

    id: str
    title: str
    run: Callable[[Stage], Awaitable[tuple[Measured, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a step found out, and how long it took."""

    step: Step
    measured: tuple[Measured, ...]
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the promise was kept."""
        return bool(self.measured) and all(found.holds for found in self.measured)


STEPS: Final = (
    Step(id="identity", title="Everyone proves who they are", run=identity.run),
    Step(id="canary", title="A canary, from 90/10 to 50/50 by editing a file", run=canary.run),
    Step(id="resilience", title="Headers, retries, outlier detection", run=resilience.run),
    Step(id="access", title="Who may and who may not, HTTP and TCP", run=access.run),
    Step(id="broken", title="A broken file is refused, all goes on", run=mistakes.broken_file),
    Step(id="nack", title="What Envoy rejects is named", run=mistakes.rejected_by_envoy),
    Step(id="rotation", title="All certificates rotated under load", run=upkeep.certificates),
    Step(id="restart", title="The control plane killed and restarted", run=upkeep.control_plane),
)


async def take(step: Step, stage: Stage) -> Outcome:
    """Run one step; what never came is a finding that does not hold, not a crash."""
    began = time.monotonic()
    try:
        measured = await step.run(stage)
    except (NeverError, AskError) as never:
        measured = (Measured(what="stopped here", value=str(never), holds=False),)
    return Outcome(step=step, measured=measured, seconds=time.monotonic() - began)
