"""TLS towards servers outside the mesh: which certificate a proxy shows, and whom it believes.

Certificates stand in files of the proxy's own, or in a Secret of its namespace (``credentialName``). A Secret
is for gateways, and for sidecars that a rule selects; to all other sidecars such a rule says nothing of TLS,
since it means the gateway behind which the server is (Istio). Where what is needed is not there, a cluster
leads nowhere: half of what was asked for would be taken for the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import CertificateOnDisk, Plaintext, RootsOnDisk, SimpleTls
from mizzen.model.destination import ClientTls, TlsMode
from mizzen.model.proxy import Scope
from mizzen.resolve.credentials import CertificateIn, RootsIn, Wish, parts_of
from mizzen.resolve.rules import policy_for, rule_for
from mizzen.resolve.services import MeshService, service_at

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.resolve.rules import EffectiveRule

_SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"

Named = tuple[str, Wish]
"""A wish, with the name (SDS) under which a proxy has it: of a host, so that it goes with that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The client's side of TLS, and the secrets that it takes."""

    tls: Plaintext | SimpleTls
    secrets: tuple[Named, ...] = ()


def client_of(
    db: Database, scope: Scope, service: MeshService, rule: EffectiveRule, tls: ClientTls
) -> Client | None:
    """Return what TLS of the modes SIMPLE and MUTUAL means; None where what it takes is not there."""
    if tls.credential_name and not (scope.gateway or rule.selected):
        return Client(tls=Plaintext())
    if any(lacking(db, scope, tls)):
        return None
    found = tuple(
        (name, replace(wish, origins=rule.origins))
        for name, wish in _secrets(scope, service.host, tls)
    )
    names = {type(wish): name for name, wish in found}
    return Client(
        tls=SimpleTls(
            sni=tls.sni,
            subject_alt_names=tls.subject_alt_names or service.subject_alt_names,
            insecure_skip_verify=tls.insecure_skip_verify,
            certificate=names.get(CertificateIn, "") or names.get(CertificateOnDisk, ""),
            roots=names.get(RootsIn, "") or names.get(RootsOnDisk, ""),
        ),
        secrets=found,
    )


def lacking(db: Database, scope: Scope, tls: ClientTls) -> Iterator[str]:
    """Yield what a rule's TLS takes and a proxy has not."""
    if not tls.credential_name or tls.mode not in (TlsMode.SIMPLE, TlsMode.MUTUAL):
        return
    place = (scope.namespace, tls.credential_name)
    secret = f"Secret {scope.namespace}/{tls.credential_name}"
    parts = parts_of(db, place)
    if not scope.credentials:
        yield f"a proxy of {scope.namespace} is not known as one; it gets no Secrets"
    elif tls.mode is TlsMode.MUTUAL and not parts.certificate:
        yield (
            f"{secret} has no tls.crt with tls.key, in PEM"
            if parts.exists
            else f"there is no {secret}"
        )
    elif not tls.insecure_skip_verify and not parts.roots:
        yield f"neither {secret}-cacert nor {secret} has ca.crt, in PEM, to verify the server with"


def _secrets(scope: Scope, host: str, tls: ClientTls) -> Iterator[Named]:
    """Yield what is shown, in mutual TLS alone, and what is believed; the system's roots are no secret."""
    place = (scope.namespace, tls.credential_name)
    shows, verifies = tls.mode is TlsMode.MUTUAL, not tls.insecure_skip_verify
    if tls.credential_name:
        wishes: list[Wish] = [CertificateIn(place=place)] if shows else []
        wishes += [RootsIn(place=place)] if verifies else []
    else:
        wishes = [_certificate(host, tls)] if shows and tls.certificate else []
        wishes += [_roots(host, tls)] if verifies and (tls.roots or tls.revoked) else []
    for wish in wishes:
        yield _named(host, wish), wish


def _named(host: str, wish: Wish) -> str:
    return wish.name if isinstance(wish, CertificateOnDisk | RootsOnDisk) else f"{host}~{wish.name}"


def _certificate(host: str, tls: ClientTls) -> CertificateOnDisk:
    name = f"{host}~file-cert:{tls.certificate}~{tls.key}"
    return CertificateOnDisk(name=name, chain=tls.certificate, key=tls.key)


def _roots(host: str, tls: ClientTls) -> RootsOnDisk:
    roots = tls.roots or _SYSTEM_ROOTS
    return RootsOnDisk(
        name=f"{host}~file-root:{roots}~{tls.revoked}", roots=roots, revoked=tls.revoked
    )


@query
def client_secrets(db: Database, key: tuple[Scope, str]) -> tuple[Named, ...]:
    """Return what a host's clusters take, each once, with the rules that ask for it."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    found: dict[str, Wish] = {}
    for rule, tls in _written(db, key):
        client = client_of(db, scope, service, rule, tls)
        found |= dict(client.secrets) if client else {}
    return tuple(sorted(found.items(), key=_by_name))


def _by_name(entry: Named) -> str:
    return entry[0]


def _written(db: Database, key: tuple[Scope, str]) -> Iterator[tuple[EffectiveRule, ClientTls]]:
    """Yield the TLS of the modes SIMPLE and MUTUAL that holds for the ports and subsets of a host."""
    service, rule = service_at(db, *key), rule_for(db, key)
    for port in service.ports if service else ():
        for subset in (None, *rule.subsets):
            tls = policy_for(rule, port.number, subset).tls
            if tls is not None and tls.mode in (TlsMode.SIMPLE, TlsMode.MUTUAL):
                yield rule, tls
