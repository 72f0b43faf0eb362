"""Makes the certificates and tokens of ``samples/``: nobody trusts them but the samples, for a hundred years.

    python -m tests.support.sample_secrets

An authority, whose key is thrown away; of it the courier's certificate, the shop's and a customer's. An issuer of
tokens, whose key is thrown away, too; of it an accountant's token and a customer's.
"""

from __future__ import annotations

import datetime
import json
import re
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from tests.support.repository import ROOT

_BEGINS: Final = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
_ENDS: Final = _BEGINS + datetime.timedelta(days=36_500)
_SAMPLES: Final = ROOT / "samples"
_KEYS: Final = re.compile(r"jwks: '.*'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


class SampleAuthority:
    """An authority that is forgotten with this object."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Samples of Mizzen")
        made = self._builder(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.certificate = _pem(made.sign(self._key, hashes.SHA256()))

    def pair(self, host: str) -> Pair:
        """Return a new certificate of a host or a person, with its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(_name(host), key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Pair(certificate=_pem(made.sign(self._key, hashes.SHA256())), key=private.decode())

    def _builder(
        self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGINS)
            .not_valid_after(_ENDS)
        )


def secret(name: str, namespace: str, **files: str) -> str:
    """Return a Secret; ``tls_key`` is its ``tls.key``."""
    lines = "".join(
        f"  {file.replace('_', '.')}: {b64encode(text.encode()).decode()}\n"
        for file, text in files.items()
    )
    kind = "kubernetes.io/tls" if "tls_key" in files else "Opaque"
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
        f"type: {kind}\ndata:\n{lines}"
    )


class SampleIssuer:
    """An issuer of tokens that is forgotten with this object (RFC 7515, RFC 7517, RFC 7518)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())

    def key_set(self) -> str:
        """Return its public key as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        point = {axis: _encoded(getattr(numbers, axis).to_bytes(32)) for axis in ("x", "y")}
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "samples", **point}
        return json.dumps({"keys": [key]})

    def token(self, subject: str, *groups: str) -> str:
        """Return a token of a member of these groups."""
        head = {"alg": "ES256", "typ": "JWT", "kid": "samples"}
        claims = {
            "iss": self._name,
            "sub": subject,
            "group": list(groups),
            "exp": int(_ENDS.timestamp()),
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        mark = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        raw = b"".join(number.to_bytes(32) for number in decode_dss_signature(mark))
        return f"{signed}.{_encoded(raw)}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(made: x509.Certificate) -> str:
    return made.public_bytes(serialization.Encoding.PEM).decode()


def main() -> None:
    """Write all of them anew."""
    _write_certificates()
    _write_tokens()


def _write_certificates() -> None:
    authority = SampleAuthority()
    courier, customer = map(authority.pair, ("courier.example.com", "customer.example.com"))
    app = _SAMPLES / "shop" / "app"
    (app / "courier.pem").write_text(courier.key + courier.certificate)
    (app / "customer.pem").write_text(customer.key + customer.certificate)
    (app / "authority.pem").write_text(authority.certificate)


def _write_tokens() -> None:
    issuer = SampleIssuer("https://tokens.example.com")
    for folder in (_SAMPLES / "tokens", _SAMPLES / "token-routing"):
        for rule in folder.glob("*.yaml"):
            text = rule.read_text(encoding="utf-8")
            rule.write_text(_KEYS.sub(f"jwks: '{issuer.key_set()}'", text))
        (folder / "accountant.jwt").write_text(issuer.token("ann", "accounting") + "\n")
        (folder / "customer.jwt").write_text(issuer.token("bob", "customers") + "\n")


if __name__ == "__main__":
    main()
