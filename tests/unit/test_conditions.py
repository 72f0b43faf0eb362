"""What stands on an object follows from what is wrong with it and who has acknowledged it."""

from __future__ import annotations

import pytest

from mizzen.conditions import Condition, Liveness, conditions
from mizzen.diagnostics import (
    INVALID_FIELD,
    REJECTED,
    UNKNOWN_FIELD,
    UNKNOWN_HOST,
    Code,
    Diagnostic,
)


def _finding(code: Code, message: str = "is wrong") -> Diagnostic:
    return Diagnostic(code=code, object=None, path="spec.x", message=message)


def _told(condition: Condition) -> tuple[bool, str, str]:
    return condition.status, condition.reason, condition.message


REMEDY = REJECTED.remedy


@pytest.mark.parametrize(
    ("liveness", "told"),
    [
        (Liveness(), (True, "NoProxies", "concerns no proxy")),
        (Liveness(live=2, of=2), (True, "Live", "live on 2 of 2 proxies")),
        (Liveness(live=1, of=2), (False, "Pending", "live on 1 of 2 proxies")),
        (
            Liveness(live=0, of=2, rejected=("bad regex",)),
            (
                False,
                "Rejected",
                f"live on 0 of 2 proxies; Envoy rejected it: bad regex. {REMEDY}",
            ),
        ),
        (
            Liveness(live=1, of=2, in_force=False),
            (
                False,
                "NotAccepted",
                "live on 1 of 2 proxies; what is written now is not in force, see Accepted",
            ),
        ),
        (
            Liveness(behind=1),
            (False, "Pending", "live on 0 of 0 proxies; 1 replica has yet to serve it"),
        ),
        (
            Liveness(live=2, of=2, silent=2),
            (False, "Pending", "live on 2 of 2 proxies; 2 replicas have not said how it is"),
        ),
    ],
)
def test_live_counts_the_proxies(liveness: Liveness, told: tuple[bool, str, str]) -> None:
    """Live is true when every proxy that the object concerns has acknowledged it, wherever it is connected."""
    assert _told(conditions([], liveness)[2]) == told


@pytest.mark.parametrize(
    ("liveness", "told"),
    [
        (Liveness(live=0, of=2), (True, "Programmed", "")),
        (Liveness(live=0, of=2, silent=1), (True, "Programmed", "")),
        (Liveness(behind=2), (False, "Pending", "2 replicas have yet to serve it")),
        (Liveness(rejected=("no",)), (False, "Rejected", f"Envoy rejected it: no. {REMEDY}")),
        (
            Liveness(in_force=False),
            (False, "NotAccepted", "what is written now is not in force, see Accepted"),
        ),
    ],
)
def test_programmed_asks_the_replicas(liveness: Liveness, told: tuple[bool, str, str]) -> None:
    """Programmed is true when every replica serves what is written now and no proxy refuses it."""
    assert _told(conditions([], liveness)[1]) == told


def test_an_object_with_nothing_wrong_is_accepted() -> None:
    """There is nothing to say of it."""
    accepted, _, _ = conditions([], Liveness())
    assert _told(accepted) == (True, "Accepted", "")


def test_warnings_stand_on_an_object_that_is_accepted() -> None:
    """They do not keep it from being accepted, but whoever looks at it sees the first of them."""
    accepted, _, _ = conditions([_finding(UNKNOWN_FIELD), _finding(UNKNOWN_FIELD)], Liveness())
    message = f"MZ0105 spec.x: is wrong (and 1 more). {UNKNOWN_FIELD.remedy}"
    assert _told(accepted) == (True, "AcceptedWithWarnings", message)


def test_an_invalid_object_says_where_and_what_to_do() -> None:
    """The first error is told whole, the others are counted, warnings are not."""
    findings = [_finding(UNKNOWN_FIELD), _finding(INVALID_FIELD), _finding(INVALID_FIELD)]
    accepted, _, _ = conditions(findings, Liveness())
    message = f"MZ0103 spec.x: is wrong (and 1 more). {INVALID_FIELD.remedy}"
    assert _told(accepted) == (False, "Invalid", message)


def test_a_missing_reference_has_a_reason_of_its_own() -> None:
    """What is wrong between objects is told apart from what is wrong in one."""
    accepted, _, _ = conditions([_finding(UNKNOWN_HOST)], Liveness())
    assert accepted.reason == "RefNotFound"
