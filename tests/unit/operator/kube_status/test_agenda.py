"""What is written when: a change costs a write or two, and what is in passing costs none."""

from __future__ import annotations

from typing import Final

import pytest

from mizzen.conditions import Condition, Liveness, conditions
from mizzen.diagnostics import EMPTY_SUBSET, UNKNOWN_HOST, Diagnostic
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube_status.agenda import Agenda
from mizzen_operator.kube_status.budget import Budget
from mizzen_operator.kube_status.said import State

KEY: Final = ObjectKey(DEFAULT_REGISTRY, "VirtualService", "shop", "reviews")
OTHERS: Final = tuple(
    ObjectKey(DEFAULT_REGISTRY, "VirtualService", "shop", f"vs{n}") for n in range(120)
)

Stand = tuple[Condition, ...]


def _stand(live: int, of: int, *found: Diagnostic, rejected: tuple[str, ...] = ()) -> Stand:
    return conditions(found, Liveness(live=live, of=of, rejected=rejected))


class Run:
    """An agenda, and what it would have written, with when."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        self.writes: list[tuple[float, str]] = []
        self.now_s = 0.0

    def look(self, at_s: float, stand: Stand, version: str = "u/1") -> None:
        """Look at the object at a time, and write what is to be written."""
        self.now_s = at_s
        if KEY not in self.agenda.due([KEY], at_s):
            return
        said = State.of(version, stand)
        if self.agenda.wants(KEY, said, stand, at_s):
            self.agenda.wrote(KEY, said, stand, at_s)
            self.writes.append((at_s, stand[2].message))


def test_a_change_that_is_live_at_once_is_one_write() -> None:
    """It is written at the first look, and never again."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    for tick in range(100):
        run.look(tick * 0.2, _stand(5, 5))
    assert run.writes == [(0.0, "live on 5 of 5 proxies")]
    assert run.agenda.in_motion == 0


def test_a_change_that_takes_a_moment_is_one_write() -> None:
    """What is pending for less than a second is not told of."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    for tick in range(20):
        run.look(tick * 0.2, _stand(min(5, tick), 5))
    assert run.writes == [(1.0, "live on 5 of 5 proxies")]


def test_a_change_that_takes_long_is_two_writes() -> None:
    """It is pending after a second and live in the end; what lies between is not worth a write."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    for tick in range(150):
        run.look(tick * 0.2, _stand(min(5, tick // 20), 5))
    assert [text for _, text in run.writes] == ["live on 0 of 5 proxies", "live on 5 of 5 proxies"]


def test_what_hangs_is_told_of_rarely() -> None:
    """An hour of creeping forward is a write each half minute at most."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    for second in range(3600):
        run.look(float(second), _stand(second, 10_000))
    assert len(run.writes) <= 3600 / 30 + 1
    assert run.agenda.in_motion == 1


def test_a_dip_in_passing_is_no_write() -> None:
    """A proxy that connects is behind for a moment, of which nobody has to be told."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    run.look(0.0, _stand(5, 5))
    for second in range(1, 30):
        run.look(float(second), _stand(5, 6 if 10 <= second < 15 else 5))
    assert len(run.writes) == 1


def test_a_count_that_stays_another_one_is_written() -> None:
    """Once it has held for a while."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    for second in range(60):
        run.look(float(second), _stand(5, 5) if second < 20 else _stand(6, 6))
    assert [text for _, text in run.writes] == ["live on 5 of 5 proxies", "live on 6 of 6 proxies"]
    assert run.writes[1][0] >= 30


def test_what_stands_there_is_not_written_again() -> None:
    """A replica that takes over knows what stands there, and writes only what is not so."""
    run = Run()
    run.agenda.remember(KEY, State.of("u/1", _stand(5, 5)))
    for second in range(30):
        run.look(float(second), _stand(5, 5))
    assert run.writes == []
    run.agenda.forget_all()
    run.agenda.remember(KEY, State.of("u/1", _stand(5, 5)))
    run.look(31.0, _stand(5, 5), version="u/2")
    assert len(run.writes) == 1


def test_a_warning_that_comes_by_itself_must_hold_for_a_while() -> None:
    """Subsets without endpoints come and go with every rollout."""
    run = Run()
    run.agenda.remember(KEY, State.of("u/1", _stand(5, 5)))
    warning = Diagnostic(code=EMPTY_SUBSET, object=KEY, path="", message="v2 selects nothing")
    for second in range(60):
        if second in (5, 10, 30):
            run.agenda.doubted([KEY], float(second))
        is_wrong = 5 <= second < 10 or second >= 30
        run.look(float(second), _stand(5, 5, *([warning] if is_wrong else [])))
    assert [at for at, _ in run.writes] == [40.0]


def test_a_missing_reference_may_be_on_its_way() -> None:
    """It is told of after a moment, and is not looked at for ever."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    missing = Diagnostic(code=UNKNOWN_HOST, object=KEY, path="", message="x is not known")
    for tick in range(20):
        run.look(tick * 0.2, _stand(5, 5, missing))
    assert [at for at, _ in run.writes] == [1.0]
    assert run.agenda.in_motion == 0


def test_a_refusal_is_told_of_at_once() -> None:
    """Nothing that time brings mends it."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    run.look(0.0, _stand(0, 5, rejected=("no",)))
    assert len(run.writes) == 1


def test_everything_has_its_turn() -> None:
    """The round goes through all objects, a few at a time."""
    agenda = Agenda()
    for key in OTHERS:
        agenda.remember(key, State.of("u/1", _stand(1, 1)))
    asked = [agenda.due(OTHERS, float(second)) for second in range(3)]
    assert [len(one) for one in asked] == [50, 50, 20]
    assert {key for one in asked for key in one} == set(OTHERS)


def test_what_a_person_changed_goes_first_and_is_not_kept_waiting() -> None:
    """The round goes on beside it, but slowly; and of very many changes some go first."""
    agenda = Agenda()
    agenda.changed([KEY], 0.0)
    asked = agenda.due([KEY, *OTHERS], 0.0)
    assert (asked[0], len(asked)) == (KEY, 6)
    agenda.changed(OTHERS, 1.0)
    assert len(agenda.due([KEY, *OTHERS], 1.0)) == 25


def test_what_is_gone_is_forgotten() -> None:
    """An object that is no more is neither asked about nor kept."""
    agenda = Agenda()
    agenda.changed([KEY], 0.0)
    assert agenda.due([], 0.0) == ()
    assert agenda.in_motion == 0


def test_what_is_refused_by_the_server_waits_and_is_in_nobodys_way() -> None:
    """It is tried again after a minute."""
    run = Run()
    run.agenda.changed([KEY], 0.0)
    stand = _stand(1, 1)
    assert run.agenda.due([KEY], 0.0) == (KEY,)
    assert run.agenda.wants(KEY, State.of("u/1", stand), stand, 0.0)
    run.agenda.refused(KEY, 0.0)
    assert run.agenda.due([KEY], 59.0) == ()
    assert run.agenda.due([KEY], 60.0) == (KEY,)


@pytest.mark.parametrize("urgent", [True, False])
def test_a_budget_is_never_overdrawn(*, urgent: bool) -> None:
    """However often it is asked, it gives four a second after the first five."""
    budget = Budget(per_second=4.0, most=5.0)
    given = [tick / 100 for tick in range(1000) if budget.take(tick / 100, urgent=urgent)]
    assert len(given) <= 4 * 10 + 5
    assert len(given) >= 4 * 10 - 1


def test_what_nobody_waits_for_leaves_some_for_what_somebody_does() -> None:
    """Those who wait never find the purse empty because of those who do not."""
    budget = Budget(per_second=4.0, most=5.0)
    while budget.take(0.0, urgent=False):
        pass
    assert [budget.take(0.0, urgent=True) for _ in range(4)] == [True, True, True, False]
    budget.give_back()
    assert budget.take(0.0, urgent=True)
