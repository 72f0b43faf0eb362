"""The rotation's machine: what is due when, from slots and a clock alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mizzen_certs import CaPolicy
from mizzen_certs.rotation import (
    Slot,
    Slots,
    Step,
    activate_issuer,
    activate_root,
    drop_roots,
    due_step,
    next_due,
    prepare_issuer,
    prepare_root,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
POLICY = CaPolicy(root_ttl=100 * DAY, issuer_ttl=30 * DAY)


def _slot(name: str, by: str, made: datetime, life: timedelta) -> Slot:
    return Slot(key_id=name, signed_by=by, prepared_at=made, not_after=made + life)


def _root(name: str, made: datetime = START) -> Slot:
    return _slot(name, name, made, POLICY.root_ttl)


def _issuer(name: str, by: str, made: datetime = START) -> Slot:
    return _slot(name, by, made, POLICY.issuer_ttl)


FRESH = Slots(root=_root("a"), issuer=_issuer("i", "a"))


def test_nothing_is_due_at_first_and_the_issuers_half_life_comes_next() -> None:
    assert due_step(FRESH, START, POLICY) is None
    assert next_due(FRESH, POLICY) == START + 15 * DAY


def test_an_issuers_successor_is_prepared_at_half_life_and_not_before() -> None:
    assert due_step(FRESH, START + 15 * DAY - INSTANT, POLICY) is None
    assert due_step(FRESH, START + 15 * DAY, POLICY) is Step.PREPARE_ISSUER


def test_an_issuers_successor_signs_from_the_last_sixth_on() -> None:
    slots = prepare_issuer(FRESH, _issuer("j", "a", START + 15 * DAY))
    assert due_step(slots, START + 25 * DAY - INSTANT, POLICY) is None
    assert due_step(slots, START + 25 * DAY, POLICY) is Step.ACTIVATE_ISSUER
    assert activate_issuer(slots).issuer.key_id == "j"
    assert activate_issuer(slots).next_issuer is None


def test_an_issuer_hands_over_while_it_can_still_give_whole_lives() -> None:
    policy = replace(POLICY, issuer_ttl=2 * DAY)
    issuer = _slot("i", "a", START, 2 * DAY)
    slots = replace(FRESH, issuer=issuer, next_issuer=_issuer("j", "a", START + DAY))
    assert next_due(slots, policy) == START + DAY


def test_an_issuer_that_reaches_its_roots_end_waits_for_the_next_root() -> None:
    slots = replace(FRESH, issuer=_slot("i", "a", START + 80 * DAY, 20 * DAY))
    slots = prepare_root(slots, _root("b", START + 98 * DAY))
    assert due_step(slots, START + 98 * DAY, POLICY) is None


def test_a_roots_successor_is_prepared_at_half_life() -> None:
    slots = replace(FRESH, issuer=_issuer("i", "a", START + 49 * DAY))
    assert due_step(slots, START + 50 * DAY - INSTANT, POLICY) is None
    assert due_step(slots, START + 50 * DAY, POLICY) is Step.PREPARE_ROOT


def test_a_policy_that_was_made_shorter_counts_for_the_root_that_is_there() -> None:
    shorter = replace(POLICY, root_ttl=POLICY.root_ttl / 2)
    at = START + shorter.root_ttl / 2
    slots = replace(FRESH, issuer=_issuer("i", "a", at - INSTANT))
    assert due_step(slots, at - INSTANT, shorter) is None
    assert due_step(slots, at, shorter) is Step.PREPARE_ROOT


def test_a_prepared_root_is_trusted_at_once_and_signs_an_overlap_later() -> None:
    slots = prepare_root(FRESH, _root("b", START + 2 * DAY))
    assert [slot.key_id for slot in slots.trusted] == ["a", "b"]
    assert due_step(slots, START + 3 * DAY - INSTANT, POLICY) is None
    assert due_step(slots, START + 3 * DAY, POLICY) is Step.ACTIVATE_ROOT


def test_a_root_prepared_late_signs_before_the_old_one_leaves_half_a_life() -> None:
    made = START + 100 * DAY - timedelta(hours=20)
    slots = prepare_root(FRESH, _root("b", made))
    slots = replace(slots, issuer=_slot("i", "a", START + 80 * DAY, 20 * DAY))
    assert next_due(slots, POLICY) == START + 100 * DAY - timedelta(hours=12)


def _switched(now: datetime) -> Slots:
    slots = prepare_issuer(prepare_root(FRESH, _root("b", now - DAY)), _issuer("j", "a", now))
    return activate_root(slots, now, POLICY)


def test_a_new_root_brings_a_new_issuer_at_once() -> None:
    now = START + 10 * DAY
    slots = _switched(now)
    assert slots.next_issuer is None
    assert due_step(slots, now, POLICY) is Step.PREPARE_ISSUER
    slots = prepare_issuer(slots, _issuer("k", "b", now))
    assert due_step(slots, now, POLICY) is Step.ACTIVATE_ISSUER
    assert due_step(activate_issuer(slots), now, POLICY) is None


def test_an_old_root_is_trusted_an_overlap_longer_than_its_last_certificate_lives() -> None:
    now = START + 10 * DAY
    slots = replace(_switched(now), issuer=_issuer("k", "b", now))
    assert [slot.key_id for slot in slots.trusted] == ["a", "b"]
    dropped = now + POLICY.svid_ttl + POLICY.overlap
    assert due_step(slots, dropped - INSTANT, POLICY) is None
    assert due_step(slots, dropped, POLICY) is Step.DROP_ROOT
    assert drop_roots(slots, dropped - INSTANT) == slots
    assert [slot.key_id for slot in drop_roots(slots, dropped).trusted] == ["b"]


def test_a_roots_last_certificate_does_not_outlive_the_root() -> None:
    slots = prepare_root(FRESH, _root("b"))
    end = START + 100 * DAY
    old = activate_root(slots, end - timedelta(hours=1), POLICY).retired[0]
    assert old.drop_at == end + POLICY.overlap


def test_only_signing_slots_keep_keys() -> None:
    slots = _switched(START + 10 * DAY)
    assert [slot.key_id for slot in slots.signing] == ["b", "i"]
    slots = prepare_issuer(prepare_root(FRESH, _root("b")), _issuer("j", "a"))
    assert [slot.key_id for slot in slots.signing] == ["a", "i", "b", "j"]


def test_nothing_is_activated_that_was_not_prepared() -> None:
    with pytest.raises(ValueError, match="no root was prepared"):
        activate_root(FRESH, START, POLICY)
    with pytest.raises(ValueError, match="no issuer was prepared"):
        activate_issuer(FRESH)
