"""The certificate authority of a trust domain: issues certificates, says whom to trust, rotates.

It keeps one journal in memory, which issuing only reads, and replaces it whole once its successor
has been stored: a store that fails leaves it issuing as before. The methods that change it
(``tick``, ``rotate_root``, ``rotate_issuer``) are for one caller at a time; ``issue`` and
``bundle`` may run beside them in other threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from typing_extensions import override

from mizzen_certs import ceremony
from mizzen_certs.check import require_trust_domain
from mizzen_certs.errors import StoreConflict, StoreCorrupt
from mizzen_certs.issuing import Held, Issuing, RotationEvents
from mizzen_certs.journal import Journal, decode, encode
from mizzen_certs.policy import CaPolicy
from mizzen_certs.rotation import Slots, Step, due_step, next_due
from mizzen_certs.sign import certificate_pem
from mizzen_certs.svid import TrustBundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mizzen.clock import Clock
    from mizzen.identity import TrustDomain
    from mizzen_certs.secret import SecretBytes
    from mizzen_certs.store import KeyStore

_DEFAULT_POLICY: Final = CaPolicy()

_ATTEMPTS: Final = 5
"""Each lost race means that another replica has just done what was due; five in a row do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held(Held):
    """A stored journal and what issuing needs of it, prepared once."""

    journal: Journal
    document: SecretBytes = field(repr=False)

    @classmethod
    def of(cls, journal: Journal, document: SecretBytes) -> Self:
        issuer = journal.signers[journal.slots.issuer.key_id]
        return cls(
            trust_domain=journal.trust_domain,
            journal=journal,
            document=document,
            issuer=issuer,
            issuer_pem=certificate_pem(issuer.certificate),
            bundle=_bundle_of(journal),
        )


class Authority(Issuing):
    """Issues the certificates of one trust domain."""

    def __init__(self, store: KeyStore, clock: Clock, policy: CaPolicy, held: _Held) -> None:
        """Use :meth:`open`."""
        super().__init__(clock, policy)
        self._store = store
        self._held = held

    @property
    @override
    def held(self) -> Held:
        """What is issued with now."""
        return self._held

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
    def slots(self) -> Slots:
        """Which keys sign, wait and are trusted, and until when; for status, without any key."""
        return self._held.journal.slots

    @override
    def tick(self) -> RotationEvents:
        """Do what is due by now, or take over what another replica has done.

        Raises :class:`StoreError`, in which case all stays as it was. May be called at any time.
        """
        return self._change(lambda _: ())

    @override
    def follow(self) -> RotationEvents:
        """Take over what another replica has done; raises :class:`StoreError`."""
        before, self._held = self._held, self._stored()
        return _events(before, self._held, ())

    @override
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

    @override
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
        return _events(before, stored, steps)

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


def _events(before: Held, now: Held, steps: tuple[Step, ...]) -> RotationEvents:
    return RotationEvents(
        steps=steps,
        bundle_changed=now.bundle != before.bundle,
        issuer_changed=now.issuer_pem != before.issuer_pem,
    )


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


def _bundle_of(journal: Journal) -> TrustBundle:
    roots = journal.roots()
    return TrustBundle(
        trust_domain=journal.trust_domain,
        roots_pem=b"".join(map(certificate_pem, roots)),
        expires_at=max(root.not_valid_after_utc for root in roots),
    )
