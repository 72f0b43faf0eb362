"""Who a peer is stands in its certificate as exactly one workload's URI, or nobody is let in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mizzen_certs import CaPolicy, PeerRefused, identity_of
from mizzen_certs.ceremony import found
from mizzen_certs.sign import Signer
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN, Forgery

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS = x509.UniformResourceIdentifier(str(CART))


@pytest.fixture(scope="module")
def root() -> Signer:
    """Any signer: the handshake has judged it."""
    journal = found(TRUST_DOMAIN, NOW, CaPolicy())
    return journal.signers[journal.slots.root.key_id]


@pytest.mark.parametrize("encoding", [Encoding.DER, Encoding.PEM])
def test_a_workload_is_known_by_its_certificate(root: Signer, encoding: Encoding) -> None:
    assert identity_of(Forgery(signer=root, now=NOW).forged().public_bytes(encoding)) == CART


def test_of_a_chain_the_first_certificate_counts(root: Signer) -> None:
    chain = b"\n".join(
        (
            Forgery(signer=root, now=NOW).forged().public_bytes(Encoding.PEM),
            root.certificate.public_bytes(Encoding.PEM),
        )
    )
    assert identity_of(chain) == CART


def test_a_certificate_that_says_nothing_of_constraints_is_a_workloads(root: Signer) -> None:
    forgery = Forgery(signer=root, now=NOW, constraints=None)
    assert identity_of(forgery.forged().public_bytes(Encoding.DER)) == CART


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": None}, "no alternative name"),
        ({"names": (x509.DNSName("cart"),)}, "names 0 URIs"),
        ({"names": (OURS, x509.UniformResourceIdentifier(str(STOCK)))}, "names 2 URIs"),
        (
            {"names": (x509.UniformResourceIdentifier("https://shop.example/ns/a/sa/b"),)},
            "not a workload's SPIFFE id",
        ),
        (
            {"constraints": (x509.BasicConstraints(ca=True, path_length=None), True)},
            "an authority's",
        ),
    ],
)
def test_a_peer_is_refused_that(root: Signer, changes: dict[str, Any], message: str) -> None:
    forgery = Forgery(signer=root, now=NOW, **changes)
    with pytest.raises(PeerRefused, match=message):
        identity_of(forgery.forged().public_bytes(Encoding.DER))


@pytest.mark.parametrize("sent", [b"", b"-----BEGIN CERTIFICATE-----\nx", b"\x30\x03abc"])
def test_what_is_no_certificate_is_refused(sent: bytes) -> None:
    with pytest.raises(PeerRefused, match="no certificate that can be read"):
        identity_of(sent)


def test_extensions_that_cannot_be_read_are_refused(root: Signer) -> None:
    """The first length inside the alternative name is broken in the bytes."""
    der = Forgery(signer=root, now=NOW).forged().public_bytes(Encoding.DER)
    uri = str(CART).encode()
    broken = der.replace(bytes((0x86, len(uri))) + uri, bytes((0x86, len(uri) + 9)) + uri)
    assert broken != der
    with pytest.raises(PeerRefused, match="unreadable extensions"):
        identity_of(broken)
