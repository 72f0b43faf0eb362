"""Certificates for tests of TLS: an authority of this moment, what it issues, and what it revokes."""

from __future__ import annotations

import hashlib
import textwrap
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIFE: Final = timedelta(days=30)
_SLACK: Final = timedelta(hours=1)
_RSA_BITS: Final = 2048

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate with its key, both in PEM."""

    certificate: x509.Certificate
    chain: str
    key: str

    @property
    def hash(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def key_hash(self) -> str:
        """SHA-256 of the public key, in base64."""
        public = self.certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return b64encode(hashlib.sha256(public).digest()).decode()


class TestAuthority:
    """An authority that signs whatever a test asks for, for a month or for another time."""

    __test__ = False

    def __init__(self, name: str = "test authority", life: timedelta = _LIFE) -> None:
        self._life = life
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key, life)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        made = builder.add_extension(constraints, critical=True)
        usage = made.add_extension(signing_usage(), critical=True)
        self.root = usage.sign(self._key, hashes.SHA256())

    @classmethod
    def having(cls, certificate: str, key: str) -> Self:
        """Return the authority whose certificate and key these are, in PEM."""
        made = cls()
        found = serialization.load_pem_private_key(key.encode(), password=None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        made.root = x509.load_pem_x509_certificate(certificate.encode())
        made._key, made._name = found, made.root.subject
        return made

    @property
    def pem(self) -> str:
        """The root, in PEM."""
        return _pem(self.root)

    def issue(self, *names: str, with_rsa: bool = False) -> Issued:
        """Return a certificate of some hosts, or URIs."""
        key: Key = (
            rsa.generate_private_key(65_537, _RSA_BITS)
            if with_rsa
            else ec.generate_private_key(ec.SECP256R1())
        )
        said = [x509.UniformResourceIdentifier(n) if "://" in n else x509.DNSName(n) for n in names]
        builder = _builder(_name(names[0][:64]), self._name, key, self._life)
        made = builder.add_extension(x509.SubjectAlternativeName(said), critical=False)
        certificate = made.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Issued(certificate=certificate, chain=_pem(certificate), key=private.decode())

    def revoking(self, revoked: Iterable[Issued]) -> str:
        """Return the list of what is revoked, in PEM."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - _SLACK)
            .next_update(now + _LIFE)
        )
        for one in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.serial_number)
                .revocation_date(now - _SLACK)
            )
            builder = builder.add_revoked_certificate(entry.build())
        made = builder.sign(self._key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()


def secret(name: str, namespace: str, **data: str) -> str:
    """Return the manifest of a Secret; ``__`` in the name of a value is a dot."""
    values = "\n".join(
        f"  {key.replace('__', '.')}: |\n{textwrap.indent(text, '    ')}"
        for key, text in data.items()
    )
    return f"""
apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: {namespace}}}
stringData:
{values}
---
"""


def tls_secret(name: str, namespace: str, pair: Issued, **more: str) -> str:
    """Return the manifest of a Secret as ``kubectl create secret tls`` makes it, with more in it."""
    return secret(name, namespace, tls__crt=pair.chain, tls__key=pair.key, **more)


def signing_usage() -> x509.KeyUsage:
    """Return what the key of an authority is for: to sign certificates, lists and what else there is."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + life)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
