"""Which end of which certificate the row of the mesh counts down to."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization

from mizzen.identity import DEFAULT_TRUST_DOMAIN
from mizzen_certs import Authority, CaPolicy, MemoryStore, PrivateKeyPem
from mizzen_certs.plugged import PluggedAuthority, PluggedKeys
from mizzen_certs.sign import certificate_pem
from mizzen_operator.kube_status.home import certificates
from tests.support.clock import ManualClock


def test_our_own_authority_counts_by_its_roots() -> None:
    """Its issuing certificate ends sooner, but is replaced by itself."""
    authority = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, ManualClock())
    found = certificates(authority)
    assert found.expire == authority.bundle().expires_at
    assert found.lifetime == authority.policy.root_ttl
    assert authority.held.issuer.validity.not_after < found.expire


def test_one_that_was_plugged_in_counts_by_its_issuing_certificate() -> None:
    """Nobody replaces that but who plugged it in."""
    clock = ManualClock()
    held = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, clock).held
    pem = held.issuer.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keys = PluggedKeys(
        certificate_pem=certificate_pem(held.issuer.certificate),
        key=PrivateKeyPem(pem),
        roots_pem=held.bundle.roots_pem,
    )
    plugged = PluggedAuthority(lambda: keys, DEFAULT_TRUST_DOMAIN, clock, CaPolicy())
    found = certificates(plugged)
    validity = held.issuer.validity
    assert found.expire == validity.not_after
    assert found.lifetime == validity.not_after - validity.not_before
