"""How a gateway's server ends TLS: with which certificates, and what it asks of clients.

A server whose certificate is not there, or that has nothing to verify clients with though it has to,
does not serve: it would only refuse every handshake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import CertificateOnDisk, RootsOnDisk, TlsEnd
from mizzen.model.gateway import Server, ServerTls, ServerTlsMode, TlsVersion
from mizzen.model.proxy import Workload
from mizzen.names import (
    ROOTS_SECRET,
    WORKLOAD_SECRET,
    certificate_on_disk,
    credential_certificate,
    credential_roots,
    roots_on_disk,
)
from mizzen.resolve.credentials import CertificateIn, RootsIn, Wish, joined, parts_of
from mizzen.resolve.gateways import gateway_keys, servers_of
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.ir import Origins

_ASKING: Final = (
    ServerTlsMode.MUTUAL,
    ServerTlsMode.OPTIONAL_MUTUAL,
    ServerTlsMode.ISTIO_MUTUAL,
)
_HTTP: Final = ("h2", "http/1.1")
_VERSIONS: Final = (TlsVersion.V1_0, TlsVersion.V1_1, TlsVersion.V1_2, TlsVersion.V1_3)


def tls_end(db: Database, workload: Workload, server: Server) -> TlsEnd | None:
    """Return how a router's server ends TLS; None where it does not, or cannot."""
    tls = server.tls
    if tls is None or server.passes_through or any(lacking(db, workload, tls)):
        return None
    mesh = settings(db).gateway_tls
    highest = TlsVersion.V1_3 if tls.max_version is TlsVersion.AUTO else tls.max_version
    return TlsEnd(
        certificates=_certificates(tls),
        roots=_roots(db, workload, tls),
        asks=tls.mode in _ASKING,
        demands=tls.mode in _ASKING and tls.mode is not ServerTlsMode.OPTIONAL_MUTUAL,
        subject_alt_names=tls.subject_alt_names,
        key_hashes=tls.key_hashes,
        certificate_hashes=tls.certificate_hashes,
        insecure_skip_verify=tls.insecure_skip_verify,
        min_version=_lowest(tls, highest, TlsVersion(mesh.version)),
        max_version=highest,
        ciphers=tls.ciphers or mesh.ciphers,
        curves=mesh.curves,
        protocols=_HTTP if server.carries_http else (),
    )


def lacking(db: Database, workload: Workload, tls: ServerTls) -> Iterator[tuple[str, str]]:
    """Yield the fields of a server's TLS for which a router has nothing, each with what it lacks."""
    namespace = workload.namespace
    if not workload.is_known and (tls.credentials or tls.ca_credential):
        yield "credentialName", f"a gateway of {namespace} is not known as one; it gets no Secrets"
        return
    for number, name in enumerate(tls.credentials):
        field = "credentialName" if len(tls.credentials) == 1 else f"credentialNames[{number}]"
        parts = parts_of(db, (namespace, name))
        if not parts.exists:
            yield field, f"there is no Secret {namespace}/{name}, where the gateway runs"
        elif not parts.certificate:
            yield field, f"Secret {namespace}/{name} has no tls.crt with tls.key, in PEM"
    if tls.mode in _ASKING and not tls.insecure_skip_verify:
        yield from _lacking_roots(db, namespace, tls)


def awaited(db: Database, workload: Workload, server: Server) -> frozenset[str]:
    """Return the names of the secrets of a server that cannot serve; empty where it can, or never will."""
    tls = server.tls
    if tls is None or not workload.is_known or not any(lacking(db, workload, tls)):
        return frozenset()
    roots = _roots_credential(tls)
    names = [credential_certificate(name) for name in tls.credentials]
    return frozenset((*names, credential_roots(roots)) if roots else names)


def _lacking_roots(db: Database, namespace: str, tls: ServerTls) -> Iterator[tuple[str, str]]:
    name = _roots_credential(tls)
    if not name or parts_of(db, (namespace, name)).roots:
        return
    field = "caCertCredentialName" if tls.ca_credential else "credentialName"
    message = f"neither Secret {namespace}/{name}-cacert nor {namespace}/{name} has ca.crt, in PEM"
    yield field, f"{message}, to verify clients with"


def _roots_credential(tls: ServerTls) -> str:
    """Return the credential that clients' roots are looked for in; empty where it is none."""
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL or tls.ca_file:
        return ""
    return tls.ca_credential or next(iter(tls.credentials), "")


def _certificates(tls: ServerTls) -> tuple[str, ...]:
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        return (WORKLOAD_SECRET,)
    on_disk = (certificate_on_disk(one.certificate, one.key) for one in tls.files)
    return (*map(credential_certificate, tls.credentials), *on_disk)


def _roots(db: Database, workload: Workload, tls: ServerTls) -> str:
    if tls.mode not in _ASKING:
        return ""
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        return ROOTS_SECRET
    if tls.ca_file:
        return roots_on_disk(tls.ca_file, tls.crl_file)
    name = _roots_credential(tls)
    has_roots = bool(name) and parts_of(db, (workload.namespace, name)).roots
    return credential_roots(name) if has_roots else ""


def _lowest(tls: ServerTls, highest: TlsVersion, of_mesh: TlsVersion) -> TlsVersion:
    if tls.min_version is not TlsVersion.AUTO:
        return tls.min_version
    return min(of_mesh, highest, key=_VERSIONS.index)


@query
def gateway_wishes(db: Database, workload: Workload) -> frozenset[Wish]:
    """Return the secrets that the servers of a router use: those of servers that end TLS."""
    return joined(
        wish
        for _place, servers in servers_of(db, workload)
        for entry in servers
        for wish in _wishes(db, workload, entry[1], gateway_keys((entry,)))
    )


def _wishes(db: Database, workload: Workload, server: Server, origins: Origins) -> Iterator[Wish]:
    end, tls = tls_end(db, workload, server), server.tls
    if end is None or tls is None or tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        return
    for one in tls.files:
        name = certificate_on_disk(one.certificate, one.key)
        yield CertificateOnDisk(name=name, chain=one.certificate, key=one.key, origins=origins)
    for credential in tls.credentials:
        yield CertificateIn(place=(workload.namespace, credential), origins=origins)
    if end.roots and tls.ca_file:
        yield RootsOnDisk(name=end.roots, roots=tls.ca_file, revoked=tls.crl_file, origins=origins)
    elif end.roots:
        yield RootsIn(place=(workload.namespace, _roots_credential(tls)), origins=origins)
