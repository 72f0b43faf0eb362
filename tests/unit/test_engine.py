"""The memo runs what a change touches, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mizzen.engine import CycleError, Database, Fold, Input, Query, query

NUMBER: Input[str, int] = Input("number", 0)
NAMES: Input[str, frozenset[str]] = Input("names", frozenset())
RUNS: list[str] = []


@pytest.fixture(autouse=True)
def _no_runs() -> None:
    RUNS.clear()
    STEPS.clear()


@query
def double(db: Database, key: str) -> int:
    RUNS.append(f"double {key}")
    return 2 * NUMBER(db, key)


@query
def is_large(db: Database, key: str) -> bool:
    RUNS.append(f"is_large {key}")
    return double(db, key) >= 10


@query
def report(db: Database, key: str) -> str:
    RUNS.append(f"report {key}")
    return f"{key} is {'large' if is_large(db, key) else 'small'}"


def test_a_value_is_computed_once() -> None:
    """Pulling twice runs the function once."""
    db = Database()
    assert [double(db, "a"), double(db, "a")] == [0, 0]
    assert RUNS == ["double a"]


def test_a_changed_input_is_seen() -> None:
    """After a commit the value is that of the new input."""
    db = Database()
    assert report(db, "a") == "a is small"
    db.commit([(NUMBER, "a", 7)])
    assert report(db, "a") == "a is large"


def test_an_equal_value_stops_the_wave() -> None:
    """A query whose dependency came out equal is not run again."""
    db = Database()
    db.commit([(NUMBER, "a", 1)])
    report(db, "a")
    RUNS.clear()
    db.commit([(NUMBER, "a", 2)])
    assert report(db, "a") == "a is small"
    assert RUNS == ["double a", "is_large a"]


def test_an_equal_input_is_no_change() -> None:
    """Setting a cell to an equal value dirties nothing."""
    db = Database()
    db.commit([(NUMBER, "a", 1)])
    report(db, "a")
    RUNS.clear()
    assert db.commit([(NUMBER, "a", 1)]) == 2
    report(db, "a")
    assert RUNS == []


def test_other_keys_are_left_alone() -> None:
    """A change of one key runs nothing for another."""
    db = Database()
    report(db, "a")
    report(db, "b")
    RUNS.clear()
    db.commit([(NUMBER, "a", 9)])
    report(db, "b")
    assert RUNS == []


def test_a_change_seen_late_is_still_seen() -> None:
    """A reader that slept through several commits, while its dependency was pulled, catches up."""
    db = Database()
    report(db, "a")
    db.commit([(NUMBER, "a", 9)])
    is_large(db, "a")
    db.commit([(NUMBER, "b", 1)])
    assert report(db, "a") == "a is large"


@query
def chosen(db: Database, key: str) -> int:
    RUNS.append("chosen")
    return double(db, "x") if NUMBER(db, key) else double(db, "y")


def test_dependencies_follow_what_was_read() -> None:
    """What was read only in an earlier run no longer matters, and is dropped."""
    db = Database()
    db.commit([(NUMBER, "k", 1), (NUMBER, "x", 1), (NUMBER, "y", 2)])
    assert chosen(db, "k") == 2
    db.commit([(NUMBER, "k", 0)])
    assert chosen(db, "k") == 4
    RUNS.clear()
    db.commit([(NUMBER, "x", 5)])
    chosen(db, "k")
    assert RUNS == []
    assert len(db) == 5


def test_what_is_forgotten_goes_with_all_that_only_it_read() -> None:
    """Forgetting the last reader empties the memo; set inputs stay, unset ones do not."""
    db = Database()
    db.commit([(NUMBER, "a", 1)])
    report(db, "a")
    report(db, "b")
    db.forget(report, "a")
    db.forget(report, "b")
    db.forget(report, "never asked")
    assert len(db) == 1


def test_what_is_read_by_another_survives_being_forgotten() -> None:
    """A value that something still reads is kept."""
    db = Database()
    report(db, "a")
    is_large(db, "a")
    db.forget(is_large, "a")
    RUNS.clear()
    report(db, "a")
    assert RUNS == []


def test_a_cell_set_back_to_its_default_goes() -> None:
    """Unsetting an input that nobody reads leaves nothing behind."""
    db = Database()
    db.commit([(NUMBER, "a", 1)])
    db.commit([(NUMBER, "a", NUMBER.default)])
    assert len(db) == 0


def test_unsetting_what_was_never_set_leaves_nothing() -> None:
    """A cell that gets its default, or something equal to it, is not kept."""
    db = Database()
    db.commit([(NUMBER, "a", 0), (NAMES, "b", frozenset(set[str]()))])
    assert len(db) == 0
    db.commit([(NAMES, "b", frozenset("x"))])
    db.commit([(NAMES, "b", frozenset(set[str]()))])
    assert len(db) == 0


def test_a_cell_that_is_read_outlives_its_default() -> None:
    """A reader keeps its cell, so that it learns when the cell is set again."""
    db = Database()
    assert double(db, "a") == 0
    db.commit([(NUMBER, "a", 1)])
    db.commit([(NUMBER, "a", 0)])
    assert double(db, "a") == 0
    db.commit([(NUMBER, "a", 4)])
    assert double(db, "a") == 8


@query
def chicken(db: Database, key: str) -> int:
    return egg(db, key)


@query
def egg(db: Database, key: str) -> int:
    return chicken(db, key) if NUMBER(db, key) == 0 else 1


def test_a_cycle_is_an_error_that_names_the_query() -> None:
    """A query that asks for itself is refused, and works once the cycle is gone."""
    db = Database()
    with pytest.raises(CycleError, match="chicken"):
        chicken(db, "k")
    db.commit([(NUMBER, "k", 1)])
    assert chicken(db, "k") == 1


@query
def picky(db: Database, key: str) -> int:
    value = double(db, key)
    if value > 10:
        raise ValueError(key)
    return value


def test_a_failing_query_is_run_again_after_the_next_change() -> None:
    """An exception leaves no stale value behind."""
    db = Database()
    assert picky(db, "a") == 0
    db.commit([(NUMBER, "a", 6)])
    for _ in range(2):
        with pytest.raises(ValueError, match="a"):
            picky(db, "a")
    db.commit([(NUMBER, "a", 2)])
    assert picky(db, "a") == 4


def test_the_inputs_of_a_value_are_known() -> None:
    """Provenance by reading: every cell that a value was made from."""
    db = Database()
    assert db.inputs_of(report, "a") == {("number", "a")}


@query
def difference(db: Database, key: str) -> int:
    return double(db, key) - is_large(db, key) - NUMBER(db, key)


def test_an_input_that_is_read_by_two_ways_is_named_once() -> None:
    """Provenance is a set, however many queries stand between."""
    db = Database()
    assert db.inputs_of(difference, "a") == {("number", "a")}


@query
def names(db: Database, key: str) -> frozenset[str]:
    RUNS.append("names")
    return NAMES(db, key)


@query
def member(db: Database, key: tuple[str, str]) -> int:
    RUNS.append(f"member {key[1]}")
    return double(db, key[1]) // 4


STEPS: list[set[str]] = []


def _step(total: int, changes: Mapping[str, tuple[int | None, int | None]]) -> int:
    STEPS.append(set(changes))
    return total + sum((new or 0) - (old or 0) for old, new in changes.values())


TOTAL: Fold[str, str, int, int] = Fold("total", names, member, 0, _step)


@query
def doubled_total(db: Database, key: str) -> int:
    RUNS.append("doubled_total")
    return 2 * TOTAL(db, key)


def _three() -> Database:
    db = Database()
    changes = [(NUMBER, name, value) for name, value in (("a", 2), ("b", 4), ("c", 6))]
    db.commit([*changes, (NAMES, "all", frozenset("abc"))])
    assert doubled_total(db, "all") == 12
    STEPS.clear()
    RUNS.clear()
    return db


def test_a_fold_is_updated_from_the_changed_member_alone() -> None:
    """One changed member of three is one step with that member."""
    db = _three()
    db.commit([(NUMBER, "b", 8)])
    assert doubled_total(db, "all") == 16
    assert STEPS == [{"b"}]
    assert "member a" not in RUNS


def test_a_fold_whose_members_came_out_equal_is_unchanged() -> None:
    """Equality stops the wave at the member; readers of the fold do not run."""
    db = _three()
    db.commit([(NUMBER, "b", 5)])
    assert doubled_total(db, "all") == 12
    assert STEPS == []
    assert "doubled_total" not in RUNS


def test_members_come_and_go() -> None:
    """A fold follows its set of keys; what it lost is forgotten, even when that changed at once."""
    db = _three()
    size = len(db)
    db.commit([(NAMES, "all", frozenset("abd")), (NUMBER, "d", 10), (NUMBER, "c", 60)])
    assert doubled_total(db, "all") == 2 * (1 + 2 + 5)
    assert STEPS == [{"c", "d"}]
    assert len(db) == size + 1
    db.commit([(NAMES, "all", frozenset())])
    assert TOTAL(db, "all") == 0


def test_an_empty_fold_is_its_start() -> None:
    """No members, no steps."""
    assert TOTAL(Database(), "none") == 0
    assert STEPS == []


def test_a_member_that_goes_keeps_what_others_read() -> None:
    """A lost member's own dependencies stay where another member reads them too."""
    db = _three()
    double(db, "a")
    db.commit([(NAMES, "all", frozenset("bc"))])
    assert doubled_total(db, "all") == 2 * (2 + 3)
    db.commit([(NUMBER, "a", 50)])
    assert double(db, "a") == 100


FOLLOWED: Input[str, str] = Input("followed", "")


@query
def following(db: Database, key: tuple[str, str]) -> int:
    followed = FOLLOWED(db, key[1])
    return following(db, (key[0], followed)) if followed else NUMBER(db, key[1])


FOLLOWING: Fold[str, str, int, int] = Fold("following", names, following, 0, _step)


@pytest.mark.parametrize("seed", range(8))
def test_a_member_that_another_one_read_before_joins_for_good(seed: int) -> None:
    """A value that was read by a member, and becomes one while that one stops reading it, is followed."""
    db = Database()
    others = [f"{seed}-{number}" for number in range(4)]
    db.commit([(FOLLOWED, o, "x") for o in others])
    db.commit([(NUMBER, "x", 1), (NAMES, "all", frozenset(others))])
    assert FOLLOWING(db, "all") == 4
    db.commit([(FOLLOWED, o, "") for o in others])
    db.commit([(NAMES, "all", frozenset([*others, "x"]))])
    assert FOLLOWING(db, "all") == 1
    db.commit([(NUMBER, "x", 5)])
    assert FOLLOWING(db, "all") == 5


BAD: Input[str, bool] = Input("bad", default=False)


@query
def fussy(db: Database, key: tuple[str, str]) -> int:
    if BAD(db, key[1]):
        raise ValueError(key[1])
    return NUMBER(db, key[1])


FUSSY: Fold[str, str, int, int] = Fold("fussy", names, fussy, 0, _step)


def test_a_fold_recovers_from_a_failing_member() -> None:
    """A member that failed when it came, and is gone by the next pull, leaves no trace in the sum."""
    db = Database()
    db.commit([(NUMBER, "a", 1), (NUMBER, "b", 2), (BAD, "b", True)])
    db.commit([(NAMES, "all", frozenset("a"))])
    assert FUSSY(db, "all") == 1
    db.commit([(NAMES, "all", frozenset("ab"))])
    with pytest.raises(ValueError, match="b"):
        FUSSY(db, "all")
    db.commit([(NAMES, "all", frozenset("a")), (BAD, "b", False), (NUMBER, "a", 3)])
    assert FUSSY(db, "all") == 3
    db.commit([(NAMES, "all", frozenset("ab"))])
    assert FUSSY(db, "all") == 5


def test_a_fold_can_be_forgotten() -> None:
    """Its members go with it."""
    db = Database()
    db.commit([(NAMES, "all", frozenset("a"))])
    TOTAL(db, "all")
    db.forget(TOTAL, "all")
    assert len(db) == 1


def test_queries_know_their_names() -> None:
    """The name is for messages."""
    assert isinstance(report, Query)
    assert report.name == "report"


@query
def one_of_many(db: Database, key: tuple[str, int]) -> int:
    name, number = key
    return double(db, name) + number


def test_a_value_with_many_readers_reaches_them_all_and_lets_go_of_each() -> None:
    """However many read a value, each sees its changes, and it goes with the last of them."""
    db = Database()
    keys = [("a", number) for number in range(9)]
    for key in keys:
        one_of_many(db, key)
    db.commit([(NUMBER, "a", 5)])
    assert [one_of_many(db, key) for key in keys] == [10 + number for number in range(9)]
    for key in keys:
        db.forget(one_of_many, key)
    assert len(db) == 1


@query
def squared(db: Database, key: str) -> int:
    return double(db, key) * double(db, key)


def test_what_is_read_twice_is_one_dependency() -> None:
    """Reading a value again in the same run costs and records nothing."""
    db = Database()
    db.commit([(NUMBER, "a", 2)])
    assert squared(db, "a") == 16
    assert RUNS == ["double a"]


@query
def first_member(db: Database, key: str) -> int:
    return member(db, ("all", key))


def test_a_member_that_somebody_reads_already_joins_without_being_made_again() -> None:
    """What is known of a new member when it joins is taken as it is."""
    db = _three()
    db.commit([(NUMBER, "d", 3)])
    assert first_member(db, "d") == 1
    RUNS.clear()
    db.commit([(NAMES, "all", frozenset("abcd"))])
    assert doubled_total(db, "all") == 14
    assert "member d" not in RUNS
