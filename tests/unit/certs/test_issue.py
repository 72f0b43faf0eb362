"""What the authority issues, judged by verifiers that are not ours."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mizzen.identity import SpiffeId, TrustDomain
from mizzen_certs import Authority, CertificateRefused, MemoryStore, Svid, SystemClock, identity_of
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN, is_trusted, split

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import ManualClock

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def _leaf(svid: Svid) -> x509.Certificate:
    return x509.load_pem_x509_certificate(svid.chain_pem)


def test_openssl_accepts_the_chain_in_its_strict_mode(tmp_path: Path) -> None:
    clock = SystemClock()
    authority = Authority.open(MemoryStore(), TRUST_DOMAIN, clock)
    svid = authority.issue(CART)
    leaf, issuer = split(svid.chain_pem)
    for name, content in (("leaf", leaf), ("issuer", issuer), ("root", _roots(authority))):
        (tmp_path / name).write_bytes(content)
    command = "openssl verify -x509_strict -purpose sslserver -CAfile root -untrusted issuer leaf"
    done = subprocess.run(
        command.split(), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("leaf: OK\n", 0), done.stderr


def _roots(authority: Authority) -> bytes:
    return authority.bundle().roots_pem


def test_the_librarys_verifier_accepts_the_chain_to_its_last_second(
    authority: Authority, clock: ManualClock
) -> None:
    svid, bundle = authority.issue(CART), authority.bundle()
    assert is_trusted(svid, bundle, clock.now())
    assert is_trusted(svid, bundle, svid.not_before)
    assert is_trusted(svid, bundle, svid.not_after)
    assert not is_trusted(svid, bundle, svid.not_before - SECOND)
    assert not is_trusted(svid, bundle, svid.not_after + SECOND)


def test_another_authoritys_bundle_does_not_trust_it(
    authority: Authority, clock: ManualClock
) -> None:
    other = Authority.open(MemoryStore(), TRUST_DOMAIN, clock)
    assert not is_trusted(authority.issue(CART), other.bundle(), clock.now())


def test_the_chain_is_the_leaf_and_its_issuer_without_the_root(authority: Authority) -> None:
    chain = split(authority.issue(CART).chain_pem)
    assert len(chain) == 2
    assert authority.bundle().roots_pem not in chain


def test_the_key_is_the_certificates_own_and_new_each_time(authority: Authority) -> None:
    first, second = authority.issue(CART), authority.issue(CART)
    for svid in (first, second):
        key = load_pem_private_key(svid.key.reveal(), None)
        assert key.public_key() == _leaf(svid).public_key()
    assert first.key != second.key
    assert first.serial != second.serial
    assert first.serial == _leaf(first).serial_number


def test_a_life_is_a_day_dated_back_by_the_cushion_and_renewed_at_half(
    authority: Authority, clock: ManualClock
) -> None:
    svid = authority.issue(CART)
    assert svid.not_before == clock.now() - timedelta(seconds=10)
    assert svid.not_after == clock.now() + 24 * HOUR
    assert svid.renew_at == clock.now() + 12 * HOUR


def test_a_certificate_never_outlives_its_issuer(store: MemoryStore, clock: ManualClock) -> None:
    """Nobody ticked: the issuer is in its last hour, and so is what it signs."""
    authority = Authority.open(store, TRUST_DOMAIN, clock)
    end = authority.slots.issuer.not_after
    clock.move_to(end - HOUR)
    svid = authority.issue(CART)
    assert svid.not_after == end
    assert svid.renew_at == end - HOUR / 2


def test_an_issuer_that_has_ended_signs_nothing(authority: Authority, clock: ManualClock) -> None:
    clock.move_to(authority.slots.issuer.not_after)
    with pytest.raises(CertificateRefused, match=r"issuer-life: .* tick\(\) replaces it"):
        authority.issue(CART)
    authority.tick()
    assert authority.issue(CART).not_after == clock.now() + 24 * HOUR


def test_a_clock_set_back_before_the_issuers_birth_releases_nothing(
    authority: Authority, clock: ManualClock
) -> None:
    clock.advance(-HOUR)
    with pytest.raises(CertificateRefused, match="moment: is not valid before"):
        authority.issue(CART)


def test_the_names_asked_for_stand_beside_the_identity(authority: Authority) -> None:
    svid = authority.issue(CART, dns_names=("cart.shop", "127.0.0.1"))
    names = _leaf(svid).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cart.shop"]
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert identity_of(svid.chain_pem) == CART


def test_a_server_is_found_by_its_names(authority: Authority) -> None:
    svid = authority.issue_server(("localhost",), STOCK)
    names = _leaf(svid).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert svid.identity == STOCK


def test_a_server_without_a_name_is_refused(authority: Authority) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        authority.issue_server((), STOCK)


def test_nothing_is_issued_for_another_trust_domain(authority: Authority) -> None:
    foreign = SpiffeId(
        trust_domain=TrustDomain("other.example"), namespace="shop", service_account="cart"
    )
    with pytest.raises(CertificateRefused, match=r"'other\.example' is not ours"):
        authority.issue(foreign)


def test_neither_certificate_nor_bundle_prints_a_key(authority: Authority) -> None:
    svid = authority.issue(CART)
    assert "PRIVATE" not in f"{svid!r}{svid}{authority.bundle()}{authority.slots}"
    assert "hidden" in repr(svid)
