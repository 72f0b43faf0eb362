"""The authority keeps its keys over restarts, rotates them in time, and survives its store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import pytest
from cryptography import x509
from typing_extensions import override

from mizzen.identity import TrustDomain
from mizzen_certs import (
    Authority,
    CaPolicy,
    CertificateRefused,
    FileStore,
    MemoryStore,
    SecretBytes,
    StoreConflict,
    StoreCorrupt,
    StoreError,
    TrustDomainMismatch,
)
from mizzen_certs import ceremony as ceremony_module
from mizzen_certs import issuing as issuing_module
from mizzen_certs.errors import Finding
from mizzen_certs.rotation import Step
from tests.unit.certs.forge import CART, TRUST_DOMAIN, is_trusted, split

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import ManualClock

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
SHORT: Final = CaPolicy(root_ttl=60 * DAY, issuer_ttl=10 * DAY)


def _roots(authority: Authority) -> tuple[bytes, ...]:
    return split(authority.bundle().roots_pem)


class BrokenStore(MemoryStore):
    """Loses its disk when told to."""

    broken = False

    @override
    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        if self.broken:
            raise StoreError("the disk is full")
        super().save(document, replacing=replacing)


class ContestedStore(MemoryStore):
    """Somebody else writes first, as often as told."""

    races = 0

    @override
    def save(self, document: SecretBytes, *, replacing: SecretBytes | None) -> None:
        if self.races:
            self.races -= 1
            raise StoreConflict("changed by another process")
        super().save(document, replacing=replacing)


def test_a_restart_keeps_roots_issuer_and_all_that_was_issued(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = Authority.open(FileStore(tmp_path / "ca"), TRUST_DOMAIN, clock)
    svid = first.issue(CART)
    again = Authority.open(FileStore(tmp_path / "ca"), TRUST_DOMAIN, clock)
    assert again.bundle() == first.bundle()
    assert again.slots == first.slots
    assert split(again.issue(CART).chain_pem)[1] == split(svid.chain_pem)[1]
    assert is_trusted(svid, again.bundle(), clock.now())


def test_another_trust_domains_keys_are_refused_by_name(
    authority: Authority, store: MemoryStore, clock: ManualClock
) -> None:
    with pytest.raises(TrustDomainMismatch, match=r"'shop.example', not 'other.example'"):
        Authority.open(store, TrustDomain("other.example"), clock)


def test_what_is_no_trust_domain_opens_nothing(store: MemoryStore, clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="not a trust domain"):
        Authority.open(store, TrustDomain("Shop/x"), clock)
    assert store.load() is None


def test_an_authority_knows_its_domain_and_policy(authority: Authority) -> None:
    assert authority.trust_domain == TRUST_DOMAIN
    assert authority.policy == CaPolicy()
    assert authority.bundle().trust_domain == TRUST_DOMAIN


def test_a_tick_before_its_time_changes_nothing(authority: Authority, clock: ManualClock) -> None:
    clock.move_to(authority.next_tick() - timedelta(seconds=1))
    assert not authority.tick()


def test_the_issuer_is_replaced_in_two_steps_and_the_bundle_stays(
    authority: Authority, clock: ManualClock
) -> None:
    bundle = authority.bundle()
    clock.move_to(authority.next_tick())
    prepared = authority.tick()
    assert prepared.steps == (Step.PREPARE_ISSUER,)
    assert prepared
    assert not prepared.issuer_changed
    clock.move_to(authority.next_tick())
    activated = authority.tick()
    assert activated.steps == (Step.ACTIVATE_ISSUER,)
    assert activated.issuer_changed
    assert not activated.bundle_changed
    assert authority.bundle() == bundle


def test_the_root_is_replaced_with_an_overlap(store: MemoryStore, clock: ManualClock) -> None:
    authority = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    (old,) = _roots(authority)
    clock.advance(HOUR)
    svid = authority.issue(CART)
    prepared = authority.rotate_root()
    assert (prepared.bundle_changed, prepared.issuer_changed) == (True, False)
    old_too, new = _roots(authority)
    assert old_too == old

    assert authority.next_tick() == clock.now() + SHORT.overlap
    clock.move_to(authority.next_tick())
    last_under_old = authority.issue(CART)
    activated = authority.tick()
    assert activated.steps == (Step.ACTIVATE_ROOT, Step.PREPARE_ISSUER, Step.ACTIVATE_ISSUER)
    assert (activated.bundle_changed, activated.issuer_changed) == (False, True)
    under_new = authority.issue(CART)
    for current in (svid, last_under_old, under_new):
        assert is_trusted(current, authority.bundle(), clock.now())

    clock.move_to(authority.next_tick())
    assert clock.now() >= last_under_old.not_after
    dropped = authority.tick()
    assert dropped.steps == (Step.DROP_ROOT,)
    assert dropped.bundle_changed
    assert _roots(authority) == (new,)


def test_a_second_rotation_of_the_root_waits_for_the_first(
    authority: Authority,
) -> None:
    assert authority.rotate_root()
    assert not authority.rotate_root()
    assert len(_roots(authority)) == 2


def test_roots_can_be_rotated_again_while_an_old_one_is_still_trusted(
    authority: Authority, clock: ManualClock
) -> None:
    authority.rotate_root()
    clock.move_to(authority.next_tick())
    authority.tick()
    authority.rotate_root()
    assert len(_roots(authority)) == 3
    assert authority.bundle().expires_at == clock.now() + authority.policy.root_ttl


def test_the_bundle_lists_roots_oldest_first(authority: Authority, clock: ManualClock) -> None:
    clock.advance(HOUR)
    authority.rotate_root()
    starts = [
        x509.load_pem_x509_certificate(root).not_valid_before_utc for root in _roots(authority)
    ]
    assert starts == sorted(starts)
    assert starts[0] < starts[1]


def test_the_issuer_can_be_replaced_at_once(authority: Authority, clock: ManualClock) -> None:
    old = authority.issue(CART)
    events = authority.rotate_issuer()
    assert events.steps == (Step.PREPARE_ISSUER, Step.ACTIVATE_ISSUER)
    assert split(authority.issue(CART).chain_pem)[1] != split(old.chain_pem)[1]
    assert is_trusted(old, authority.bundle(), clock.now())


def test_a_retired_roots_key_is_not_kept(
    authority: Authority, store: MemoryStore, clock: ManualClock
) -> None:
    authority.rotate_root()
    clock.move_to(authority.next_tick())
    authority.tick()
    stored = store.load()
    assert stored is not None
    assert stored.reveal().count(b"PRIVATE KEY") == 2 * 2  # A root and an issuer, begin and end.
    assert stored.reveal().count(b"BEGIN CERTIFICATE") == 3


def test_an_authority_that_slept_past_every_end_starts_over_by_itself(
    store: MemoryStore, clock: ManualClock
) -> None:
    Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    clock.advance(20 * SHORT.root_ttl)
    authority = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    svid = authority.issue(CART)
    assert is_trusted(svid, authority.bundle(), clock.now())
    assert svid.not_after == clock.now() + SHORT.svid_ttl


def test_an_authority_that_slept_through_a_prepared_roots_whole_life_starts_over_too(
    store: MemoryStore, clock: ManualClock
) -> None:
    authority = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    authority.rotate_root()
    clock.advance(5 * SHORT.root_ttl)
    events = authority.tick()
    assert events.bundle_changed
    assert is_trusted(authority.issue(CART), authority.bundle(), clock.now())


def test_a_full_disk_leaves_the_authority_issuing_as_before(clock: ManualClock) -> None:
    store = BrokenStore()
    authority = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    before = (authority.bundle(), authority.slots)
    store.broken = True
    clock.move_to(authority.next_tick())
    with pytest.raises(StoreError, match="disk is full"):
        authority.tick()
    assert (authority.bundle(), authority.slots) == before
    assert is_trusted(authority.issue(CART), authority.bundle(), clock.now())
    store.broken = False
    assert authority.tick().steps == (Step.PREPARE_ISSUER,)


def test_keys_that_vanish_from_the_store_are_an_error_and_not_a_new_root(
    tmp_path: Path, clock: ManualClock
) -> None:
    authority = Authority.open(FileStore(tmp_path / "ca"), TRUST_DOMAIN, clock)
    (tmp_path / "ca" / "authority.json").unlink()
    with pytest.raises(StoreCorrupt, match="have vanished"):
        authority.tick()
    assert is_trusted(authority.issue(CART), authority.bundle(), clock.now())


def test_replicas_on_one_store_rotate_once_and_agree(
    store: MemoryStore, clock: ManualClock
) -> None:
    one = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    two = Authority.open(store, TRUST_DOMAIN, clock, SHORT)
    one.rotate_root()
    seen = two.tick()
    assert seen.steps == ()
    assert seen.bundle_changed
    assert seen
    assert two.bundle() == one.bundle()
    assert two.slots == one.slots


def test_replicas_that_start_at_once_on_an_empty_store_found_one_root(
    clock: ManualClock,
) -> None:
    class Late(MemoryStore):
        """Looks empty once more after the other replica has founded its root."""

        looked = False

        @override
        def load(self) -> SecretBytes | None:
            first, self.looked = not self.looked, True
            return None if first else super().load()

    store = Late()
    store.looked = True
    winner = Authority.open(store, TRUST_DOMAIN, clock)
    store.looked = False
    assert Authority.open(store, TRUST_DOMAIN, clock).bundle() == winner.bundle()


def test_a_store_that_says_both_taken_and_empty_opens_nothing(clock: ManualClock) -> None:
    store = ContestedStore()
    store.races = 1
    with pytest.raises(StoreConflict):
        Authority.open(store, TRUST_DOMAIN, clock)


def test_a_lost_race_is_run_again(clock: ManualClock) -> None:
    store = ContestedStore()
    authority = Authority.open(store, TRUST_DOMAIN, clock)
    store.races = 4
    assert authority.rotate_issuer().issuer_changed


def test_races_without_end_are_given_up(clock: ManualClock) -> None:
    store = ContestedStore()
    authority = Authority.open(store, TRUST_DOMAIN, clock)
    store.races = 5
    with pytest.raises(StoreConflict, match="5 times"):
        authority.rotate_issuer()


def _refuse(_: object) -> tuple[Finding, ...]:
    return (Finding(rule="some-rule", detail="is broken"),)


def test_what_the_check_refuses_is_not_released(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template and the check agree, so the only way to see the gate is to move the bar."""
    monkeypatch.setattr(issuing_module, "svid_findings", _refuse)
    with pytest.raises(CertificateRefused, match="some-rule: is broken"):
        authority.issue(CART)


def test_an_authority_that_the_check_refuses_is_not_stored(
    authority: Authority, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.load()
    monkeypatch.setattr(ceremony_module, "authority_findings", _refuse)
    with pytest.raises(CertificateRefused, match="some-rule: is broken"):
        authority.rotate_root()
    assert store.load() == before
