"""An authority whose issuing key somebody else makes and replaces: an organisation's own, or cert-manager.

Certificates are issued as ever and checked as ever. What is not ours is not done: nothing is rotated, and
what changed is taken over when it is seen. Whoever replaces the root has to give both for as long as
certificates of the last one are in use.

Keys may be ECDSA or RSA, as Istio's and cert-manager's are; those of workloads are ECDSA P-256.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from typing_extensions import override

from mizzen_certs.errors import StoreCorrupt
from mizzen_certs.issuing import Held, Issuing, RotationEvents
from mizzen_certs.policy import CaPolicy
from mizzen_certs.sign import Signer, certificate_pem
from mizzen_certs.svid import TrustBundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_certs.secret import PrivateKeyPem


@dataclass(frozen=True, slots=True, kw_only=True)
class PluggedKeys:
    """What was plugged in, in PEM.

    Attributes:
        chain_pem: The authorities between the issuing certificate and the root, in any order; it may
            hold those two as well.
    """

    certificate_pem: bytes
    key: PrivateKeyPem
    roots_pem: bytes
    chain_pem: bytes = b""


class PluggedAuthority(Issuing):
    """Issues by keys that ``read`` returns, which are read again by :meth:`tick`.

    Raises :class:`StoreCorrupt` where they are no authority's, and whatever ``read`` raises.
    """

    def __init__(
        self,
        read: Callable[[], PluggedKeys],
        trust_domain: TrustDomain,
        clock: Clock,
        policy: CaPolicy,
    ) -> None:
        super().__init__(clock, policy)
        self._read = read
        self._domain = trust_domain
        self._keys = read()
        self._held = _held(self._keys, trust_domain)

    @property
    @override
    def held(self) -> Held:
        """What is issued with now."""
        return self._held

    @override
    def tick(self) -> RotationEvents:
        """Take over what was replaced."""
        return self.follow()

    @override
    def follow(self) -> RotationEvents:
        """Take over what was replaced."""
        keys = self._read()
        if keys == self._keys:
            return RotationEvents()
        before, now = self._held, _held(keys, self._domain)
        self._keys, self._held = keys, now
        return RotationEvents(
            bundle_changed=now.bundle != before.bundle,
            issuer_changed=now.issuer.certificate != before.issuer.certificate,
        )

    @override
    def next_tick(self) -> datetime:
        """Return by when somebody has to have replaced the issuing certificate."""
        return self._held.issuer.validity.not_after

    @override
    def rotate_issuer(self) -> RotationEvents:
        """Do nothing: the key is not ours to replace."""
        return RotationEvents()


def _held(keys: PluggedKeys, trust_domain: TrustDomain) -> Held:
    try:
        issuing = x509.load_pem_x509_certificate(keys.certificate_pem)
        roots = tuple(dict.fromkeys(x509.load_pem_x509_certificates(keys.roots_pem)))
        rest = x509.load_pem_x509_certificates(keys.chain_pem) if keys.chain_pem.strip() else []
        key = serialization.load_pem_private_key(keys.key.reveal(), None)
    except (ValueError, TypeError) as error:
        raise StoreCorrupt(f"the plugged-in authority cannot be read: {error}") from error
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise StoreCorrupt("the plugged-in authority's key is neither ECDSA nor RSA")
    if key.public_key() != issuing.public_key():
        raise StoreCorrupt("the plugged-in authority's key is another certificate's")
    _require_authority(issuing)
    return Held(
        trust_domain=trust_domain,
        issuer=Signer(certificate=issuing, key=key),
        issuer_pem=b"".join(map(certificate_pem, _chain(issuing, rest, roots))),
        bundle=TrustBundle(
            trust_domain=trust_domain,
            roots_pem=b"".join(map(certificate_pem, roots)),
            expires_at=max(root.not_valid_after_utc for root in roots),
        ),
    )


def _require_authority(certificate: x509.Certificate) -> None:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints)
        extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        usage = extensions.get_extension_for_class(x509.KeyUsage)
    except x509.ExtensionNotFound as error:
        raise StoreCorrupt(f"the plugged-in certificate is no authority's: {error}") from error
    if not (constraints.value.ca and usage.value.key_cert_sign):
        raise StoreCorrupt("the plugged-in certificate may not sign others")


def _chain(
    issuing: x509.Certificate, rest: list[x509.Certificate], roots: tuple[x509.Certificate, ...]
) -> tuple[x509.Certificate, ...]:
    """Return what stands between a leaf and a root, the root without; empty where a root issues."""
    if issuing in roots:
        return ()
    chain, left = [issuing], [one for one in rest if one != issuing and one not in roots]
    while not any(_signed(chain[-1], root) for root in roots):
        parent = next((one for one in left if _signed(chain[-1], one)), None)
        if parent is None:
            raise StoreCorrupt("the plugged-in certificate does not lead to any of the roots")
        chain.append(parent)
        left.remove(parent)
    return tuple(chain)


def _signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
