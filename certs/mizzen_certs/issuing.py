"""Issuing by an authority, whoever made its keys: check the request, sign, check what was signed.

What is different from one authority to another is where its keys come from and what is due when; that
is in :mod:`mizzen_certs.authority` and :mod:`mizzen_certs.plugged`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mizzen_certs.check import SvidCase, require_issuable, svid_findings
from mizzen_certs.errors import CertificateRefused, Finding
from mizzen_certs.sign import Signer, certificate_pem, new_key, private_pem
from mizzen_certs.svid import Svid, TrustBundle
from mizzen_certs.template import svid_template

if TYPE_CHECKING:
    from datetime import datetime

    from mizzen.clock import Clock
    from mizzen.identity import SpiffeId, TrustDomain
    from mizzen_certs.policy import CaPolicy
    from mizzen_certs.rotation import Step
    from mizzen_certs.secret import PrivateKeyPem


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationEvents:
    """What a rotation did, here or by another replica that shares the store."""

    steps: tuple[Step, ...] = ()
    bundle_changed: bool = False
    issuer_changed: bool = False

    def __bool__(self) -> bool:
        """Tell whether anything changed at all."""
        return bool(self.steps) or self.bundle_changed or self.issuer_changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What issuing needs, prepared once: ``issuer_pem`` is what follows the leaf in a chain."""

    trust_domain: TrustDomain
    issuer: Signer = field(repr=False)
    issuer_pem: bytes
    bundle: TrustBundle


class Issuing(ABC):
    """Issues the certificates of one trust domain.

    ``issue`` and ``bundle`` may run in other threads, beside the one that calls what changes it.
    """

    def __init__(self, clock: Clock, policy: CaPolicy) -> None:
        """Keep the clock and the lifetimes."""
        self._clock = clock
        self._policy = policy

    @property
    @abstractmethod
    def held(self) -> Held:
        """What is issued with now."""

    @abstractmethod
    def tick(self) -> RotationEvents:
        """Do what is due by now, or take over what another replica has done."""

    @abstractmethod
    def follow(self) -> RotationEvents:
        """Take over what another replica has done, and do nothing else."""

    @abstractmethod
    def next_tick(self) -> datetime:
        """Return when the next step of the rotation is due."""

    @abstractmethod
    def rotate_issuer(self) -> RotationEvents:
        """Replace the issuing key now, where that is ours to do."""

    @property
    def trust_domain(self) -> TrustDomain:
        """The trust domain that this authority speaks for."""
        return self.held.trust_domain

    @property
    def policy(self) -> CaPolicy:
        """The lifetimes that this authority keeps."""
        return self._policy

    def bundle(self) -> TrustBundle:
        """Return the roots to trust; equal, byte for byte, until one comes or goes."""
        return self.held.bundle

    def issue(self, identity: SpiffeId, *, dns_names: tuple[str, ...] = ()) -> Svid:
        """Return a new certificate and key for a workload, checked.

        ``dns_names`` may hold IP addresses too. Raises :class:`CertificateRefused` when the request
        or the certificate breaks a rule, or when the issuer has ended because nobody ticked.
        """
        held, now = self.held, self._clock.now()
        require_issuable(identity, dns_names, held.trust_domain)
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
        held, now = self.held, self._clock.now()
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
