"""Keys and signatures: the only module that touches a private key of the authority."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mizzen_certs.secret import PrivateKeyPem
from mizzen_certs.template import Validity

if TYPE_CHECKING:
    from mizzen_certs.template import Template

SigningKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""Our own keys are ECDSA P-256; an authority that is plugged in may have another."""

_SIGNS_NOTHING: Final = x509.BasicConstraints(ca=False, path_length=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A certificate that may sign others, with its key; the key shows in no printed form."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)

    @property
    def key_id(self) -> str:
        """The subject key identifier in hex: the name of this key in the rotation's slots."""
        return x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest.hex()

    @property
    def validity(self) -> Validity:
        """From when until when this signer is good."""
        return Validity(
            not_before=self.certificate.not_valid_before_utc,
            not_after=self.certificate.not_valid_after_utc,
        )

    @classmethod
    def self_signed(cls, template: Template, key: ec.EllipticCurvePrivateKey) -> Self:
        """Return a root: a certificate signed by its own key."""
        signs = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        certificate = _build(template, key.public_key(), template.subject, key, signs)
        return cls(certificate=certificate, key=key)

    def subordinate(self, template: Template, key: ec.EllipticCurvePrivateKey) -> Signer:
        """Return a signer whose certificate this one signed."""
        return Signer(certificate=self.sign(template, key.public_key()), key=key)

    def sign(self, template: Template, subject_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Return a certificate that says what the template says; nothing has checked it yet."""
        return _build(template, subject_key, self.certificate.subject, self.key, self._signs)

    @property
    def _signs(self) -> x509.AuthorityKeyIdentifier:
        """How what is signed names this key: as its own certificate does, however that made the name."""
        named = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(named.value)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh ECDSA P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_id_of(key: ec.EllipticCurvePublicKey) -> str:
    """Return the subject key identifier of a key (RFC 5280, 4.2.1.2, method 1) in hex."""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()


def private_pem(key: SigningKey) -> PrivateKeyPem:
    """Return the key as PKCS #8 PEM, not encrypted."""
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return PrivateKeyPem(encoded)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return one certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _build(
    template: Template,
    subject_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signing_key: SigningKey,
    signs: x509.AuthorityKeyIdentifier,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(issuer)
        .public_key(subject_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.validity.not_before)
        .not_valid_after(template.validity.not_after)
    )
    for extension, critical in (
        *_purpose(template),
        (_alternative_names(template), not template.subject),
        (x509.SubjectKeyIdentifier.from_public_key(subject_key), False),
        (signs, False),
    ):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signing_key, hashes.SHA256())


def _purpose(template: Template) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    if template.path_length is None:
        both = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        return (
            (_SIGNS_NOTHING, True),
            (_key_usage(signs_certificates=False), True),
            (x509.ExtendedKeyUsage(both), False),
        )
    constraints = x509.BasicConstraints(ca=True, path_length=template.path_length)
    return (constraints, True), (_key_usage(signs_certificates=True), True)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative_names(template: Template) -> x509.SubjectAlternativeName:
    uri = x509.UniformResourceIdentifier(template.uri)
    return x509.SubjectAlternativeName((uri, *map(_host_name, template.names)))


def _host_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
