"""When roots and issuers are prepared, activated and dropped: a pure machine over the clock.

A key has a slot. The root that signs is *current*; its successor waits in *next*; earlier ones are
*retired*: without a key, only still trusted. Issuers have current and next alone, for their
certificates travel with what they sign.

::

    root      ├──────────── current ─────────────┤ retired ┤
              born      half-life     + overlap   activate  + svid_ttl + overlap: dropped
    successor              ├── next (trusted) ───┤ current ───────────…

- The successor enters the bundle at half-life and signs an ``overlap`` later: by then every
  relying party has had it for that long.
- An old root leaves the bundle an ``overlap`` after the last certificate under it has ended; the
  overlap is for replicas and peers that learnt of the switch late.
- A successor of the issuer is made at half-life, so that a store that cannot be written is noticed
  while half a life is left to mend it, and signs from the last sixth on, or earlier where a sixth
  would cut workloads' certificates short.
- A root handed over late, because nobody was running, cuts the overlap short rather than letting
  the mesh run out of certificates: from half an SVID's life before the old root's end.

The agenda says what is due when; transitions return new slots. Nobody holds keys here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mizzen_certs.policy import CaPolicy

_AT_ONCE: Final = datetime.min.replace(tzinfo=UTC)
_ISSUER_LAST_SHARE: Final = 6
"""An issuer hands over in the last sixth of its life, as SPIRE's does."""


class Step(StrEnum):
    """A change of slots."""

    PREPARE_ROOT = "root prepared"
    ACTIVATE_ROOT = "root activated"
    DROP_ROOT = "root dropped"
    PREPARE_ISSUER = "issuer prepared"
    ACTIVATE_ISSUER = "issuer activated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A key of the authority: who signed its certificate, when it was made and when it ends."""

    key_id: str
    signed_by: str
    prepared_at: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A root that signs nothing any more and is trusted until ``drop_at``."""

    slot: Slot
    drop_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """All keys of an authority and what each is for."""

    root: Slot
    next_root: Slot | None = None
    retired: tuple[Retired, ...] = ()
    issuer: Slot
    next_issuer: Slot | None = None

    @property
    def trusted(self) -> tuple[Slot, ...]:
        """The roots that relying parties must hold."""
        coming = () if self.next_root is None else (self.next_root,)
        return (*(retired.slot for retired in self.retired), self.root, *coming)

    @property
    def signing(self) -> tuple[Slot, ...]:
        """The slots whose private keys must be kept."""
        coming = (self.next_root, self.next_issuer)
        return (self.root, self.issuer, *(slot for slot in coming if slot is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """A step and when it is due."""

    at: datetime
    step: Step


def due_step(slots: Slots, now: datetime, policy: CaPolicy) -> Step | None:
    """Return the first step that is due; doing it and asking again ends with None."""
    due = (appointment.step for appointment in _agenda(slots, policy) if appointment.at <= now)
    return next(due, None)


def next_due(slots: Slots, policy: CaPolicy) -> datetime:
    """Return when the earliest step is due; there is always one."""
    return min(appointment.at for appointment in _agenda(slots, policy))


def prepare_root(slots: Slots, fresh: Slot) -> Slots:
    """Let relying parties know a root that will sign later."""
    return replace(slots, next_root=fresh)


def activate_root(slots: Slots, now: datetime, policy: CaPolicy) -> Slots:
    """Retire the current root for the next one; an issuer under the new one is due at once."""
    if slots.next_root is None:
        raise ValueError("no root was prepared")
    # The last certificate under the old root is made now at the latest, and never outlives it.
    last_end = min(now + policy.svid_ttl, slots.root.not_after)
    retired = Retired(slot=slots.root, drop_at=last_end + policy.overlap)
    return replace(
        slots,
        root=slots.next_root,
        next_root=None,
        retired=(*slots.retired, retired),
        next_issuer=None,
    )


def drop_roots(slots: Slots, now: datetime) -> Slots:
    """Stop trusting the retired roots whose time has come."""
    return replace(slots, retired=tuple(old for old in slots.retired if old.drop_at > now))


def prepare_issuer(slots: Slots, fresh: Slot) -> Slots:
    """Keep an issuer ready that will sign later."""
    return replace(slots, next_issuer=fresh)


def activate_issuer(slots: Slots) -> Slots:
    """Let the next issuer sign; what the last one signed stays good."""
    if slots.next_issuer is None:
        raise ValueError("no issuer was prepared")
    return replace(slots, issuer=slots.next_issuer, next_issuer=None)


def _agenda(slots: Slots, policy: CaPolicy) -> tuple[Appointment, ...]:
    # In order of precedence: a new root brings a new issuer, and nothing is dropped before both.
    return (
        _root_appointment(slots, policy),
        *_issuer_appointments(slots, policy),
        *(Appointment(at=old.drop_at, step=Step.DROP_ROOT) for old in slots.retired),
    )


def _root_appointment(slots: Slots, policy: CaPolicy) -> Appointment:
    if slots.next_root is None:
        # A policy that was made shorter counts for the root that is there, too.
        by_policy = slots.root.prepared_at + policy.root_ttl / 2
        return Appointment(at=min(_half_life(slots.root), by_policy), step=Step.PREPARE_ROOT)
    last_call = slots.root.not_after - policy.svid_ttl / 2
    at = min(slots.next_root.prepared_at + policy.overlap, last_call)
    return Appointment(at=at, step=Step.ACTIVATE_ROOT)


def _issuer_appointments(slots: Slots, policy: CaPolicy) -> tuple[Appointment, ...]:
    orphaned = slots.issuer.signed_by != slots.root.key_id
    if slots.next_issuer is not None:
        at = _AT_ONCE if orphaned else _handover(slots.issuer, policy)
        return (Appointment(at=at, step=Step.ACTIVATE_ISSUER),)
    if orphaned:
        return (Appointment(at=_AT_ONCE, step=Step.PREPARE_ISSUER),)
    if slots.issuer.not_after >= slots.root.not_after:
        return ()  # A successor could not live longer: the next root brings the next issuer.
    return (Appointment(at=_half_life(slots.issuer), step=Step.PREPARE_ISSUER),)


def _half_life(slot: Slot) -> datetime:
    return slot.prepared_at + (slot.not_after - slot.prepared_at) / 2


def _handover(issuer: Slot, policy: CaPolicy) -> datetime:
    last_share = (issuer.not_after - issuer.prepared_at) / _ISSUER_LAST_SHARE
    return issuer.not_after - max(last_share, policy.svid_ttl)
