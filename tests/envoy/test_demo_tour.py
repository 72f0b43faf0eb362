"""The whole demo, run as a command by root and by ordinary users: every promise holds, nothing is left."""

from __future__ import annotations

import re

import pytest

from mizzen_cli.demo.tour import STEPS
from tests.support.demo_run import DemoRun, User, users


@pytest.mark.parametrize("user", users(), ids=str)
def test_the_tour_holds(user: User) -> None:
    """Exit code 0, a verdict for each of the thirteen steps, and a last line that sums them up."""
    with DemoRun(user=user) as run:
        code = run.end()
    assert code == 0, run.text
    assert _verdicts(run.text) == [(step.title, "holds") for step in STEPS], run.text
    assert "13 of 13 promises held" in run.text
    assert "✗" not in run.text
    assert (" mark " in run.text) == (user.uid is not None and not user.spare_uids)


def test_one_step_can_be_taken_alone() -> None:
    """The others are not taken, and the number is the one it has in the tour."""
    with DemoRun("--only", "access") as run:
        code = run.end()
    assert code == 0, run.text
    assert _verdicts(run.text) == [("Who may and who may not", "holds")]
    assert "4. Who may and who may not" in run.text


def _verdicts(text: str) -> list[tuple[str, str]]:
    """Return the steps and their verdicts, in the order in which they were shown."""
    found: list[tuple[str, str]] = []
    title = ""
    for line in text.splitlines():
        if heading := re.match(r"\d+\. (.+?) ─+$", line):
            title = heading[1]
        elif verdict := re.match(r"    (holds|DOES NOT HOLD)  [\d.]+ s", line):
            found.append((title, verdict[1]))
    return found
