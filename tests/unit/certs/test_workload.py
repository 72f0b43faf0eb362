"""Certificates are renewed at half-life, not all at once, and whoever holds them is told."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from mizzen.identity import SpiffeId
from mizzen_certs import Authority, CertificateRefused, MemoryStore, Renewer
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN

if TYPE_CHECKING:
    from tests.support.clock import ManualClock

HOUR = timedelta(hours=1)
MOST_JITTER = 0.05 * 24 * HOUR


@pytest.fixture
def renewer(authority: Authority, clock: ManualClock) -> Renewer:
    """A renewer whose jitter is the same in every run."""
    return Renewer(authority, clock, Random(7))


def test_a_certificate_is_issued_once_and_kept(renewer: Renewer) -> None:
    assert renewer.svid(CART) is renewer.svid(CART)
    assert renewer.svid(STOCK).identity == STOCK
    assert renewer.renew_due() == frozenset()


def test_nothing_is_due_while_nothing_is_held(renewer: Renewer) -> None:
    assert renewer.next_due() is None
    assert renewer.renew_due() == frozenset()


def test_renewal_is_at_half_life_give_or_take_the_jitter(
    renewer: Renewer, clock: ManualClock
) -> None:
    half = clock.now() + 12 * HOUR
    moments = [
        renewer.svid(
            SpiffeId(trust_domain=TRUST_DOMAIN, namespace="n", service_account=f"a{number}")
        ).renew_at
        for number in range(200)
    ]
    assert all(abs(moment - half) <= MOST_JITTER for moment in moments)
    assert max(moments) - min(moments) > MOST_JITTER


def test_one_seed_gives_one_schedule(store: MemoryStore, clock: ManualClock) -> None:
    def schedule() -> list[object]:
        authority = Authority.open(store, TRUST_DOMAIN, clock)
        renewer = Renewer(authority, clock, Random(7))
        first = [renewer.svid(CART).renew_at, renewer.svid(STOCK).renew_at]
        renewer.renew_all()
        return [*first, renewer.svid(CART).renew_at, renewer.svid(STOCK).renew_at]

    assert schedule() == schedule()


def test_only_what_is_due_is_renewed(renewer: Renewer, clock: ManualClock) -> None:
    first, second = sorted((renewer.svid(CART), renewer.svid(STOCK)), key=lambda s: s.renew_at)
    due = renewer.next_due()
    assert due == first.renew_at
    clock.move_to(first.renew_at - timedelta(microseconds=1))
    assert renewer.renew_due() == frozenset()
    clock.move_to(first.renew_at)
    assert renewer.renew_due() == {first.identity}
    assert renewer.svid(first.identity).serial != first.serial
    assert renewer.svid(second.identity) is second
    assert renewer.next_due() == second.renew_at


def test_who_asks_for_a_due_certificate_gets_a_new_one_and_the_others_are_told(
    renewer: Renewer, clock: ManualClock
) -> None:
    """The machine was suspended: a stream asks before the loop has woken."""
    old = renewer.svid(CART)
    clock.advance(48 * HOUR)
    new = renewer.svid(CART)
    assert new.serial != old.serial
    assert renewer.next_due() == clock.now()
    assert renewer.renew_due() == {CART}
    assert renewer.renew_due() == frozenset()
    assert renewer.svid(CART) is new


def test_all_can_be_renewed_at_once(renewer: Renewer) -> None:
    old = {identity: renewer.svid(identity).serial for identity in (CART, STOCK)}
    assert renewer.renew_all() == {CART, STOCK}
    assert all(renewer.svid(identity).serial != serial for identity, serial in old.items())


def test_a_forgotten_identity_is_renewed_no_longer(renewer: Renewer, clock: ManualClock) -> None:
    renewer.svid(CART)
    clock.advance(24 * HOUR)
    renewer.svid(CART)
    renewer.forget(CART)
    assert renewer.renew_all() == frozenset()
    assert renewer.next_due() is None
    renewer.forget(CART)


def test_a_renewal_that_fails_leaves_the_certificate_and_is_tried_again(
    authority: Authority, renewer: Renewer, clock: ManualClock
) -> None:
    renewer.svid(CART)
    clock.move_to(authority.slots.issuer.not_after)
    with pytest.raises(CertificateRefused):
        renewer.renew_due()
    authority.tick()
    assert renewer.renew_due() == {CART}


def test_an_identity_can_have_host_names(authority: Authority, clock: ManualClock) -> None:
    renewer = Renewer(authority, clock, Random(7), dns_names={CART: ("localhost",)})
    for identity, expected in ((CART, ["localhost"]), (STOCK, [])):
        leaf = x509.load_pem_x509_certificate(renewer.svid(identity).chain_pem)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == expected
