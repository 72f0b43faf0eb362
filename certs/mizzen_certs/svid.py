"""What the authority gives away: a workload's certificate with its key, and what to trust."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from mizzen.identity import SpiffeId, TrustDomain
    from mizzen_certs.secret import PrivateKeyPem


@dataclass(frozen=True, slots=True, kw_only=True)
class Svid:
    """A SPIFFE verifiable identity document of the X.509 kind (SPIFFE X509-SVID, section 2).

    ``chain_pem`` is the leaf and then its issuing certificates, without the root. ``renew_at`` is
    when a successor should be fetched; the certificate itself is good until ``not_after``.
    """

    identity: SpiffeId
    chain_pem: bytes = field(repr=False)
    key: PrivateKeyPem
    not_before: datetime
    not_after: datetime
    renew_at: datetime
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustBundle:
    """The roots that members of a trust domain trust, oldest first.

    ``expires_at`` is when the last of them ends: who is given no newer bundle trusts nobody then.
    """

    trust_domain: TrustDomain
    roots_pem: bytes = field(repr=False)
    expires_at: datetime
