"""The certificate authority of a trust domain: issues certificates, says whom to trust, rotates.

It keeps one journal in memory, which issuing only reads, and replaces it whole once its successor
has been stored: a store that fails leaves it issuing as before. The methods that change it
(``tick``, ``rotate_root``, ``rotate_issuer``) are for one caller at a time; ``issue`` and
``bundle`` may run beside them in other threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mizzen_certs import ceremony
from mizzen_certs.check import (
    Finding,
    SvidCase,
    require_issuable,
    require_trust_domain,
    svid_findings,
)
from mizzen_certs.errors import CertificateRefused, StoreConflict, StoreCorrupt
from mizzen_certs.journal import Journal, decode, encode
from mizzen_certs.policy import CaPolicy
from mizzen_certs.rotation import Slots, Step, due_step, next_due
from mizzen_certs.sign import Signer, certificate_pem, new_key, private_pem
from mizzen_certs.svid import Svid, TrustBundle
from mizzen_certs.template import svid_template

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mizzen.clock import Clock
    from mizzen.identity import SpiffeId, TrustDomain
    from mizzen_certs.secret import PrivateKeyPem, SecretBytes
    from mizzen_certs.store import KeyStore

_DEFAULT_POLICY: Final = CaPolicy()

_ATTEMPTS: Final = 5
"""Each lost race means that another replica has just done what was due; five in a row do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationEvents:
    """What a rotation did, here or by another replica that shares the store."""

    steps: tuple[Step, ...]
    bundle_changed: bool
    issuer_changed: bool

    def __bool__(self) -> bool:
        """Tell whether anything changed at all."""
        return bool(self.steps) or self.bundle_changed or self.issuer_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A stored journal and what issuing needs of it, prepared once."""

    journal: Journal
    document: SecretBytes = field(repr=False)
    issuer: Signer = field(repr=False)
    issuer_pem: bytes
    bundle: TrustBundle

    @classmethod
    def of(cls, journal: Journal, document: SecretBytes) -> Self:
        issuer = journal.signers[journal.slots.issuer.key_id]
        return cls(
            journal=journal,
            document=document,
            issuer=issuer,
            issuer_pem=certificate_pem(issuer.certificate),
            bundle=_bundle_of(journal),
        )


class Authority:
    """Issues the certificates of one trust domain."""

    def __init__(self, store: KeyStore, clock: Clock, policy: CaPolicy, held: _Held) -> None:
        """Use :meth:`open`."""
        self._store = store
        self._clock = clock
        self._policy = policy
        self._held = held

    @classmethod
    def open(
        cls,
        store: KeyStore,
        trust_domain: TrustDomain,
        clock: Clock,
        policy: CaPolicy = _DEFAULT_POLICY,
    ) -> Self:
        """Return the authority whose keys the store holds, with new ones where it holds none.

        Does what is due by now. Raises :class:`TrustDomainMismatch`, :class:`StoreError`, and
        ``ValueError`` for a name that is no trust domain.
        """
        require_trust_domain(trust_domain)
        document = store.load() or _found(store, trust_domain, clock, policy)
        held = _Held.of(decode(document, trust_domain), document)
        authority = cls(store, clock, policy, held)
        authority.tick()
        return authority

    @property
    def trust_domain(self) -> TrustDomain:
        """The trust domain that this authority speaks for."""
        return self._held.journal.trust_domain

    @property
    def policy(self) -> CaPolicy:
        """The lifetimes that this authority keeps."""
        return self._policy

    @property
    def slots(self) -> Slots:
        """Which keys sign, wait and are trusted, and until when; for status, without any key."""
        return self._held.journal.slots

    def bundle(self) -> TrustBundle:
        """Return the roots to trust; equal, byte for byte, until one comes or goes."""
        return self._held.bundle

    def issue(self, identity: SpiffeId, *, dns_names: tuple[str, ...] = ()) -> Svid:
        """Return a new certificate and key for a workload, checked.

        ``dns_names`` may hold IP addresses too. Raises :class:`CertificateRefused` when the request
        or the certificate breaks a rule, or when the issuer has ended because nobody ticked.
        """
        held, now = self._held, self._clock.now()
        require_issuable(identity, dns_names, held.journal.trust_domain)
        _require_live(held.issuer, now)
        key = new_key()
        template = svid_template(identity, dns_names, now, self._policy, held.issuer.validity)
        signed = held.issuer.sign(template, key.public_key())
        key_pem = private_pem(key)
        released = x509.load_der_x509_certificate(signed.public_bytes(serialization.Encoding.DER))
        case = SvidCase(
            certificate=released,
            signer=held.issuer.certificate,
            key=key_pem,
            identity=identity,
            names=dns_names,
            now=now,
            longest_life=self._policy.svid_ttl,
        )
        return _release(case, held.issuer_pem)

    def issue_server(self, dns_names: tuple[str, ...], identity: SpiffeId) -> Svid:
        """Return a certificate for the control plane's own listener, which clients find by name.

        Raises ``ValueError`` without a name, besides what :meth:`issue` raises.
        """
        if not dns_names:
            raise ValueError("a server needs at least one name that its clients look for")
        return self.issue(identity, dns_names=dns_names)

    def recall(
        self,
        identity: SpiffeId,
        chain_pem: bytes,
        key: PrivateKeyPem,
        *,
        names: tuple[str, ...] = (),
    ) -> Svid | None:
        """Return a certificate that was issued before a restart, None where it may not go on.

        It must be good now by the rules of :meth:`issue`, and signed by the present issuer; it is up
        for renewal when it would have been without the restart.
        """
        held, now = self._held, self._clock.now()
        try:
            leaf = x509.load_pem_x509_certificate(chain_pem)
            case = SvidCase(
                certificate=leaf,
                signer=held.issuer.certificate,
                key=key,
                identity=identity,
                names=names,
                now=now,
                longest_life=self._policy.svid_ttl,
            )
            recalled = _release(case, held.issuer_pem)
        except (ValueError, CertificateRefused):
            return None
        issued = recalled.not_before + self._policy.cushion
        return replace(recalled, renew_at=issued + (recalled.not_after - issued) / 2)

    def tick(self) -> RotationEvents:
        """Do what is due by now, or take over what another replica has done.

        Raises :class:`StoreError`, in which case all stays as it was. May be called at any time.
        """
        return self._change(lambda _: ())

    def next_tick(self) -> datetime:
        """Return when the next step of the rotation is due.

        A sleeper should wake at least every minute all the same: timers stand still while a
        machine is suspended, certificates do not.
        """
        return next_due(self._held.journal.slots, self._policy)

    def rotate_root(self) -> RotationEvents:
        """Begin to replace the root now; it signs from an ``overlap`` later on, by :meth:`tick`.

        Does nothing while a successor is on its way already.
        """
        return self._change(lambda slots: () if slots.next_root else (Step.PREPARE_ROOT,))

    def rotate_issuer(self) -> RotationEvents:
        """Replace the issuing key now by a fresh one; what the last one signed stays good."""
        return self._change(lambda _: (Step.PREPARE_ISSUER, Step.ACTIVATE_ISSUER))

    def _change(self, wanted: Callable[[Slots], tuple[Step, ...]]) -> RotationEvents:
        for _ in range(_ATTEMPTS):
            try:
                return self._attempt(wanted)
            except StoreConflict:
                continue
        raise StoreConflict(f"the stored keys changed {_ATTEMPTS} times while they were rotated")

    def _attempt(self, wanted: Callable[[Slots], tuple[Step, ...]]) -> RotationEvents:
        before = self._held
        stored = self._stored()
        now = self._clock.now()
        journal, steps = _carry_out(stored.journal, wanted, now, self._policy)
        if steps:
            document = encode(journal)
            self._store.save(document, replacing=stored.document)
            stored = _Held.of(journal, document)
        self._held = stored
        return RotationEvents(
            steps=steps,
            bundle_changed=stored.bundle != before.bundle,
            issuer_changed=stored.issuer_pem != before.issuer_pem,
        )

    def _stored(self) -> _Held:
        document = self._store.load()
        if document is None:
            raise StoreCorrupt(
                "the authority's keys have vanished from the store: put them back; without them a "
                "restart founds a new root, which nobody trusts yet"
            )
        if document == self._held.document:
            return self._held
        return _Held.of(decode(document, self.trust_domain), document)


def _found(
    store: KeyStore, trust_domain: TrustDomain, clock: Clock, policy: CaPolicy
) -> SecretBytes:
    document = encode(ceremony.found(trust_domain, clock.now(), policy))
    try:
        store.save(document, replacing=None)
    except StoreConflict:
        winner = store.load()
        if winner is None:
            raise
        return winner
    return document


def _carry_out(
    journal: Journal,
    wanted: Callable[[Slots], tuple[Step, ...]],
    now: datetime,
    policy: CaPolicy,
) -> tuple[Journal, tuple[Step, ...]]:
    done: list[Step] = []
    for step in wanted(journal.slots):
        journal = ceremony.perform(journal, step, now, policy)
        done.append(step)
    while step_due := due_step(journal.slots, now, policy):
        journal = ceremony.perform(journal, step_due, now, policy)
        done.append(step_due)
    return journal, tuple(done)


def _require_live(issuer: Signer, now: datetime) -> None:
    end = issuer.validity.not_after
    if now >= end:
        detail = f"the issuing certificate ended {end:%Y-%m-%dT%H:%M:%SZ}; tick() replaces it"
        raise CertificateRefused("a certificate", (Finding(rule="issuer-life", detail=detail),))


def _release(case: SvidCase, issuer_pem: bytes) -> Svid:
    findings = svid_findings(case)
    if findings:
        raise CertificateRefused(f"the certificate of {case.identity}", findings)
    released = case.certificate
    not_after = released.not_valid_after_utc
    return Svid(
        identity=case.identity,
        chain_pem=certificate_pem(released) + issuer_pem,
        key=case.key,
        not_before=released.not_valid_before_utc,
        not_after=not_after,
        renew_at=case.now + (not_after - case.now) / 2,
        serial=released.serial_number,
    )


def _bundle_of(journal: Journal) -> TrustBundle:
    roots = journal.roots()
    return TrustBundle(
        trust_domain=journal.trust_domain,
        roots_pem=b"".join(map(certificate_pem, roots)),
        expires_at=max(root.not_valid_after_utc for root in roots),
    )
