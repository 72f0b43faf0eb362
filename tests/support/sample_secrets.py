"""Makes the certificates and tokens of ``samples/``: nobody trusts them but the samples, for a hundred years.

    python -m tests.support.sample_secrets

An authority, whose key is thrown away; of it the courier's certificate, the shop's and a customer's. An issuer of
tokens, whose key is thrown away, too; of it an accountant's token and a customer's.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.support.certificates import TestAuthority, secret, tls_secret
from tests.support.repository import ROOT

_SAMPLES: Final = ROOT / "samples"
_HEAD: Final = """\
# For this sample alone: `kubectl create secret` makes your own.
"""
_KEYS: Final = re.compile(r"jwks: '.*'")


_LIFE: Final = timedelta(days=36_500)


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
            "exp": int((datetime.now(UTC) + _LIFE).timestamp()),
        }
        signed = ".".join(_encoded(json.dumps(part).encode()) for part in (head, claims))
        mark = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        raw = b"".join(number.to_bytes(32) for number in decode_dss_signature(mark))
        return f"{signed}.{_encoded(raw)}"


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def main() -> None:
    """Write all of them anew."""
    _write_certificates()
    _write_tokens()


def _write_certificates() -> None:
    authority = TestAuthority("Samples of Mizzen", _LIFE)
    hosts = ("courier.example.com", "customer.example.com", "shop.example.com")
    courier, customer, shop = map(authority.issue, hosts)
    app = _SAMPLES / "shop" / "app"
    (app / "courier.pem").write_text(courier.key + courier.chain)
    (app / "customer.pem").write_text(customer.key + customer.chain)
    (app / "authority.pem").write_text(authority.pem)
    texts = {
        "ingress-tls": tls_secret("shop-certificate", "istio-system", shop),
        "ingress-mutual-tls": tls_secret(
            "shop-certificate", "istio-system", shop, ca__crt=authority.pem
        ),
        "tls-origination": secret("courier-roots", "shop", ca__crt=authority.pem),
        "egress-gateway-tls": secret("courier-roots", "istio-system", ca__crt=authority.pem),
    }
    for sample, text in texts.items():
        (_SAMPLES / sample / "secret.yaml").write_text(f"{_HEAD}{text.strip().removesuffix('---')}")


def _write_tokens() -> None:
    issuer = SampleIssuer("https://tokens.example.com")
    (_SAMPLES / "shop" / "app" / "keys.jwks").write_text(f"{issuer.key_set()}\n")
    for folder in (_SAMPLES / "tokens", _SAMPLES / "token-routing"):
        for rule in folder.glob("*.yaml"):
            text = rule.read_text(encoding="utf-8")
            rule.write_text(_KEYS.sub(f"jwks: '{issuer.key_set()}'", text))
        (folder / "accountant.jwt").write_text(issuer.token("ann", "accounting") + "\n")
        (folder / "customer.jwt").write_text(issuer.token("bob", "customers") + "\n")


if __name__ == "__main__":
    main()
