"""A check is data: what it requires decides whether it is run, and both outputs say what to do."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Final, cast

import pytest
from rich.console import Console

from mizzen_cli.checks.catalogue import AFTER, BEFORE
from mizzen_cli.checks.run import Check, ClusterView, Result, run_checks
from mizzen_cli.checks.show import show_json, show_text
from mizzen_cli.wait import Verdict, verdict_of
from mizzen_operator.kube.client import ApiError
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.unit

# The checks of these tests look at nothing.
_NOWHERE: Final = cast("ClusterView", None)


def check(name: str, said: str | Exception = "", *, warns: bool = False, **more: object) -> Check:
    """A check that finds something or nothing."""

    async def look(_view: ClusterView) -> str:
        if isinstance(said, Exception):
            raise said
        return said

    found = cast("Callable[[ClusterView], Awaitable[str]]", look)
    requires = cast("tuple[str, ...]", more.get("requires", ()))
    return Check(
        id=name,
        proves=f"{name} holds",
        remedy="Do something.",
        look=found,
        is_warning=warns,
        requires=requires,
    )


async def states(*checks: Check) -> list[str]:
    """What becomes of checks."""
    return [result.state for result in await run_checks(checks, _NOWHERE)]


async def test_what_is_wrong_fails_or_warns() -> None:
    """A warning is for what the mesh works without."""
    assert await states(check("a"), check("b", "wrong"), check("c", "wrong", warns=True)) == [
        "passed",
        "failed",
        "warning",
    ]


async def test_a_check_without_what_it_requires_is_skipped() -> None:
    """Also where that was itself skipped; a warning is no hindrance."""
    found = await states(
        check("a", "wrong"),
        check("b", requires=("a",)),
        check("c", requires=("b",)),
        check("d", "wrong", warns=True),
        check("e", requires=("d",)),
    )
    assert found == ["failed", "skipped", "skipped", "warning", "passed"]


async def test_an_api_server_that_refuses_is_a_finding() -> None:
    """The server's own words are the message."""
    (result,) = await run_checks((check("a", ApiError(403, "Forbidden", "not you")),), _NOWHERE)
    assert (result.state, result.message) == ("failed", "403 Forbidden: not you")


def test_what_to_do_is_said_where_there_is_something_to_do() -> None:
    """JSON has the remedy and the page for what failed, and nothing of them for what passed."""
    failed = Result(check=check("a"), state="failed", message="wrong").document()
    assert failed["remedy"] == "Do something."
    assert set(Result(check=check("a"), state="passed").document()) == {"id", "state", "proves"}


_SHOWN: Final = """\
✓ a holds
✗ b holds
    wrong
    ➜ Do something.
    see docs/kubernetes.md
! c holds
    odd
    ➜ Do something.
    see docs/kubernetes.md
- d holds
    needs b
1 passed, 1 warning, 1 failed, 1 skipped
"""


async def test_people_and_scripts_are_shown_the_same() -> None:
    """A line for each check; below it what is wrong, what to do, and where that is explained."""
    results = await run_checks(
        (
            check("a"),
            check("b", "wrong"),
            check("c", "odd", warns=True),
            check("d", requires=("b",)),
        ),
        _NOWHERE,
    )
    printed = io.StringIO()
    show_text(results, Console(file=printed, width=200))
    assert printed.getvalue() == _SHOWN
    assert [(one["id"], one["state"]) for one in json.loads(show_json(results))] == [
        ("a", "passed"),
        ("b", "failed"),
        ("c", "warning"),
        ("d", "skipped"),
    ]


def test_the_catalogue_is_sound() -> None:
    """Ids are unique, requirements exist and stand before, remedies are sentences, pages are there."""
    known: set[str] = set()
    for each in (*BEFORE, *AFTER):
        assert each.id not in known
        assert set(each.requires) <= known
        assert each.remedy.endswith(".")
        assert (ROOT / each.link).exists()
        known.add(each.id)


def conditions(generation: int = 2, **told: tuple[str, str, str]) -> dict[str, object]:
    """An object of generation 2 whose conditions say something of some generation."""
    listed = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
        }
        for kind, (status, reason, message) in told.items()
    ]
    return {"metadata": {"generation": 2}, "status": {"conditions": listed}}


_ACCEPTED: Final = ("True", "Accepted", "")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ({"metadata": {"generation": 1}}, None),
        (conditions(1, Accepted=_ACCEPTED, Live=("True", "Live", "live on 2 of 2 proxies")), None),
        (conditions(Accepted=_ACCEPTED, Live=("True", "Live", "live on 2 of 2 proxies")), True),
        (conditions(Accepted=_ACCEPTED, Live=("True", "NoProxies", "concerns no proxy")), True),
        (conditions(Accepted=_ACCEPTED, Live=("False", "Pending", "live on 1 of 2 proxies")), None),
        (conditions(Accepted=_ACCEPTED, Live=("False", "Rejected", "Envoy rejected it")), False),
        (conditions(Accepted=("False", "Invalid", "MZ0103")), False),
        (conditions(Accepted=("False", "RefNotFound", "MZ0301")), None),
    ],
)
def test_waiting_ends_where_it_is_decided(
    found: dict[str, object], *, verdict: bool | None
) -> None:
    """What an older generation was told counts for nothing; what cannot become live ends it."""
    decided = verdict_of(found)
    assert isinstance(decided, Verdict)
    assert decided.is_live is verdict
    assert decided.message
