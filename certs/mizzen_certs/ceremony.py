"""Carrying out the steps of the rotation: makes keys, signs, checks, and returns a new journal.

The machine in :mod:`mizzen_certs.rotation` says when; here is what. Nothing is written: a journal
counts once it has been stored.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mizzen_certs import rotation
from mizzen_certs.check import AuthorityCase, authority_findings
from mizzen_certs.errors import CertificateRefused
from mizzen_certs.journal import ISSUER_PATH_LENGTH, ROOT_PATH_LENGTH, Journal, slot_of
from mizzen_certs.rotation import Slot, Slots, Step
from mizzen_certs.sign import Signer, key_id_of, new_key, private_pem
from mizzen_certs.template import issuer_template, root_template

if TYPE_CHECKING:
    from datetime import datetime

    from mizzen.identity import TrustDomain
    from mizzen_certs.policy import CaPolicy


def found(trust_domain: TrustDomain, now: datetime, policy: CaPolicy) -> Journal:
    """Return the journal of a new authority: one root, one issuer, fresh keys."""
    root = _new_root(trust_domain, now, policy)
    issuer = _new_issuer(trust_domain, root, now, policy)
    return Journal(
        trust_domain=trust_domain,
        slots=Slots(root=slot_of(root, root.key_id, now), issuer=slot_of(issuer, root.key_id, now)),
        signers={root.key_id: root, issuer.key_id: issuer},
        retired={},
    )


def perform(journal: Journal, step: Step, now: datetime, policy: CaPolicy) -> Journal:
    """Return the journal after one step."""
    slots = journal.slots
    match step:
        case Step.PREPARE_ROOT:
            root = _new_root(journal.trust_domain, now, policy)
            fresh = slot_of(root, root.key_id, now)
            return _with(journal, rotation.prepare_root(slots, fresh), root)
        case Step.ACTIVATE_ROOT:
            return _with(journal, rotation.activate_root(slots, now, policy))
        case Step.DROP_ROOT:
            return _with(journal, rotation.drop_roots(slots, now))
        case Step.PREPARE_ISSUER:
            issuer, fresh = _under_current_root(journal, now, policy)
            return _with(journal, rotation.prepare_issuer(slots, fresh), issuer)
        case Step.ACTIVATE_ISSUER:
            return _with(journal, rotation.activate_issuer(slots))
        case _:
            assert_never(step)


def _under_current_root(journal: Journal, now: datetime, policy: CaPolicy) -> tuple[Signer, Slot]:
    root = journal.signers[journal.slots.root.key_id]
    issuer = _new_issuer(journal.trust_domain, root, now, policy)
    return issuer, slot_of(issuer, root.key_id, now)


def _with(journal: Journal, slots: Slots, *fresh: Signer) -> Journal:
    # Keys that no slot holds any more are gone from the journal, and so from the store.
    known = {**journal.signers, **{signer.key_id: signer for signer in fresh}}
    roots = {**journal.retired, **{name: signer.certificate for name, signer in known.items()}}
    return replace(
        journal,
        slots=slots,
        signers={slot.key_id: known[slot.key_id] for slot in slots.signing},
        retired={old.slot.key_id: roots[old.slot.key_id] for old in slots.retired},
    )


def _new_root(trust_domain: TrustDomain, now: datetime, policy: CaPolicy) -> Signer:
    key = new_key()
    template = root_template(trust_domain, key_id_of(key.public_key()), now, policy)
    root = Signer.self_signed(template, key)
    return _checked(root, root, trust_domain, ROOT_PATH_LENGTH)


def _new_issuer(trust_domain: TrustDomain, root: Signer, now: datetime, policy: CaPolicy) -> Signer:
    key = new_key()
    name = key_id_of(key.public_key())
    template = issuer_template(trust_domain, name, now, policy, root.validity)
    return _checked(root.subordinate(template, key), root, trust_domain, ISSUER_PATH_LENGTH)


def _checked(fresh: Signer, by: Signer, trust_domain: TrustDomain, path_length: int) -> Signer:
    released = x509.load_der_x509_certificate(
        fresh.certificate.public_bytes(serialization.Encoding.DER)
    )
    case = AuthorityCase(
        certificate=released,
        signer=by.certificate,
        key=private_pem(fresh.key),
        trust_domain=trust_domain,
        path_length=path_length,
    )
    findings = authority_findings(case)
    if findings:
        raise CertificateRefused("a certificate of the authority itself", findings)
    return Signer(certificate=released, key=fresh.key)
