"""A stored authority is read back whole, or refused with the path of what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from mizzen_certs import Authority, CaPolicy, MemoryStore, SecretBytes, StoreCorrupt
from mizzen_certs.ceremony import found, perform
from mizzen_certs.journal import Journal, decode, encode
from mizzen_certs.rotation import Step
from mizzen_certs.sign import new_key, private_pem
from tests.unit.certs.forge import TRUST_DOMAIN, Forgery

if TYPE_CHECKING:
    from tests.support.clock import ManualClock


@pytest.fixture
def journal(clock: ManualClock) -> Journal:
    """An authority with every slot filled."""
    policy = CaPolicy()
    journal = found(TRUST_DOMAIN, clock.now(), policy)
    for step in (
        Step.PREPARE_ROOT,
        Step.ACTIVATE_ROOT,
        Step.PREPARE_ISSUER,
        Step.ACTIVATE_ISSUER,
        Step.PREPARE_ROOT,
        Step.PREPARE_ISSUER,
    ):
        journal = perform(journal, step, clock.now(), policy)
    return journal


def _document(journal: Journal) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(encode(journal).reveal())
    return document


def _read(document: object) -> Journal:
    return decode(SecretBytes(json.dumps(document).encode()), TRUST_DOMAIN)


def test_what_is_written_is_read_back(journal: Journal) -> None:
    again = decode(encode(journal), TRUST_DOMAIN)
    assert again.slots == journal.slots
    assert again.roots() == journal.roots()
    assert encode(again) == encode(journal)


def test_a_journal_prints_no_key(journal: Journal) -> None:
    assert "signers" not in repr(journal)
    assert "PRIVATE" not in repr(journal)
    assert "key=" not in repr(journal.signers[journal.slots.root.key_id])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_document_cut_short_is_refused_and_quotes_no_key(journal: Journal, share: float) -> None:
    whole = encode(journal).reveal()
    with pytest.raises(StoreCorrupt, match="may be cut short") as refused:
        decode(SecretBytes(whole[: int(len(whole) * share)]), TRUST_DOMAIN)
    assert refused.value.__cause__ is None


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(StoreCorrupt, match="not JSON"):
        decode(SecretBytes(b"\xff\xfe\xfd"), TRUST_DOMAIN)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), 2, "format 2 .* unknown"),
        (("format",), "1", "format is missing or no number"),
        (("trust_domain",), None, "trust_domain is missing or no text"),
        (("root",), None, "root is missing or no object"),
        (("issuer",), [], "issuer is missing or no object"),
        (("retired",), {}, "retired is missing or no list"),
        (("retired",), ["x"], r"retired\[0\] is missing or no object"),
        (("next_root",), 7, "next_root is missing or no object"),
        (("root", "prepared_at"), "yesterday", "root is unusable: prepared_at is no time"),
        (("root", "prepared_at"), "2026-01-01", "root is unusable: prepared_at has no time zone"),
        (("issuer", "certificate"), "x", "issuer is unusable: certificate is no certificate"),
        (("issuer", "key"), "x", "issuer is unusable: key is no private key"),
        (("retired", 0, "drop_at"), None, r"retired\[0\] is unusable: drop_at is missing"),
    ],
)
def test_a_document_is_refused_with_the_path_of_what_is_wrong(
    journal: Journal, path: tuple[Any, ...], value: object, message: str
) -> None:
    document = _document(journal)
    holder = document
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    with pytest.raises(StoreCorrupt, match=message):
        _read(document)


def test_a_document_that_is_no_object_is_refused() -> None:
    with pytest.raises(StoreCorrupt, match="document is missing or no object"):
        _read([])


def test_a_key_that_is_another_certificates_is_refused(journal: Journal) -> None:
    document = _document(journal)
    document["issuer"]["key"] = private_pem(new_key()).reveal().decode()
    with pytest.raises(StoreCorrupt, match=r"issuer is unusable: key: .* another certificate's"):
        _read(document)


def test_an_issuer_of_another_root_is_refused(journal: Journal) -> None:
    document = _document(journal)
    document["root"] = document["next_root"]
    with pytest.raises(StoreCorrupt, match="issuer is unusable: signature"):
        _read(document)


def test_an_issuer_in_a_roots_place_is_refused(journal: Journal) -> None:
    document = _document(journal)
    document["next_root"] = document["issuer"]
    with pytest.raises(StoreCorrupt, match="next_root is unusable: signature"):
        _read(document)


def test_keys_of_other_kinds_are_refused(journal: Journal) -> None:
    document = _document(journal)
    key = ed25519.Ed25519PrivateKey.generate()
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    document["root"]["key"] = encoded.decode()
    with pytest.raises(StoreCorrupt, match="root is unusable: key is not an elliptic curve key"):
        _read(document)


def test_an_encrypted_key_is_refused(journal: Journal) -> None:
    document = _document(journal)
    encoded = new_key().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    document["root"]["key"] = encoded.decode()
    with pytest.raises(StoreCorrupt, match="root is unusable: key is no private key"):
        _read(document)


def test_a_retired_root_with_a_key_of_another_kind_is_refused(
    journal: Journal, clock: ManualClock
) -> None:
    document = _document(journal)
    root = journal.signers[journal.slots.root.key_id]
    odd = Forgery(signer=root, now=clock.now(), key=rsa.generate_private_key(65537, 2048))
    document["retired"][0]["certificate"] = odd.forged().public_bytes(Encoding.PEM).decode()
    with pytest.raises(StoreCorrupt, match="not an elliptic curve key"):
        _read(document)


def test_a_corrupt_store_opens_no_new_authority(clock: ManualClock) -> None:
    store = MemoryStore()
    store.save(SecretBytes(b'{"format": 1'), replacing=None)
    with pytest.raises(StoreCorrupt):
        Authority.open(store, TRUST_DOMAIN, clock)
    assert store.load() == SecretBytes(b'{"format": 1')
