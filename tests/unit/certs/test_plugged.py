"""An authority that somebody else made: taken as it is, checked, and followed when it is replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mizzen_certs import CaPolicy, PluggedAuthority, PluggedKeys, PrivateKeyPem, StoreCorrupt
from tests.support.certificates import signing_usage
from tests.unit.certs.forge import CART, TRUST_DOMAIN, is_trusted

if TYPE_CHECKING:
    from mizzen_certs.sign import SigningKey
    from tests.support.clock import ManualClock

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Maker:
    """An authority as a tool of somebody else's makes it."""

    certificate: x509.Certificate
    key: SigningKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(_PEM)

    @property
    def key_pem(self) -> PrivateKeyPem:
        """The key, in the traditional form that openssl writes."""
        form = serialization.PrivateFormat.TraditionalOpenSSL
        encoded = self.key.private_bytes(_PEM, form, serialization.NoEncryption())
        return PrivateKeyPem(encoded)


def _make(
    name: str, clock: ManualClock, key: SigningKey, by: Maker | None = None, *, ca: bool = True
) -> Maker:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(hours=1))
        .not_valid_after(clock.now() + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(signing_usage(), critical=True)
        # Not the method by which we would make it: newer tools shorten SHA-256.
        .add_extension(x509.SubjectKeyIdentifier(name.encode().ljust(20, b".")), critical=False)
    )
    return Maker(builder.sign(signer, hashes.SHA256()), key)


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _ecdsa() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def root(clock: ManualClock) -> Maker:
    """A root with an RSA key."""
    return _make("root", clock, _rsa())


@pytest.fixture
def issuing(clock: ManualClock, root: Maker) -> Maker:
    """What issues, under that root."""
    return _make("issuing", clock, _rsa(), root)


def _keys(issuing: Maker, root: Maker, *between: Maker) -> PluggedKeys:
    chain = b"".join(one.pem for one in (issuing, *between, root))
    return PluggedKeys(
        certificate_pem=issuing.pem, key=issuing.key_pem, roots_pem=root.pem, chain_pem=chain
    )


def _open(keys: PluggedKeys, clock: ManualClock) -> PluggedAuthority:
    return PluggedAuthority(lambda: keys, TRUST_DOMAIN, clock, CaPolicy())


def test_certificates_lead_to_the_plugged_in_root(
    clock: ManualClock, root: Maker, issuing: Maker
) -> None:
    """The chain has what stands between, and the root is what is trusted."""
    authority = _open(_keys(issuing, root), clock)
    svid = authority.issue(CART)
    assert svid.chain_pem.count(b"BEGIN CERTIFICATE") == 2
    assert authority.bundle().roots_pem == root.pem
    assert is_trusted(svid, authority.bundle(), clock.now())


def test_authorities_between_are_put_in_order(clock: ManualClock, root: Maker) -> None:
    """However the file lists them; one of ECDSA under one of RSA is as good as any."""
    upper = _make("upper", clock, _rsa(), root)
    lower = _make("lower", clock, _ecdsa(), upper)
    keys = replace(_keys(lower, root), chain_pem=root.pem + upper.pem + lower.pem)
    svid = _open(keys, clock).issue(CART)
    names = [
        one.subject.rfc4514_string() for one in x509.load_pem_x509_certificates(svid.chain_pem)
    ]
    assert names == ["", "CN=lower", "CN=upper"]


def test_a_root_may_issue_by_itself(clock: ManualClock) -> None:
    """As cert-manager's self-signed authority does; then there is nothing between."""
    own = _make("own", clock, _ecdsa())
    authority = _open(_keys(own, own), clock)
    svid = authority.issue(CART)
    assert svid.chain_pem.count(b"BEGIN CERTIFICATE") == 1
    assert is_trusted(svid, authority.bundle(), clock.now())


def test_a_replacement_is_taken_over(clock: ManualClock, root: Maker, issuing: Maker) -> None:
    """By whichever of ``tick`` and ``follow`` comes first; what is the same is no news."""
    keys = [_keys(issuing, root)]
    authority = PluggedAuthority(lambda: keys[-1], TRUST_DOMAIN, clock, CaPolicy())
    assert not authority.tick()
    assert not authority.rotate_issuer()
    fresh = _make("fresh", clock, _ecdsa(), root)
    keys.append(_keys(fresh, root))
    events = authority.follow()
    assert events.issuer_changed
    assert not events.bundle_changed
    assert authority.next_tick() == fresh.certificate.not_valid_after_utc
    other = _make("other root", clock, _ecdsa())
    keys.append(_keys(_make("under it", clock, _ecdsa(), other), other))
    assert authority.tick().bundle_changed


def test_what_is_no_authority_is_refused(clock: ManualClock, root: Maker, issuing: Maker) -> None:
    """With the reason; and a broken replacement leaves the last one in use."""
    good = _keys(issuing, root)
    stranger = _make("stranger", clock, _ecdsa())
    leaf = _make("leaf", clock, _ecdsa(), root, ca=False)
    refused = {
        "cannot be read": replace(good, certificate_pem=b"nonsense"),
        "another certificate's": replace(good, key=stranger.key_pem),
        "does not lead": replace(good, roots_pem=stranger.pem),
        "may not sign": _keys(leaf, root),
    }
    for words, keys in refused.items():
        with pytest.raises(StoreCorrupt, match=words):
            _open(keys, clock)
    current = [good]
    authority = PluggedAuthority(lambda: current[-1], TRUST_DOMAIN, clock, CaPolicy())
    current.append(refused["does not lead"])
    with pytest.raises(StoreCorrupt):
        authority.tick()
    assert authority.issue(CART).identity == CART
