"""A certificate that was issued before a restart goes on, unless it would not be issued today."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from mizzen_certs import Authority, MemoryStore, Renewer
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN

if TYPE_CHECKING:
    from tests.support.clock import ManualClock

HOUR = timedelta(hours=1)


def test_a_recalled_certificate_is_the_one_that_was_issued(
    authority: Authority, store: MemoryStore, clock: ManualClock
) -> None:
    issued = authority.issue(CART)
    clock.advance(HOUR)
    restarted = Authority.open(store, TRUST_DOMAIN, clock)
    assert restarted.recall(CART, issued.chain_pem, issued.key) == issued


def test_somebody_elses_certificate_or_key_is_not_recalled(authority: Authority) -> None:
    issued, other = authority.issue(CART), authority.issue(CART)
    assert authority.recall(STOCK, issued.chain_pem, issued.key) is None
    assert authority.recall(CART, issued.chain_pem, other.key) is None
    assert authority.recall(CART, b"nonsense", issued.key) is None


def test_an_ended_certificate_and_one_of_an_earlier_issuer_are_not_recalled(
    authority: Authority, clock: ManualClock
) -> None:
    issued = authority.issue(CART)
    authority.rotate_issuer()
    assert authority.recall(CART, issued.chain_pem, issued.key) is None
    fresh = authority.issue(CART)
    clock.advance(25 * HOUR)
    assert authority.recall(CART, fresh.chain_pem, fresh.key) is None


def test_a_recalled_certificate_is_renewed_when_it_would_have_been(
    authority: Authority, clock: ManualClock
) -> None:
    issued = authority.issue(CART)
    renewer = Renewer(authority, clock, Random(7))
    renewer.adopt(issued)
    assert renewer.svid(CART).chain_pem == issued.chain_pem
    clock.advance(13 * HOUR)
    assert renewer.renew_due() == frozenset({CART})
    assert renewer.svid(CART).chain_pem != issued.chain_pem
