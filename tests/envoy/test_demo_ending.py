"""Ctrl-C and SIGTERM clean everything up, in whatever state the demo is."""

from __future__ import annotations

import re
import signal
from itertools import cycle
from typing import Final

import pytest

from mizzen_cli.demo.tour import STEPS, Step
from tests.support.demo_run import DemoRun, User, users

_CODES: Final = {signal.SIGINT: 130, signal.SIGTERM: 143}


# What is said last before the networks, the applications, the control plane, the Envoys are started.
@pytest.mark.parametrize("number", _CODES, ids=lambda number: number.name)
@pytest.mark.parametrize("said", ["Mizzen: a mesh", "networks", "applications", "control plane"])
def test_it_ends_while_it_starts(said: str, number: signal.Signals) -> None:
    """The exit code is the one that shells give a command that a signal has ended."""
    with DemoRun() as run:
        run.until(said)
        run.signal(number)
        assert run.end() == _CODES[number], run.text
    assert "nothing is left behind" in run.text


@pytest.mark.parametrize(
    ("number", "step"),
    list(zip(cycle(_CODES), STEPS, strict=False)),
    ids=lambda value: value.id if isinstance(value, Step) else value.name,
)
def test_it_ends_in_each_step(number: signal.Signals, step: Step) -> None:
    """Before anything was measured in half of the steps, in the middle of the other half."""
    with DemoRun("--only", step.id) as run:
        run.until(step.title)
        if number is signal.SIGTERM:
            run.until("✓")
        run.signal(number)
        assert run.end() == _CODES[number], run.text
    assert "nothing is left behind" in run.text


@pytest.mark.parametrize("number", _CODES, ids=lambda number: number.name)
def test_it_stays_until_it_is_told_to_end(number: signal.Signals) -> None:
    """Then the exit code is the tour's, and until then it says what to try and where to edit."""
    with DemoRun("--stay", "--only", "identity") as run:
        run.until("canary.yaml")
        run.signal(number)
        assert run.end() == 0, run.text
    assert "curl http://127.0.0.1:" in run.text
    assert "nothing is left behind" in run.text


def test_a_sample_is_shown_without_a_tour() -> None:
    """The shop with the sample's rules in place of its own, and what the sample's README says."""
    with DemoRun("--sample", "samples/direct-response") as run:
        run.until("routes.yaml")
        run.signal(signal.SIGINT)
        assert run.end() == 0, run.text
    assert "promises" not in run.text
    assert re.search(r"curl http://127\.0\.0\.1:\d+/ledger/accounts", run.text)


def test_impatience_does_no_harm() -> None:
    """Ctrl-C again, while it cleans up."""
    with DemoRun() as run:
        run.until("open at")
        for _ in range(3):
            run.signal(signal.SIGINT)
        assert run.end() == _CODES[signal.SIGINT], run.text


@pytest.mark.parametrize("user", users(), ids=str)
def test_nothing_outlives_it_when_it_is_killed(user: User) -> None:
    """It cannot clean up then; what it has started does."""
    with DemoRun(user=user) as run:
        run.until("open at")
        run.signal(signal.SIGKILL)
        assert run.end() == -signal.SIGKILL


def test_it_ends_before_it_has_begun() -> None:
    """A signal that comes while Python starts leaves nothing either; what the code is, Python says."""
    with DemoRun() as run:
        run.signal(signal.SIGINT)
        assert run.end() != 0
