"""The check between signing and release notices every way in which a certificate can be wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID

from mizzen.identity import SpiffeId, TrustDomain
from mizzen_certs import CaPolicy, CertificateRefused, PrivateKeyPem
from mizzen_certs.ceremony import found
from mizzen_certs.check import (
    AuthorityCase,
    SvidCase,
    authority_findings,
    require_issuable,
    require_trust_domain,
    svid_findings,
)
from mizzen_certs.sign import Signer, new_key, private_pem
from tests.unit.certs.forge import (
    CART,
    LEAF,
    STOCK,
    TRUST_DOMAIN,
    Forgery,
    common_name,
    usage,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Signer:
    """A proper root."""
    journal = found(TRUST_DOMAIN, NOW, CaPolicy())
    return journal.signers[journal.slots.root.key_id]


@pytest.fixture(scope="module")
def issuer(root: Signer) -> Signer:
    """A proper issuer under a proper root of its own."""
    key = new_key()
    honest = Forgery(signer=root, now=NOW, key=key, **AUTHORITY)
    return Signer(certificate=honest.forged(), key=key)


def _judged(forgery: Forgery, **changes: Any) -> set[str]:  # noqa: ANN401  # any field of the case
    return {finding.rule for finding in svid_findings(replace(_case(forgery), **changes))}


def _case(forgery: Forgery) -> SvidCase:
    return SvidCase(
        certificate=forgery.forged(),
        signer=forgery.signer.certificate,
        key=_pem(forgery.key),
        identity=CART,
        names=(),
        now=NOW,
        longest_life=DAY,
    )


def _judged_with_serial_zero(case: SvidCase) -> set[str]:
    one = case.certificate.public_bytes(Encoding.DER)
    zero = x509.load_der_x509_certificate(one.replace(b"\x02\x01\x01", b"\x02\x01\x00", 1))
    return {finding.rule for finding in svid_findings(replace(case, certificate=zero))}


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> PrivateKeyPem:
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return PrivateKeyPem(encoded)


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


OURS = _uri(str(CART))
AUTHORITY: dict[str, Any] = {
    "subject": common_name("issuer"),
    "names": (_uri(f"spiffe://{TRUST_DOMAIN}"),),
    "names_critical": False,
    "constraints": (x509.BasicConstraints(ca=True, path_length=0), True),
    "usage": (usage("key_cert_sign", "crl_sign"), True),
    "purposes": None,
    "ends": 30 * DAY,
}


def test_a_proper_certificate_has_no_findings(issuer: Signer) -> None:
    assert _judged(Forgery(signer=issuer, now=NOW)) == set()


BAD_LEAVES: dict[str, tuple[dict[str, Any], str]] = {
    "outlives its issuer": ({"ends": 31 * DAY}, "lifetime"),
    "begins before its issuer": ({"starts": -DAY}, "lifetime"),
    "is good for longer than a life": ({"ends": DAY + timedelta(minutes=1)}, "moment"),
    "has ended": ({"starts": timedelta(), "ends": timedelta()}, "moment"),
    "has no life": ({"starts": timedelta(), "ends": timedelta()}, "lifetime"),
    "has not begun": ({"starts": timedelta(hours=1)}, "moment"),
    "is an authority": (
        {"constraints": (x509.BasicConstraints(ca=True, path_length=None), True)},
        "leaf",
    ),
    "does not say that it is no authority": ({"constraints": None}, "leaf"),
    "says so without weight": ({"constraints": (LEAF, False)}, "leaf"),
    "has two URIs": ({"names": (OURS, _uri(str(STOCK)))}, "identity"),
    "has no URI": ({"names": (x509.DNSName("cart"),)}, "identity"),
    "has no alternative name": ({"names": None}, "identity"),
    "names another workload": ({"names": (_uri(str(STOCK)),)}, "identity"),
    "names another trust domain": (
        {"names": (_uri("spiffe://other.example/ns/shop/sa/cart"),)},
        "identity",
    ),
    "names a host nobody asked for": ({"names": (OURS, x509.DNSName("cart"))}, "host-names"),
    "has a subject": ({"subject": common_name("cart")}, "subject"),
    "lets the only name be ignored": ({"names_critical": False}, "subject"),
    "may sign certificates": (
        {"usage": (usage("digital_signature", "key_cert_sign"), True)},
        "leaf-usage",
    ),
    "lets its usage be ignored": ({"usage": (usage("digital_signature"), False)}, "leaf-usage"),
    "has no usage": ({"usage": None}, "leaf-usage"),
    "cannot be a client": (
        {"purposes": x509.ExtendedKeyUsage((ExtendedKeyUsageOID.SERVER_AUTH,))},
        "leaf-usage",
    ),
    "has no purposes": ({"purposes": None}, "leaf-usage"),
    "has an extension nobody asked for": (
        {"extra": ((x509.OCSPNoCheck(), False),)},
        "leaf-extensions",
    ),
    "is signed by another key": ({"signing_key": new_key()}, "signature"),
    "is signed over another digest": ({"digest": hashes.SHA384()}, "signature"),
    "names another issuer": ({"issuer": common_name("somebody")}, "issuer"),
    "points to another issuer's key": ({"authority_key": new_key().public_key()}, "issuer"),
    "points to no issuer's key": ({"with_authority_key": False}, "issuer"),
    "points to another key of its own": ({"subject_key": new_key().public_key()}, "key"),
    "points to no key of its own": ({"with_subject_key": False}, "key"),
    "has a key on another curve": ({"key": ec.generate_private_key(ec.SECP384R1())}, "key"),
    "has an RSA key": ({"key": rsa.generate_private_key(65537, 2048)}, "key"),
}


@pytest.mark.parametrize("name", BAD_LEAVES)
def test_a_certificate_is_refused_that(name: str, issuer: Signer) -> None:
    changes, rule = BAD_LEAVES[name]
    honest = Forgery(signer=issuer, now=NOW)
    assert rule in _judged(replace(honest, **changes))


def test_a_certificate_with_the_serial_number_zero_is_refused(issuer: Signer) -> None:
    """The library builds none, so the number is changed in the bytes (and the signature breaks)."""
    case = _case(Forgery(signer=issuer, now=NOW, serial=1))
    with pytest.warns(CryptographyDeprecationWarning, match="positive"):
        rules = _judged_with_serial_zero(case)
    assert rules == {"serial", "signature"}


def test_a_certificate_with_another_workloads_key_is_refused(issuer: Signer) -> None:
    assert _judged(Forgery(signer=issuer, now=NOW), key=private_pem(new_key())) == {"key"}


def test_a_certificate_without_the_host_names_asked_for_is_refused(issuer: Signer) -> None:
    assert _judged(Forgery(signer=issuer, now=NOW), names=("cart",)) == {"host-names"}


def test_host_names_and_addresses_asked_for_stand_after_the_uri(issuer: Signer) -> None:
    names = (OURS, x509.DNSName("cart"), x509.IPAddress(ip_address("::1")))
    forgery = Forgery(signer=issuer, now=NOW, names=names)
    assert _judged(forgery, names=("cart", "::1")) == set()


def test_a_signer_that_is_no_authority_is_refused(issuer: Signer) -> None:
    key = new_key()
    workload = Signer(certificate=Forgery(signer=issuer, now=NOW, key=key).forged(), key=key)
    assert "signer" in _judged(Forgery(signer=workload, now=NOW))


def test_a_signer_whose_key_may_not_sign_is_refused(root: Signer) -> None:
    key = new_key()
    changes = AUTHORITY | {"usage": (usage("crl_sign"), True)}
    toothless = Signer(
        certificate=Forgery(signer=root, now=NOW, key=key, **changes).forged(), key=key
    )
    assert _judged(Forgery(signer=toothless, now=NOW)) == {"signer"}


def test_a_signer_with_a_key_of_another_kind_is_refused(root: Signer, issuer: Signer) -> None:
    key = rsa.generate_private_key(65537, 2048)
    foreign = Forgery(signer=root, now=NOW, key=key, **AUTHORITY).forged()
    case = replace(_case(Forgery(signer=issuer, now=NOW)), signer=foreign)
    assert "signature" in {finding.rule for finding in svid_findings(case)}


def _judged_authority(root: Signer, **changes: Any) -> set[str]:  # noqa: ANN401  # any field
    forgery = Forgery(signer=root, now=NOW, **(AUTHORITY | changes))
    case = AuthorityCase(
        certificate=forgery.forged(),
        signer=root.certificate,
        key=_pem(forgery.key),
        trust_domain=TRUST_DOMAIN,
        path_length=0,
    )
    return {finding.rule for finding in authority_findings(case)}


def test_a_proper_issuer_has_no_findings(root: Signer) -> None:
    assert _judged_authority(root) == set()


BAD_AUTHORITIES: dict[str, tuple[dict[str, Any], str]] = {
    "outlives its root": ({"ends": 3660 * DAY}, "lifetime"),
    "is no authority": ({"constraints": (LEAF, True)}, "authority"),
    "does not say that it is one": ({"constraints": None}, "authority"),
    "lets further authorities follow": (
        {"constraints": (x509.BasicConstraints(ca=True, path_length=1), True)},
        "authority",
    ),
    "names another trust domain": ({"names": (_uri("spiffe://other.example"),)}, "domain"),
    "names a workload": ({"names": (OURS,)}, "domain"),
    "names nothing": ({"names": None}, "domain"),
    "may sign data": (
        {"usage": (usage("key_cert_sign", "crl_sign", "digital_signature"), True)},
        "authority-usage",
    ),
    "lets its usage be ignored": (
        {"usage": (usage("key_cert_sign", "crl_sign"), False)},
        "authority-usage",
    ),
    "has a purpose of its own": (
        {"purposes": x509.ExtendedKeyUsage((ExtendedKeyUsageOID.SERVER_AUTH,))},
        "authority-extensions",
    ),
}


@pytest.mark.parametrize("name", BAD_AUTHORITIES)
def test_an_issuer_is_refused_that(name: str, root: Signer) -> None:
    changes, rule = BAD_AUTHORITIES[name]
    assert rule in _judged_authority(root, **changes)


def _identity(namespace: str, account: str = "cart", domain: str = TRUST_DOMAIN) -> SpiffeId:
    return SpiffeId(trust_domain=TrustDomain(domain), namespace=namespace, service_account=account)


@pytest.mark.parametrize(
    "identity",
    [
        _identity("shop", domain="other.example"),
        _identity("shop/sa/admin"),
        _identity(".."),
        _identity(""),
        _identity("läden"),
        _identity("shop\n"),
        _identity("shop", "cart?x"),
        _identity("n" * 2048),
    ],
    ids=repr,
)
def test_nothing_is_signed_for_an_identity_that_is_foreign_or_malformed(
    identity: SpiffeId,
) -> None:
    with pytest.raises(CertificateRefused) as refused:
        require_issuable(identity, (), TRUST_DOMAIN)
    assert [finding.rule for finding in refused.value.findings] == ["request"]


@pytest.mark.parametrize("name", ["", "a b", "läden.de", "a..b", "*.*.a", "x" * 64, "a." * 130])
def test_nothing_is_signed_for_what_is_no_host_name(name: str) -> None:
    with pytest.raises(CertificateRefused, match="not a host name"):
        require_issuable(CART, (name,), TRUST_DOMAIN)


@pytest.mark.parametrize("name", ["cart", "*.shop.example", "_x.y", "127.0.0.1", "::1"])
def test_host_names_wildcards_and_addresses_are_issuable(name: str) -> None:
    require_issuable(CART, (name,), TRUST_DOMAIN)


@pytest.mark.parametrize("name", ["", "Shop", "shop/x", "a" * 256, "shop:80"])
def test_what_is_no_trust_domain_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a trust domain"):
        require_trust_domain(TrustDomain(name))
