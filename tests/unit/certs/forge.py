"""Certificates that an honest authority would never make, and a judge that is not ours.

:class:`Forgery` describes a workload's certificate as it should be; a test changes one thing with
``dataclasses.replace`` and sees whether the check notices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mizzen.identity import SpiffeId, TrustDomain
from mizzen_certs.sign import Signer, new_key

if TYPE_CHECKING:
    from mizzen_certs.svid import Svid, TrustBundle

TRUST_DOMAIN: Final = TrustDomain("shop.example")
CART: Final = SpiffeId(trust_domain=TRUST_DOMAIN, namespace="shop", service_account="cart")
STOCK: Final = SpiffeId(trust_domain=TRUST_DOMAIN, namespace="shop", service_account="stock")

_END: Final = b"-----END CERTIFICATE-----\n"

Name = x509.GeneralName
Extension = tuple[x509.ExtensionType, bool]


def usage(*allowed: str) -> x509.KeyUsage:
    """Return a key usage that allows what is named and nothing else."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in allowed for name in names})


BOTH_PURPOSES: Final = x509.ExtendedKeyUsage(
    (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
)
LEAF: Final = x509.BasicConstraints(ca=False, path_length=None)


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """All that a certificate says; the defaults are those of a proper workload's."""

    signer: Signer
    now: datetime
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = field(default_factory=new_key)
    signing_key: ec.EllipticCurvePrivateKey | None = None
    issuer: x509.Name | None = None
    subject: x509.Name = field(default_factory=lambda: x509.Name(()))
    names: tuple[Name, ...] | None = (x509.UniformResourceIdentifier(str(CART)),)
    names_critical: bool = True
    constraints: Extension | None = (LEAF, True)
    usage: Extension | None = (usage("digital_signature"), True)
    purposes: x509.ExtendedKeyUsage | None = BOTH_PURPOSES
    starts: timedelta = timedelta(seconds=-10)
    ends: timedelta = timedelta(hours=24)
    serial: int = 77
    subject_key: ec.EllipticCurvePublicKey | None = None
    authority_key: ec.EllipticCurvePublicKey | None = None
    with_subject_key: bool = True
    with_authority_key: bool = True
    extra: tuple[Extension, ...] = ()
    digest: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)

    def forged(self) -> x509.Certificate:
        """Return the certificate."""
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(self.issuer or self.signer.certificate.subject)
            .public_key(self.key.public_key())
            .serial_number(self.serial)
            .not_valid_before(self.now + self.starts)
            .not_valid_after(self.now + self.ends)
        )
        for extension, critical in self._extensions():
            builder = builder.add_extension(extension, critical=critical)
        signed = builder.sign(self.signing_key or self.signer.key, self.digest)  # type: ignore[arg-type]  # any hash, to be refused
        return x509.load_der_x509_certificate(signed.public_bytes(Encoding.DER))

    def _extensions(self) -> tuple[Extension, ...]:
        stated = (
            self.constraints,
            self.usage,
            None if self.purposes is None else (self.purposes, False),
            None
            if self.names is None
            else (x509.SubjectAlternativeName(self.names), self.names_critical),
            (self._subject_key(), False) if self.with_subject_key else None,
            (self._authority_key(), False) if self.with_authority_key else None,
        )
        return (*(extension for extension in stated if extension is not None), *self.extra)

    def _subject_key(self) -> x509.SubjectKeyIdentifier:
        key = self.subject_key or self.key.public_key()
        return x509.SubjectKeyIdentifier.from_public_key(key)

    def _authority_key(self) -> x509.AuthorityKeyIdentifier:
        key = self.authority_key or self.signer.key.public_key()
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def common_name(text: str) -> x509.Name:
    """Return a subject that is not empty."""
    return x509.Name((x509.NameAttribute(NameOID.COMMON_NAME, text),))


def split(chain_pem: bytes) -> tuple[bytes, ...]:
    """Return each certificate of a chain by itself, as PEM."""
    return tuple(part + _END for part in chain_pem.split(_END) if part.strip())


def is_trusted(svid: Svid, bundle: TrustBundle, at: datetime) -> bool:
    """Tell whether a peer that holds this bundle accepts the certificate at this moment.

    Judged by the verifier of the cryptography package (RFC 5280 with the Web PKI's profile), which
    shares nothing with our check; who the certificate names is compared too.
    """
    leaf, *issuers = x509.load_pem_x509_certificates(svid.chain_pem)
    roots = Store(x509.load_pem_x509_certificates(bundle.roots_pem))
    verifier = PolicyBuilder().store(roots).time(at).build_client_verifier()
    try:
        verified = verifier.verify(leaf, issuers)
    except VerificationError:
        return False
    return list(verified.subjects or ()) == [x509.UniformResourceIdentifier(str(svid.identity))]
