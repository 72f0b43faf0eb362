"""The tour: thirteen promises, each tried for real. A step is data; what it finds out is data too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import AskError
from mizzen_cli.demo.stage import Measured, NeverError
from mizzen_cli.demo.steps import (
    access,
    canary,
    egress,
    faults,
    identity,
    mirror,
    mistakes,
    resilience,
    tokens,
    upkeep,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen_cli.demo.stage import Note, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One promise.

    Attributes:
        id: A short name, which does not change.
        title: What is shown, as a heading for the terminal.
        proves: The promise, as a sentence.
        run: Tries it, and notes what it finds out as it finds it out.
    """

    id: str
    title: str
    proves: str
    run: Callable[[Stage, Note], Awaitable[None]]


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
    Step(
        id="identity",
        title="Everyone proves who they are",
        proves="Mutual TLS between all; who cannot prove an identity is let in only where you say so.",
        run=identity.run,
    ),
    Step(
        id="canary",
        title="A canary, from 90/10 to 50/50",
        proves="You edit a file and save it; it is in force on every proxy within milliseconds.",
        run=canary.run,
    ),
    Step(
        id="resilience",
        title="Headers, retries, outlier detection",
        proves="A header picks the version. A failing pod is hidden by retries, then left alone.",
        run=resilience.run,
    ),
    Step(
        id="access",
        title="Who may and who may not",
        proves="Policies decide by proven identity, over HTTP and over TCP, and can be edited live.",
        run=access.run,
    ),
    Step(
        id="faults",
        title="Faults, on purpose",
        proves="How the shop does without the ledger is found out without doing it any harm.",
        run=faults.injection,
    ),
    Step(
        id="breaker",
        title="A circuit breaker",
        proves="What a service cannot take in time fails at once, instead of queueing up.",
        run=faults.breaker,
    ),
    Step(
        id="mirror",
        title="Copies for the next version",
        proves="It gets everyone's requests, and nobody gets its answers.",
        run=mirror.run,
    ),
    Step(
        id="egress",
        title="What leaves the mesh",
        proves="Nothing does, but to those whom you have named.",
        run=egress.run,
    ),
    Step(
        id="tokens",
        title="Tokens of people",
        proves="Who calls for whom is checked, too, and rules can ask for what a token says.",
        run=tokens.run,
    ),
    Step(
        id="broken",
        title="A broken file",
        proves="It is refused with file and line; what was good stays in force, all else goes on.",
        run=mistakes.broken_file,
    ),
    Step(
        id="nack",
        title="What only Envoy finds wrong",
        proves="It is named on the object that it came from, in Envoy's words; the rest is delivered.",
        run=mistakes.rejected_by_envoy,
    ),
    Step(
        id="rotation",
        title="All certificates rotated under load",
        proves="No request fails and no connection is dropped.",
        run=upkeep.certificates,
    ),
    Step(
        id="restart",
        title="The control plane killed and restarted under load",
        proves="No request fails, and nothing is sent again that has not changed.",
        run=upkeep.control_plane,
    ),
)


async def take(step: Step, stage: Stage, note: Note) -> Outcome:
    """Run one step; what never came is a finding that does not hold, not a crash."""
    began = time.monotonic()
    measured: list[Measured] = []

    def both(found: Measured) -> None:
        measured.append(found)
        note(found)

    try:
        await step.run(stage, both)
    except* (NeverError, AskError, TimeoutError) as never:
        both(
            Measured(
                what="stopped here",
                value="; ".join(_reasons(never)),
                holds=False,
                expected="every wait of this step ends",
            )
        )
    return Outcome(step=step, measured=tuple(measured), seconds=time.monotonic() - began)


def _reasons(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Return what the errors of a group say; those of a load arrive in groups of groups."""
    found: list[str] = []
    for error in group.exceptions:
        found += (
            _reasons(error)
            if isinstance(error, BaseExceptionGroup)
            else [str(error) or type(error).__name__]
        )
    return found
