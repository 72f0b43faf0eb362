"""Everything an authority is, as one value and as one document.

One document, so that writing it is one atomic act and no crash leaves a key without its slot.
Retired roots have no private key in it: nothing is signed by them any more. Reading judges each
certificate with the rules that it was released under, so a document that was cut, edited or mixed
from two is refused with the path of what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mizzen_certs.check import AuthorityCase, authority_findings
from mizzen_certs.errors import StoreCorrupt, TrustDomainMismatch
from mizzen_certs.rotation import Retired, Slot, Slots
from mizzen_certs.secret import SecretBytes
from mizzen_certs.sign import Signer, certificate_pem, key_id_of, private_pem

if TYPE_CHECKING:
    from mizzen.identity import TrustDomain

_FORMAT: Final = 1
ROOT_PATH_LENGTH: Final = 1
ISSUER_PATH_LENGTH: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The slots of an authority, the signers in them by key id, and the trusted certificates."""

    trust_domain: TrustDomain
    slots: Slots
    signers: Mapping[str, Signer] = field(repr=False)
    retired: Mapping[str, x509.Certificate]

    def roots(self) -> tuple[x509.Certificate, ...]:
        """Return the certificates that relying parties must trust, oldest first."""
        found = (
            self.retired[slot.key_id]
            if slot.key_id in self.retired
            else self.signers[slot.key_id].certificate
            for slot in self.slots.trusted
        )
        return tuple(sorted(found, key=lambda root: (root.not_valid_before_utc, _key_id(root))))


def slot_of(signer: Signer, signed_by: str, prepared_at: datetime) -> Slot:
    """Return the slot of a signer."""
    return Slot(
        key_id=signer.key_id,
        signed_by=signed_by,
        prepared_at=prepared_at,
        not_after=signer.validity.not_after,
    )


def encode(journal: Journal) -> SecretBytes:
    """Return the document of a journal; equal journals give equal bytes."""
    slots = journal.slots
    document = {
        "format": _FORMAT,
        "trust_domain": journal.trust_domain,
        "root": _written(journal, slots.root),
        "next_root": _written(journal, slots.next_root),
        "issuer": _written(journal, slots.issuer),
        "next_issuer": _written(journal, slots.next_issuer),
        "retired": [_written_retired(journal, old) for old in slots.retired],
    }
    return SecretBytes(json.dumps(document, indent=1).encode())


def decode(document: SecretBytes, trust_domain: TrustDomain) -> Journal:
    """Return the journal of a document.

    Raises :class:`StoreCorrupt` for what is not whole and consistent and
    :class:`TrustDomainMismatch` for another trust domain's.
    """
    reader = _Reader.of(document)
    if reader.number("format") != _FORMAT:
        raise StoreCorrupt(
            f"format {reader.number('format')} of the authority's document is unknown"
        )
    stored = reader.text("trust_domain")
    if stored != trust_domain:
        raise TrustDomainMismatch(
            f"the stored keys are those of trust domain {stored!r}, not {trust_domain!r}: use "
            "another store, or the trust domain that its workloads already have"
        )
    return _read(reader, trust_domain)


def _written(journal: Journal, slot: Slot | None) -> dict[str, str] | None:
    if slot is None:
        return None
    signer = journal.signers[slot.key_id]
    return {
        "prepared_at": slot.prepared_at.isoformat(),
        "certificate": certificate_pem(signer.certificate).decode(),
        "key": private_pem(signer.key).reveal().decode(),
    }


def _written_retired(journal: Journal, old: Retired) -> dict[str, str]:
    return {
        "prepared_at": old.slot.prepared_at.isoformat(),
        "drop_at": old.drop_at.isoformat(),
        "certificate": certificate_pem(journal.retired[old.slot.key_id]).decode(),
    }


def _read(reader: _Reader, trust_domain: TrustDomain) -> Journal:
    root, root_slot = _read_root(reader.child("root"), trust_domain)
    issuer, issuer_slot = _read_issuer(reader.child("issuer"), trust_domain, root)
    coming_root = reader.optional("next_root")
    coming_issuer = reader.optional("next_issuer")
    next_root = None if coming_root is None else _read_root(coming_root, trust_domain)
    next_issuer = None if coming_issuer is None else _read_issuer(coming_issuer, trust_domain, root)
    retired = tuple(_read_retired(old) for old in reader.children("retired"))
    signers = [root, issuer, *(found[0] for found in (next_root, next_issuer) if found)]
    return Journal(
        trust_domain=trust_domain,
        slots=Slots(
            root=root_slot,
            next_root=None if next_root is None else next_root[1],
            retired=tuple(old for old, _ in retired),
            issuer=issuer_slot,
            next_issuer=None if next_issuer is None else next_issuer[1],
        ),
        signers={signer.key_id: signer for signer in signers},
        retired={old.slot.key_id: certificate for old, certificate in retired},
    )


def _read_root(reader: _Reader, trust_domain: TrustDomain) -> tuple[Signer, Slot]:
    signer = reader.signer()
    _judge(reader, signer, signer, trust_domain, ROOT_PATH_LENGTH)
    return signer, slot_of(signer, signer.key_id, reader.moment("prepared_at"))


def _read_issuer(reader: _Reader, trust_domain: TrustDomain, root: Signer) -> tuple[Signer, Slot]:
    signer = reader.signer()
    _judge(reader, signer, root, trust_domain, ISSUER_PATH_LENGTH)
    return signer, slot_of(signer, root.key_id, reader.moment("prepared_at"))


def _read_retired(reader: _Reader) -> tuple[Retired, x509.Certificate]:
    certificate = reader.certificate()
    slot = Slot(
        key_id=_key_id(certificate),
        signed_by=_key_id(certificate),
        prepared_at=reader.moment("prepared_at"),
        not_after=certificate.not_valid_after_utc,
    )
    return Retired(slot=slot, drop_at=reader.moment("drop_at")), certificate


def _judge(
    reader: _Reader, signer: Signer, by: Signer, trust_domain: TrustDomain, path_length: int
) -> None:
    case = AuthorityCase(
        certificate=signer.certificate,
        signer=by.certificate,
        key=private_pem(signer.key),
        trust_domain=trust_domain,
        path_length=path_length,
    )
    findings = authority_findings(case)
    if findings:
        raise reader.corrupt("; ".join(f"{found.rule}: {found.detail}" for found in findings))


def _key_id(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise StoreCorrupt("a stored root's key is not an elliptic curve key")
    return key_id_of(key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """An object of the document and the path to it; what it raises never quotes the document."""

    path: str
    fields: Mapping[str, object] = field(repr=False)

    @classmethod
    def of(cls, document: SecretBytes) -> _Reader:
        try:
            read = json.loads(document.reveal())
        except ValueError:
            # Not chained: the parser's error carries the whole document, keys and all.
            raise StoreCorrupt(
                "the authority's document is not JSON; it may be cut short"
            ) from None
        return cls.at("document", read)

    @classmethod
    def at(cls, path: str, value: object) -> _Reader:
        if not isinstance(value, dict):
            raise StoreCorrupt(f"the authority's {path} is missing or no object")
        return cls(path=path, fields=value)

    def corrupt(self, detail: str) -> StoreCorrupt:
        return StoreCorrupt(f"the authority's {self.path} is unusable: {detail}")

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str):
            raise self.corrupt(f"{name} is missing or no text")
        return value

    def number(self, name: str) -> int:
        value = self.fields.get(name)
        if not isinstance(value, int):
            raise self.corrupt(f"{name} is missing or no number")
        return value

    def moment(self, name: str) -> datetime:
        try:
            moment = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise self.corrupt(f"{name} is no time") from error
        if moment.tzinfo is None:
            raise self.corrupt(f"{name} has no time zone")
        return moment

    def child(self, name: str) -> _Reader:
        return self.at(name, self.fields.get(name))

    def optional(self, name: str) -> _Reader | None:
        return None if self.fields.get(name) is None else self.child(name)

    def children(self, name: str) -> tuple[_Reader, ...]:
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self.corrupt(f"{name} is missing or no list")
        return tuple(self.at(f"{name}[{index}]", entry) for index, entry in enumerate(value))

    def certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.text("certificate").encode())
        except ValueError as error:
            raise self.corrupt("certificate is no certificate") from error

    def signer(self) -> Signer:
        return Signer(certificate=self.certificate(), key=self.key())

    def key(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(self.text("key").encode(), None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise self.corrupt("key is no private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise self.corrupt("key is not an elliptic curve key")
        return key
