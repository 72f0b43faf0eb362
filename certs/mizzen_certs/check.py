"""The independent check between signing and release: what was signed is parsed again and judged.

It shares no code with the templates and the signing, only the question: who was to be certified,
by whom, with which key, when. So a mistake there shows here, before a certificate leaves, and a
store whose certificates were swapped shows when it is loaded. Each rule is a function from the
case to what is wrong with it, or None.

Sources: SPIFFE X509-SVID (sections 2 to 5 and appendix A), SPIFFE-ID (section 2), RFC 5280 (4.1,
4.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, SignatureAlgorithmOID

from mizzen_certs.errors import CertificateRefused, Finding

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from mizzen.identity import SpiffeId, TrustDomain
    from mizzen_certs.secret import PrivateKeyPem

_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]+")
_LONGEST_URI: Final = 2048
_HOST: Final = re.compile(r"(?=.{1,253}$)(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")

_LEAF_EXTENSIONS: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    }
)
_AUTHORITY_EXTENSIONS: Final = _LEAF_EXTENSIONS - {ExtensionOID.EXTENDED_KEY_USAGE}
_LEAF_PURPOSES: Final = frozenset(
    {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
)

_LONGEST_SERIAL_BITS: Final = 159
"""20 octets with a sign bit that is not set (RFC 5280, 4.1.2.2)."""

_E = TypeVar("_E", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A certificate as parsed from its bytes, its signer's certificate, and its private key."""

    certificate: x509.Certificate
    signer: x509.Certificate
    key: PrivateKeyPem


@dataclass(frozen=True, slots=True, kw_only=True)
class SvidCase(Case):
    """A workload's certificate and what was asked for."""

    identity: SpiffeId
    names: tuple[str, ...]
    now: datetime
    longest_life: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityCase(Case):
    """A root's or an issuer's certificate; ``path_length`` is how many authorities may follow."""

    trust_domain: TrustDomain
    path_length: int


def require_issuable(identity: SpiffeId, names: tuple[str, ...], trust_domain: TrustDomain) -> None:
    """Raise :class:`CertificateRefused` for a request that no certificate could answer."""
    findings = tuple(
        Finding(rule="request", detail=detail)
        for detail in (
            _foreign(identity, trust_domain),
            _malformed(identity),
            *(_not_a_host(name) for name in names),
        )
        if detail is not None
    )
    if findings:
        raise CertificateRefused(f"request of {identity}", findings)


def require_trust_domain(trust_domain: TrustDomain) -> None:
    """Raise ``ValueError`` for a name that is no trust domain (SPIFFE-ID, 2.1)."""
    if not _DOMAIN.fullmatch(trust_domain):
        raise ValueError(f"not a trust domain: {trust_domain!r}")


def svid_findings(case: SvidCase) -> tuple[Finding, ...]:
    """Return every rule that a workload's certificate breaks; empty when it may be released."""
    return _findings(_COMMON_RULES, case) + _findings(_SVID_RULES, case)


def authority_findings(case: AuthorityCase) -> tuple[Finding, ...]:
    """Return every rule that a root or issuer breaks; not whether it is valid at this moment."""
    return _findings(_COMMON_RULES, case) + _findings(_AUTHORITY_RULES, case)


_C = TypeVar("_C", bound=Case)


def _findings(rules: tuple[Callable[[_C], str | None], ...], case: _C) -> tuple[Finding, ...]:
    judged = ((rule.__name__.strip("_").replace("_", "-"), rule(case)) for rule in rules)
    return tuple(Finding(rule=name, detail=detail) for name, detail in judged if detail is not None)


# A request, before anything is signed.


def _foreign(identity: SpiffeId, trust_domain: TrustDomain) -> str | None:
    if identity.trust_domain == trust_domain:
        return None
    return f"trust domain {identity.trust_domain!r} is not ours, {trust_domain!r}"


def _malformed(identity: SpiffeId) -> str | None:
    segments = (identity.namespace, identity.service_account)
    well_formed = all(_SEGMENT.fullmatch(segment) for segment in segments)
    if (
        well_formed
        and _DOMAIN.fullmatch(identity.trust_domain)
        and len(str(identity)) <= _LONGEST_URI
    ):
        return None
    return f"not a SPIFFE id: {str(identity)!r}"


def _not_a_host(name: str) -> str | None:
    return None if _is_address(name) or _HOST.fullmatch(name) else f"not a host name: {name!r}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# Rules for every certificate.


def _signature(case: Case) -> str | None:
    signed, key = case.certificate, case.signer.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            algorithm = SignatureAlgorithmOID.ECDSA_WITH_SHA256
            key.verify(signed.signature, signed.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            algorithm = SignatureAlgorithmOID.RSA_WITH_SHA256
            scheme = padding.PKCS1v15()
            key.verify(signed.signature, signed.tbs_certificate_bytes, scheme, hashes.SHA256())
        else:
            return "the signer's key is neither an elliptic curve key nor RSA"
    except InvalidSignature:
        return "the signature is not the signer's"
    if signed.signature_algorithm_oid != algorithm:
        return f"says it is signed with {signed.signature_algorithm_oid.dotted_string}"
    return None


def _issuer(case: Case) -> str | None:
    if case.certificate.issuer != case.signer.subject:
        return "names another issuer than its signer"
    stated = _extension(case.certificate, x509.AuthorityKeyIdentifier)
    actual = _extension(case.signer, x509.SubjectKeyIdentifier)
    if stated is None or actual is None or stated.value.key_identifier != actual.value.digest:
        return "the authority key identifier is not the signer's key"
    return None


def _signer(case: Case) -> str | None:
    constraints = _extension(case.signer, x509.BasicConstraints)
    usage = _extension(case.signer, x509.KeyUsage)
    if constraints is None or not constraints.value.ca:
        return "the signer is no authority"
    if usage is None or not usage.value.key_cert_sign:
        return "the signer's key may not sign certificates"
    return None


def _lifetime(case: Case) -> str | None:
    signed, signer = case.certificate, case.signer
    if signed.not_valid_after_utc <= signed.not_valid_before_utc:
        return "ends before it begins"
    if signed.not_valid_after_utc > signer.not_valid_after_utc:
        return f"outlives its issuer, which ends {signer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if signed.not_valid_before_utc < signer.not_valid_before_utc:
        return f"begins before its issuer, at {signer.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    return None


def _key(case: Case) -> str | None:
    key = case.certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return "the key is not ECDSA P-256"
    private = serialization.load_pem_private_key(case.key.reveal(), None)
    if private.public_key() != key:
        return "the private key is another certificate's"
    identifier = _extension(case.certificate, x509.SubjectKeyIdentifier)
    expected = x509.SubjectKeyIdentifier.from_public_key(key)
    if identifier is None or identifier.value != expected:
        return "the subject key identifier is another key's"
    return None


def _serial(case: Case) -> str | None:
    if 0 < case.certificate.serial_number < 1 << _LONGEST_SERIAL_BITS:
        return None
    return "the serial number is not positive within 20 octets"


_COMMON_RULES: Final = (_signature, _issuer, _signer, _lifetime, _key, _serial)


# Rules for a workload's certificate.


def _identity(case: SvidCase) -> str | None:
    names = _extension(case.certificate, x509.SubjectAlternativeName)
    if names is None:
        return "no subject alternative name"
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        return f"{len(uris)} URIs where exactly one names the workload"
    if uris[0] != str(case.identity):
        return f"names {uris[0]!r}, not {str(case.identity)!r}"
    return _malformed(case.identity)


def _host_names(case: SvidCase) -> str | None:
    names = _extension(case.certificate, x509.SubjectAlternativeName)
    stated = () if names is None else tuple(names.value)[1:]
    asked = tuple(
        x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name)
        for name in case.names
    )
    return None if stated == asked else "the host names are not those asked for, after the URI"


def _subject(case: SvidCase) -> str | None:
    if len(case.certificate.subject.rdns):
        return "the subject is not empty"
    names = _extension(case.certificate, x509.SubjectAlternativeName)
    if names is not None and not names.critical:
        return "the alternative name is not critical though the subject is empty"
    return None


def _leaf(case: SvidCase) -> str | None:
    constraints = _extension(case.certificate, x509.BasicConstraints)
    if constraints is None or not constraints.critical or constraints.value.ca:
        return "is not marked, critically, as no authority"
    return None


def _leaf_usage(case: SvidCase) -> str | None:
    usage = _extension(case.certificate, x509.KeyUsage)
    if usage is None or not usage.critical or _usages(usage.value) != {"digital_signature"}:
        return "the key's usage is not, critically, digital signatures alone"
    purposes = _extension(case.certificate, x509.ExtendedKeyUsage)
    if purposes is None or frozenset(purposes.value) != _LEAF_PURPOSES:
        return "the extended usage is not TLS server and client"
    return None


def _leaf_extensions(case: SvidCase) -> str | None:
    return _unexpected(case.certificate, _LEAF_EXTENSIONS)


def _moment(case: SvidCase) -> str | None:
    signed = case.certificate
    if case.now < signed.not_valid_before_utc:
        return f"is not valid before {signed.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"
    if case.now >= signed.not_valid_after_utc:
        return f"ended {signed.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if signed.not_valid_after_utc - case.now > case.longest_life:
        return f"lives longer than {case.longest_life}"
    return None


_SVID_RULES: Final = (
    _identity,
    _host_names,
    _subject,
    _leaf,
    _leaf_usage,
    _leaf_extensions,
    _moment,
)


# Rules for a root or an issuer.


def _domain(case: AuthorityCase) -> str | None:
    names = _extension(case.certificate, x509.SubjectAlternativeName)
    expected = x509.UniformResourceIdentifier(f"spiffe://{case.trust_domain}")
    if names is None or tuple(names.value) != (expected,):
        return f"does not name the trust domain {case.trust_domain!r} and nothing else"
    return None


def _authority(case: AuthorityCase) -> str | None:
    constraints = _extension(case.certificate, x509.BasicConstraints)
    if constraints is None or not constraints.critical or not constraints.value.ca:
        return "is not marked, critically, as an authority"
    if constraints.value.path_length != case.path_length:
        return f"lets {constraints.value.path_length} authorities follow, not {case.path_length}"
    return None


def _authority_usage(case: AuthorityCase) -> str | None:
    usage = _extension(case.certificate, x509.KeyUsage)
    if usage is None or not usage.critical:
        return "the key's usage is not critical"
    if _usages(usage.value) != {"key_cert_sign", "crl_sign"}:
        return "the key's usage is not signing certificates and revocations alone"
    return None


def _authority_extensions(case: AuthorityCase) -> str | None:
    return _unexpected(case.certificate, _AUTHORITY_EXTENSIONS)


_AUTHORITY_RULES: Final = (_domain, _authority, _authority_usage, _authority_extensions)


# Reading a certificate.


def _extension(certificate: x509.Certificate, kind: type[_E]) -> x509.Extension[_E] | None:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _unexpected(
    certificate: x509.Certificate, expected: frozenset[x509.ObjectIdentifier]
) -> str | None:
    present = frozenset(extension.oid for extension in certificate.extensions)
    odd = sorted(oid.dotted_string for oid in present ^ expected)
    return f"extensions missing or not expected: {', '.join(odd)}" if odd else None


_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)


def _usages(usage: x509.KeyUsage) -> frozenset[str]:
    return frozenset(name for name in _USAGES if getattr(usage, name))
