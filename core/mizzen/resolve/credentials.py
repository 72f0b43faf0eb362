"""Secrets that users wrote: what of a certificate, a key and roots stands in them (Istio: credentialName).

A credential is a name in the namespace of the proxy that uses it: nobody is given what stands elsewhere.
Its parts stand under ``cert``, ``key``, ``cacert`` and ``crl``, or else under ``tls.crt``, ``tls.key``,
``ca.crt`` and ``ca.crl``; roots may also stand in a Secret of their own, ``<name>-cacert``.

What a listener needs to know is which parts there are, not what they are, so that a new certificate
changes one secret and no listener.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from mizzen.engine import query
from mizzen.ir import CertificateOnDisk, HeldCertificate, HeldRoots, RootsOnDisk
from mizzen.model.kube import PrivateBytes, Secret
from mizzen.names import DEFAULT_REGISTRY, ObjectKey, credential_certificate, credential_roots
from mizzen.resolve.world import OBJECT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.ir import HeldSecret, Origins

_ROOTS_SUFFIX: Final = "-cacert"
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_KEY: Final = b"PRIVATE KEY-----"
_REVOKED: Final = b"-----BEGIN X509 CRL-----"
_NOTHING: Final = PrivateBytes(b"")

Place = tuple[str, str]
"""Namespace and name of a credential."""


class Parts(NamedTuple):
    """What stands in a credential; ``key`` is the Secret that the rest is said of, where there is one."""

    certificate: bool
    roots: bool
    exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateIn:
    """A wish for the certificate of a credential, and whose it is."""

    place: Place
    origins: Origins = ()

    @property
    def name(self) -> str:
        """The name of the secret (SDS)."""
        return credential_certificate(self.place[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class RootsIn:
    """A wish for the roots of a credential, and whose it is."""

    place: Place
    origins: Origins = ()

    @property
    def name(self) -> str:
        """The name of the secret (SDS)."""
        return credential_roots(self.place[1])


Wish = CertificateIn | RootsIn | CertificateOnDisk | RootsOnDisk
"""A secret that a proxy is to have, without what is in it."""


def joined(wishes: Iterable[Wish]) -> frozenset[Wish]:
    """Return wishes, each name once, with all whose it is."""
    found: dict[str, Wish] = {}
    for wish in wishes:
        known = found.get(wish.name)
        origins = (*known.origins, *wish.origins) if known else wish.origins
        found[wish.name] = replace(wish, origins=tuple(dict.fromkeys(origins)))
    return frozenset(found.values())


def granted(db: Database, wish: Wish) -> HeldSecret | None:
    """Return the secret that a wish is for; None where there is none."""
    match wish:
        case CertificateIn():
            held: HeldSecret | None = certificate_of(db, wish.place)
        case RootsIn():
            held = roots_of(db, wish.place)
        case on_disk:
            return on_disk
    return held and replace(held, origins=(*wish.origins, *held.origins))


@query
def certificate_of(db: Database, place: Place) -> HeldCertificate | None:
    """Return a credential's certificate and key; None where it has none."""
    secret = _secret(db, place)
    if secret is None:
        return None
    data = dict(secret.data)
    for chain, key in (("cert", "key"), ("tls.crt", "tls.key")):
        if _has(data, chain, _CERTIFICATE) and _has(data, key, _KEY):
            staple = data.get("tls.ocsp-staple", _NOTHING) if chain == "tls.crt" else _NOTHING
            return HeldCertificate(
                name=credential_certificate(place[1]),
                chain=data[chain].value,
                key=data[key],
                staple=staple.value,
                origins=(secret.meta.key,),
            )
    return None


@query
def roots_of(db: Database, place: Place) -> HeldRoots | None:
    """Return a credential's roots: of the Secret that is for them alone, else of the credential's own."""
    namespace, name = place
    for where in (name + _ROOTS_SUFFIX, name):
        secret = _secret(db, (namespace, where))
        data = dict(secret.data) if secret else {}
        for roots, revoked in (("cacert", "crl"), ("ca.crt", "ca.crl")):
            if secret and _has(data, roots, _CERTIFICATE):
                return HeldRoots(
                    name=credential_roots(name),
                    roots=data[roots].value,
                    revoked=data[revoked].value if _has(data, revoked, _REVOKED) else b"",
                    origins=(secret.meta.key,),
                )
    return None


@query
def parts_of(db: Database, place: Place) -> Parts:
    """Return what stands in a credential."""
    return Parts(
        certificate=certificate_of(db, place) is not None,
        roots=roots_of(db, place) is not None,
        exists=_secret(db, place) is not None,
    )


def _secret(db: Database, place: Place) -> Secret | None:
    found = OBJECT(db, ObjectKey(DEFAULT_REGISTRY, "Secret", *place))
    return found if isinstance(found, Secret) else None


def _has(data: dict[str, PrivateBytes], key: str, mark: bytes) -> bool:
    """Tell whether a value is PEM of some kind."""
    return mark in data.get(key, _NOTHING).value
