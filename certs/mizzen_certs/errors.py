"""What can go wrong in the authority, as one small tree.

::

    CertsError
    ├── CertificateRefused   a request or a signed certificate broke a rule; nothing was released
    ├── PeerRefused          a peer's certificate does not name exactly one workload
    ├── TrustDomainMismatch  the stored keys belong to another trust domain
    └── StoreError           the keys could not be read or written
        ├── StoreUnsafe      others than the owner could read or replace the keys
        ├── StoreCorrupt     what is stored is not a whole, consistent authority
        └── StoreConflict    another process wrote in between; read again and retry

None of them is answered by making new keys: a fresh root that nobody trusts is an outage, so a
person decides.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that a certificate breaks, and how."""

    rule: str
    detail: str


class CertsError(Exception):
    """Something is wrong with the authority, its keys or a certificate."""


class CertificateRefused(CertsError):
    """A certificate was not released because it broke the rules in ``findings``."""

    def __init__(self, what: str, findings: tuple[Finding, ...]) -> None:
        """Say what was refused and list each broken rule."""
        reasons = "; ".join(f"{finding.rule}: {finding.detail}" for finding in findings)
        super().__init__(f"{what} refused: {reasons}")
        self.findings = findings


class PeerRefused(CertsError):
    """A peer's certificate does not say who the peer is."""


class TrustDomainMismatch(CertsError):
    """The keys in the store were made for another trust domain than the one asked for."""


class StoreError(CertsError):
    """The store of keys could not be used."""


class StoreUnsafe(StoreError):
    """Somebody else than the owner could read or replace the keys."""


class StoreCorrupt(StoreError):
    """The store holds something that is not a complete authority."""


class StoreConflict(StoreError):
    """The store no longer holds what the caller meant to replace."""
