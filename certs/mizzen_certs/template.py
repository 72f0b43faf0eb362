"""What a certificate should say, as a value; nothing here has a key.

Three kinds: root, issuer, workload. Each lifetime is cut to the signer's, and dated back by the
policy's cushion but never to before the signer. Times are whole seconds, as X.509's are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from datetime import datetime

    from mizzen.identity import SpiffeId, TrustDomain
    from mizzen_certs.policy import CaPolicy

NOBODY: Final = x509.Name(())
"""A workload's subject: empty, for the identity is in the URI SAN (SPIFFE X509-SVID, 2)."""

_ISSUER_PATH_LENGTH: Final = 0
_ROOT_PATH_LENGTH: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when until when a certificate is good, both inclusive."""

    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The contents of a certificate but for its keys, serial and signature.

    ``path_length`` is None for a workload: it signs nothing. ``names`` are DNS names and IP
    addresses beside the URI.
    """

    subject: x509.Name
    uri: str
    names: tuple[str, ...] = ()
    validity: Validity
    path_length: int | None


def root_template(
    trust_domain: TrustDomain, key_id: str, now: datetime, policy: CaPolicy
) -> Template:
    """Return what a new root should say."""
    return Template(
        subject=_authority_name("root", key_id),
        uri=f"spiffe://{trust_domain}",
        validity=_validity(now, now + policy.root_ttl, policy, None),
        path_length=_ROOT_PATH_LENGTH,
    )


def issuer_template(
    trust_domain: TrustDomain, key_id: str, now: datetime, policy: CaPolicy, root: Validity
) -> Template:
    """Return what a new issuing certificate under a root should say."""
    return Template(
        subject=_authority_name("issuer", key_id),
        uri=f"spiffe://{trust_domain}",
        validity=_validity(now, now + policy.issuer_ttl, policy, root),
        path_length=_ISSUER_PATH_LENGTH,
    )


def svid_template(
    identity: SpiffeId, names: tuple[str, ...], now: datetime, policy: CaPolicy, issuer: Validity
) -> Template:
    """Return what a workload's certificate under an issuer should say."""
    return Template(
        subject=NOBODY,
        uri=str(identity),
        names=names,
        validity=_validity(now, now + policy.svid_ttl, policy, issuer),
        path_length=None,
    )


def _authority_name(role: str, key_id: str) -> x509.Name:
    # The key id makes the names of successive authorities differ, so that a verifier that holds
    # two roots finds the right one by name alone. The trust domain may exceed X.520's 64
    # characters; it stands in the URI SAN.
    return x509.Name(
        (
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Mizzen"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{role} {key_id[:16]}"),
        )
    )


def _validity(now: datetime, end: datetime, policy: CaPolicy, signer: Validity | None) -> Validity:
    start = now - policy.cushion
    if signer is not None:
        start, end = max(start, signer.not_before), min(end, signer.not_after)
    return Validity(not_before=start.replace(microsecond=0), not_after=end.replace(microsecond=0))
