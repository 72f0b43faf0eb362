"""The tour as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mizzen_cli.demo.stage import Measured, NeverError
from mizzen_cli.demo.tour import STEPS, Outcome, Step, take

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage

_NO_STAGE = cast("Stage", None)  # the steps below look at nothing


def test_there_are_eight_promises_with_names_of_their_own() -> None:
    """A step's id is how scripts and people speak of it."""
    assert len(STEPS) == 8
    assert len({step.id for step in STEPS}) == 8


async def test_what_never_came_is_a_finding_that_does_not_hold() -> None:
    """A step that waits in vain fails its promise, and the tour goes on."""

    async def waits_in_vain(_stage: Stage) -> tuple[Measured, ...]:
        raise NeverError("not within 20 s: spring")

    outcome = await take(Step(id="vain", title="Vain", run=waits_in_vain), _NO_STAGE)
    assert not outcome.holds
    assert outcome.measured[0].value == "not within 20 s: spring"


async def test_a_promise_holds_when_everything_measured_does() -> None:
    """One finding that does not hold is enough against it, and so is none at all."""
    good, bad = Measured(what="a", value="1"), Measured(what="b", value="2", holds=False)

    async def finds_good(_stage: Stage) -> tuple[Measured, ...]:
        return (good,)

    step = Step(id="good", title="Good", run=finds_good)
    assert (await take(step, _NO_STAGE)).holds
    assert not Outcome(step=step, measured=(good, bad), seconds=0).holds
    assert not Outcome(step=step, measured=(), seconds=0).holds
