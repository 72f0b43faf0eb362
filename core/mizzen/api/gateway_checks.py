"""What a schema cannot say of a Gateway (Istio: ValidateGateway)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    duplicates,
    invalid,
    missing,
    untranslated,
    without_effect,
)
from mizzen.api.hosts import (
    check_labels,
    check_wildcard_host,
    is_address,
    is_label,
    is_partial_wildcard,
)
from mizzen.api.protocols import PROTOCOL_NAMES, is_protocol, parse_protocol
from mizzen.model.gateway import TlsVersion
from mizzen.model.kube import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mizzen.api.gateway import (
        GatewayManifest,
        ServerSpec,
        ServerTlsSettings,
        TlsVersionWord,
    )

ENCRYPTED: Final = (Protocol.HTTPS, Protocol.TLS)
_AUTO_PASSTHROUGH: Final = "AUTO_PASSTHROUGH"
_WITHOUT_CERTIFICATE: Final = ("PASSTHROUGH", _AUTO_PASSTHROUGH, "ISTIO_MUTUAL")
_WITH_CA: Final = ("MUTUAL", "OPTIONAL_MUTUAL")
_WITHOUT_CIPHERS: Final = ("TLSV1_0", "TLSV1_1")
_UNIX: Final = "unix://"
# What Envoy's BoringSSL has of TLS up to 1.2, by the names that Istio knows too.
CIPHERS: Final = frozenset(
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "AES256-GCM-SHA384",
        "AES128-GCM-SHA256",
        "AES256-SHA",
        "AES128-SHA",
    )
)
_KEY_HASH: Final = re.compile(r"[A-Za-z0-9+/]{43}=")
_CERTIFICATE_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}")


def check(manifest: GatewayManifest) -> Iterator[Finding]:
    """Yield all that is wrong with a Gateway whose shape is right."""
    spec = manifest.spec
    if not is_label(manifest.metadata.name):
        # VirtualServices could not name it: a dot means a namespace there.
        message = f"{manifest.metadata.name!r} is not a DNS label, as a Gateway's name has to be"
        yield invalid(("metadata", "name"), message)
    yield from check_labels(("spec", "selector"), spec.selector)
    if not spec.servers:
        yield missing(("spec", "servers"), "a Gateway needs at least one server")
    path = ("spec", "servers")
    names = [server.port.name for server in spec.servers]
    for found in duplicates(path, names, "the port name"):
        yield Finding(found.code, (*found.path, "port", "name"), found.message, found.remedy)
    for index, server in enumerate(spec.servers):
        yield from at((*path, index), _server(server))


def _server(server: ServerSpec) -> Iterator[Finding]:
    for index, host in enumerate(server.hosts):
        yield from _host(("hosts", index), host)
    if server.bind and not (is_address(server.bind) or server.bind.startswith(_UNIX)):
        yield invalid(("bind",), f"{server.bind!r} is not an IP address or unix:// path")
    if server.bind.startswith(_UNIX) != (server.port.number == 0):
        message = "is 0 where bind is a unix:// path, and nowhere else"
        yield invalid(("port", "number"), message)
    word = server.port.protocol
    if not is_protocol(word):
        names = ", ".join(PROTOCOL_NAMES)
        yield invalid(("port", "protocol"), f"{word!r} is not a protocol", f"Use one of {names}.")
    elif not (is_translated(server) or parse_protocol(word) in ENCRYPTED):
        message = f"protocol {word} on a gateway comes with a later version; the server is left out"
        yield untranslated(("port", "protocol"), message)
    yield from _tls(server)


def _host(path: Path, host: str) -> Iterator[Finding]:
    namespace, slash, name = host.partition("/")
    if not slash:
        namespace, name = "*", host
    if namespace not in ("*", ".") and not is_label(namespace):
        yield invalid(path, f"{namespace!r} is not a namespace, '.' or '*'")
    if is_partial_wildcard(name):
        yield invalid(path, f"{name!r} is a wildcard for a part of a label")
    elif name != "*" and "." not in name and not is_address(name):
        message = f"{name!r} is a short name; hosts are written in full here"
        yield invalid(path, message, f"Write {name}.<namespace>.svc.cluster.local.")
    else:
        yield from check_wildcard_host(path, name)


def _tls(server: ServerSpec) -> Iterator[Finding]:
    tls, protocol = server.tls, parse_protocol(server.port.protocol)
    if protocol in ENCRYPTED:
        if tls is None:
            yield missing(("tls",), f"a server of protocol {server.port.protocol} needs tls")
        else:
            if tls.https_redirect:
                yield without_effect(("tls", "httpsRedirect"), "it is for servers of HTTP")
            if tls.mode == _AUTO_PASSTHROUGH:
                yield from _namespaces(server.hosts)
            yield from at(("tls",), _certificates(tls))
            yield from at(("tls",), _details(tls))
    elif tls is not None and _terminates(tls):
        message = f"a server of protocol {server.port.protocol} speaks plain text, without tls.mode"
        yield conflict(("tls", "mode"), message, "Use protocol HTTPS or TLS, or remove tls.")


def _namespaces(hosts: Iterable[str]) -> Iterator[Finding]:
    """Yield the namespaces that choose VirtualServices where there is no use for any (Istio)."""
    for index, host in enumerate(hosts):
        namespace, slash, _name = host.partition("/")
        if slash and namespace != "*":
            message = f"{namespace!r} is for VirtualServices, and {_AUTO_PASSTHROUGH} goes without"
            remedy = "Remove it; all services of the host are reached, of whatever namespace."
            yield without_effect(("hosts", index), message, remedy)


def _certificates(tls: ServerTlsSettings) -> Iterator[Finding]:
    secrets = [*filter(None, (tls.credential_name, *tls.credential_names))]
    files = bool(tls.server_certificate or tls.private_key or tls.tls_certificates)
    mode = tls.mode or "PASSTHROUGH"
    if mode in _WITHOUT_CERTIFICATE:
        extra = secrets or files or tls.ca_certificates or tls.ca_crl
        message = f"{mode} goes without certificates of one's own"
        if extra and mode == "ISTIO_MUTUAL":
            yield conflict(("mode",), message)
        elif extra:
            yield without_effect(("mode",), message)
        return
    if not secrets and not files:
        yield missing(("credentialName",), "TLS that ends here needs a certificate")
    if secrets and files:
        yield conflict(("credentialName",), "credentials and files exclude each other")
        return
    if tls.credential_name and tls.credential_names:
        yield conflict(
            ("credentialNames",), "credentialName and credentialNames exclude each other"
        )
    yield from _files(tls)
    if tls.ca_crl and not tls.ca_certificates:
        yield without_effect(
            ("caCrl",), "it is for the roots in caCertificates, and there are none"
        )
    ca = tls.ca_certificates or tls.ca_cert_credential_name or secrets
    if mode in _WITH_CA and not ca and not tls.insecure_skip_verify:
        yield missing(("caCertificates",), f"{mode} needs caCertificates")
    if tls.ca_certificates and tls.ca_cert_credential_name:
        yield conflict(("caCertCredentialName",), "it and caCertificates exclude each other")


def _files(tls: ServerTlsSettings) -> Iterator[Finding]:
    if tls.tls_certificates and (tls.server_certificate or tls.private_key):
        yield conflict(
            ("tlsCertificates",), "it and serverCertificate with privateKey exclude each other"
        )
    pairs = [((), tls.server_certificate, tls.private_key)] if not tls.tls_certificates else []
    found: list[tuple[Path, str, str]] = [
        *pairs,
        *(
            (("tlsCertificates", index), one.server_certificate, one.private_key)
            for index, one in enumerate(tls.tls_certificates)
        ),
    ]
    for path, certificate, key in found:
        if key and not certificate:
            yield missing((*path, "serverCertificate"), "a key needs its certificate")
        if not key and (certificate or path):
            yield missing((*path, "privateKey"), "a certificate needs its key")


def _details(tls: ServerTlsSettings) -> Iterator[Finding]:
    yield from _ciphers(tls)
    for index, text in enumerate(tls.verify_certificate_spki):
        if not _KEY_HASH.fullmatch(text):
            message = "is not the base64 of a SHA-256 hash"
            yield invalid(("verifyCertificateSpki", index), message)
    for index, text in enumerate(tls.verify_certificate_hash):
        if not _CERTIFICATE_HASH.fullmatch(text):
            message = "is not a SHA-256 hash in hexadecimal"
            yield invalid(("verifyCertificateHash", index), message)
    versions = [tls_version(tls.min_protocol_version), tls_version(tls.max_protocol_version)]
    if TlsVersion.AUTO not in versions and versions != sorted(versions):
        message = f"{versions[0]} is above maxProtocolVersion, {versions[1]}"
        yield conflict(("minProtocolVersion",), message)


def _ciphers(tls: ServerTlsSettings) -> Iterator[Finding]:
    for index, name in enumerate(tls.cipher_suites):
        if name not in CIPHERS:
            known = ", ".join(sorted(CIPHERS))
            message = f"{name!r} is not a cipher that Envoy has; it is left out"
            yield without_effect(("cipherSuites", index), message, f"Use some of {known}.")
        elif name in tls.cipher_suites[:index]:
            yield without_effect(("cipherSuites", index), f"{name!r} stands there before")
    if tls.min_protocol_version in _WITHOUT_CIPHERS and not tls.cipher_suites:
        message = f"{tls.min_protocol_version} has none of the ciphers that are there by default"
        yield without_effect(("minProtocolVersion",), message, "Name its ciphers in cipherSuites.")


def _terminates(tls: ServerTlsSettings) -> bool:
    return bool(tls.model_fields_set - {"https_redirect"})


def is_translated(server: ServerSpec) -> bool:
    """Tell whether a server comes into force."""
    protocol = parse_protocol(server.port.protocol)
    if protocol in ENCRYPTED:
        return server.tls is not None
    return protocol.is_http or protocol.is_tcp


def tls_version(word: TlsVersionWord | None) -> TlsVersion:
    """Return the version of TLS that a word means."""
    return TlsVersion(word or "TLS_AUTO")
