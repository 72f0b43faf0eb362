"""The tour as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from mizzen_cli.demo.proxies import AskError
from mizzen_cli.demo.stage import Measured, NeverError
from mizzen_cli.demo.tour import STEPS, Outcome, Step, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen_cli.demo.stage import Note, Stage

_NO_STAGE = cast("Stage", None)  # the steps below look at nothing
_GOOD = Measured(what="a", value="1")
_BAD = Measured(what="b", value="2", holds=False, expected="3")


def test_there_are_thirteen_promises_with_names_of_their_own() -> None:
    """A step's id is how scripts and people speak of it."""
    assert len(STEPS) == 13
    assert len({step.id for step in STEPS}) == 13
    assert all(step.proves.endswith(".") for step in STEPS)


async def test_what_never_came_is_a_finding_that_does_not_hold() -> None:
    """A step that waits in vain fails its promise, keeps what it found before, and the tour goes on."""

    async def waits_in_vain(_stage: Stage, note: Note) -> None:
        note(_GOOD)
        raise NeverError("not within 20 s: spring")

    outcome = await take(_step(waits_in_vain), _NO_STAGE, lambda _found: None)
    assert not outcome.holds
    assert [found.value for found in outcome.measured] == ["1", "not within 20 s: spring"]


async def test_what_goes_wrong_under_load_is_such_a_finding_too() -> None:
    """Errors out of groups of tasks come in groups of groups."""

    async def fails_under_load(_stage: Stage, _note: Note) -> None:
        inner = ExceptionGroup("load", [AskError("nobody answers")])
        raise ExceptionGroup("load", [inner, NeverError("never")])

    outcome = await take(_step(fails_under_load), _NO_STAGE, lambda _found: None)
    assert [found.value for found in outcome.measured] == ["nobody answers; never"]


async def test_findings_are_told_as_they_come() -> None:
    """Who watches sees each one before the step goes on."""
    told: list[Measured] = []

    async def finds(_stage: Stage, note: Note) -> None:
        note(_GOOD)
        assert told == [_GOOD]
        note(_BAD)

    outcome = await take(_step(finds), _NO_STAGE, told.append)
    assert outcome.measured == (_GOOD, _BAD) == tuple(told)


def test_a_promise_holds_when_everything_measured_does() -> None:
    """One finding that does not hold is enough against it, and so is none at all."""

    async def finds_nothing(_stage: Stage, _note: Note) -> None:
        """Never called."""

    step = _step(finds_nothing)
    assert Outcome(step=step, measured=(_GOOD,), seconds=0).holds
    assert not Outcome(step=step, measured=(_GOOD, _BAD), seconds=0).holds
    assert not Outcome(step=step, measured=(), seconds=0).holds


def _step(run: Callable[[Stage, Note], Awaitable[None]]) -> Step:
    return Step(id="one", title="One", proves="It is.", run=run)
