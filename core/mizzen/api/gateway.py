"""Gateway (networking.istio.io): what the edge listens for (Istio: gateway.proto)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port
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
from mizzen.api.hosts import check_labels, check_wildcard_host, is_address, is_label
from mizzen.api.meta import Manifest
from mizzen.api.protocols import PROTOCOL_NAMES, is_protocol, parse_protocol
from mizzen.api.reading import Reading, read
from mizzen.model.gateway import (
    CertificateFiles,
    Gateway,
    Server,
    ServerTls,
    ServerTlsMode,
    TlsVersion,
)
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Meta, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_ENCRYPTED: Final = (Protocol.HTTPS, Protocol.TLS)
_AUTO_PASSTHROUGH: Final = "AUTO_PASSTHROUGH"
_WITHOUT_CERTIFICATE: Final = ("PASSTHROUGH", _AUTO_PASSTHROUGH, "ISTIO_MUTUAL")
_WITH_CA: Final = ("MUTUAL", "OPTIONAL_MUTUAL")
_UNIX: Final = "unix://"
# What Envoy's BoringSSL has of TLS up to 1.2, by the names that Istio knows too.
_CIPHERS: Final = frozenset(
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

_TlsVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class TlsCertificate(ApiModel):
    """A certificate in files (Istio: ServerTLSSettings.TLSCertificate)."""

    server_certificate: str = Field(default="", description="A file.")
    private_key: str = Field(default="", description="A file.")
    ca_certificates: Annotated[
        str, NotTranslated("Istio never read it; the roots of clients are tls.caCertificates")
    ] = Field(default="", description="Unused.")


class ServerTlsSettings(ApiModel):
    """TLS of a server (Istio: ServerTLSSettings)."""

    https_redirect: bool = Field(default=False, description="Answer HTTP with a redirect.")
    mode: Annotated[
        Literal[
            "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
        ]
        | None,
        NotTranslated(
            "it comes with meshes of several networks; the server is left out",
            only=(_AUTO_PASSTHROUGH,),
        ),
    ] = Field(default=None, description="Whether and how TLS ends here; PASSTHROUGH by default.")
    server_certificate: str = Field(default="", description="A file.")
    private_key: str = Field(default="", description="A file.")
    ca_certificates: str = Field(default="", description="A file.")
    ca_crl: str = Field(default="", description="A file.")
    credential_name: str = Field(default="", description="A Secret.")
    credential_names: list[str] = Field(
        default_factory=list, max_length=2, description="Secrets, such as RSA and ECDSA."
    )
    ca_cert_credential_name: str = Field(default="", description="A Secret.")
    tls_certificates: list[TlsCertificate] = Field(
        default_factory=list, max_length=2, description="Files, such as RSA and ECDSA."
    )
    subject_alt_names: list[str] = Field(
        default_factory=list, description="Names of which a client must have one."
    )
    verify_certificate_spki: list[str] = Field(
        default_factory=list, description="Hashes of clients' keys."
    )
    verify_certificate_hash: list[str] = Field(
        default_factory=list, description="Hashes of clients' certificates."
    )
    min_protocol_version: _TlsVersion | None = Field(
        default=None, description="TLSV1_2 by default."
    )
    max_protocol_version: _TlsVersion | None = Field(
        default=None, description="TLSV1_3 by default."
    )
    cipher_suites: list[str] = Field(default_factory=list, description="Ciphers up to TLS 1.2.")
    insecure_skip_verify: bool | None = Field(
        default=None, description="Whether any client certificate will do."
    )


class GatewayPort(ApiModel):
    """The port of a server (Istio: Port)."""

    number: Annotated[int, Field(ge=0, le=65_535)] = Field(
        description="The port of the gateway's Service; 0 where bind is a unix:// path."
    )
    protocol: str = Field(
        min_length=1,
        description="HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP, TLS, in any case.",
    )
    name: str = Field(min_length=1, description="A name for it.")
    target_port: Annotated[
        Port | None, NotTranslated("Istio never read it; the gateway's Service says it")
    ] = Field(default=None, description="Deprecated.")


class ServerSpec(ApiModel):
    """A server (Istio: Server)."""

    port: GatewayPort = Field(description="Where it listens.")
    bind: str = Field(
        default="", description="An address, or unix:///path; all addresses by default."
    )
    hosts: list[str] = Field(
        min_length=1, description="Hosts, with the namespaces whose routes may have them: ns/host."
    )
    tls: ServerTlsSettings | None = Field(default=None, description="TLS.")
    default_endpoint: Annotated[str, NotTranslated("Istio never read it")] = Field(
        default="", description="Unused."
    )
    name: str = Field(default="", description="A name for it.")


class GatewaySpec(ApiModel):
    """A Gateway's spec (Istio: Gateway)."""

    selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of the gateway's pods, in any namespace."
    )
    servers: list[ServerSpec] = Field(default_factory=list, description="Servers.")


class GatewayManifest(Manifest):
    """A Gateway."""

    spec: GatewaySpec = Field(default_factory=GatewaySpec, description="Its spec (Istio: Gateway).")


def read_gateway(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Gateway that a manifest means, without the servers that are not translated."""
    return read(raw, key, GatewayManifest, _convert, _check)


def _check(manifest: GatewayManifest) -> Iterator[Finding]:
    spec = manifest.spec
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
        namespace, slash, name = host.rpartition("/")
        if slash and namespace not in ("*", ".", "~") and not is_label(namespace):
            yield invalid(("hosts", index), f"{namespace!r} is not a namespace, '.' or '*'")
        yield from check_wildcard_host(("hosts", index), name)
    if server.bind and not (is_address(server.bind) or server.bind.startswith(_UNIX)):
        yield invalid(("bind",), f"{server.bind!r} is not an IP address or unix:// path")
    if server.bind.startswith(_UNIX) != (server.port.number == 0):
        message = "is 0 where bind is a unix:// path, and nowhere else"
        yield invalid(("port", "number"), message)
    word = server.port.protocol
    if not is_protocol(word):
        names = ", ".join(PROTOCOL_NAMES)
        yield invalid(("port", "protocol"), f"{word!r} is not a protocol", f"Use one of {names}.")
    elif not _is_translated(server):
        message = f"protocol {word} on a gateway comes with a later version; the server is left out"
        yield untranslated(("port", "protocol"), message)
    yield from _tls(server)


def _tls(server: ServerSpec) -> Iterator[Finding]:
    tls, protocol = server.tls, parse_protocol(server.port.protocol)
    if protocol in _ENCRYPTED:
        if tls is None:
            yield missing(("tls",), f"a server of protocol {server.port.protocol} needs tls")
        elif tls.https_redirect:
            yield conflict(("tls", "httpsRedirect"), "httpsRedirect is for servers of HTTP")
        else:
            yield from at(("tls",), _certificates(tls))
            yield from at(("tls",), _details(tls))
    elif tls is not None and _terminates(tls):
        message = f"a server of protocol {server.port.protocol} speaks plain text, without tls.mode"
        yield conflict(("tls", "mode"), message, "Use protocol HTTPS or TLS, or remove tls.")


def _certificates(tls: ServerTlsSettings) -> Iterator[Finding]:
    secrets = [*filter(None, (tls.credential_name, *tls.credential_names))]
    files = bool(tls.server_certificate or tls.private_key or tls.tls_certificates)
    mode = tls.mode or "PASSTHROUGH"
    if mode in _WITHOUT_CERTIFICATE:
        if secrets or files:
            yield conflict(("mode",), f"{mode} goes without certificates of one's own")
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
    for index, name in enumerate(tls.cipher_suites):
        if name not in _CIPHERS:
            known = ", ".join(sorted(_CIPHERS))
            message = f"{name!r} is not a cipher that Envoy has; it is left out"
            yield without_effect(("cipherSuites", index), message, f"Use some of {known}.")
    for index, text in enumerate(tls.verify_certificate_spki):
        if not _KEY_HASH.fullmatch(text):
            message = "is not the base64 of a SHA-256 hash"
            yield invalid(("verifyCertificateSpki", index), message)
    for index, text in enumerate(tls.verify_certificate_hash):
        if not _CERTIFICATE_HASH.fullmatch(text):
            message = "is not a SHA-256 hash in hexadecimal"
            yield invalid(("verifyCertificateHash", index), message)
    versions = [_version(tls.min_protocol_version), _version(tls.max_protocol_version)]
    if TlsVersion.AUTO not in versions and versions != sorted(versions):
        message = f"{versions[0]} is above maxProtocolVersion, {versions[1]}"
        yield conflict(("minProtocolVersion",), message)


def _terminates(tls: ServerTlsSettings) -> bool:
    return bool(tls.model_fields_set - {"https_redirect"})


def _convert(manifest: GatewayManifest, meta: Meta) -> Gateway:
    return Gateway(
        meta=meta,
        selector=labels(manifest.spec.selector),
        servers=tuple(_value(server) for server in manifest.spec.servers if _is_translated(server)),
    )


def _is_translated(server: ServerSpec) -> bool:
    protocol = parse_protocol(server.port.protocol)
    if protocol in _ENCRYPTED:
        return server.tls is not None and server.tls.mode != _AUTO_PASSTHROUGH
    return protocol.is_http or protocol.is_tcp


def _value(server: ServerSpec) -> Server:
    port = server.port
    protocol = parse_protocol(port.protocol)
    tls = server.tls
    return Server(
        port=ServicePort(name=port.name, number=port.number, protocol=protocol),
        hosts=tuple(host.lower() for host in server.hosts),
        bind=server.bind,
        name=server.name,
        https_redirect=tls is not None and tls.https_redirect,
        tls=_tls_value(tls) if tls is not None and protocol in _ENCRYPTED else None,
    )


def _tls_value(tls: ServerTlsSettings) -> ServerTls:
    pairs = [(one.server_certificate, one.private_key) for one in tls.tls_certificates]
    if tls.server_certificate:
        pairs = [(tls.server_certificate, tls.private_key)]
    return ServerTls(
        mode=ServerTlsMode(tls.mode or "PASSTHROUGH"),
        credentials=tuple(filter(None, (tls.credential_name, *tls.credential_names))),
        ca_credential=tls.ca_cert_credential_name,
        files=tuple(CertificateFiles(certificate=chain, key=key) for chain, key in pairs),
        ca_file=tls.ca_certificates,
        crl_file=tls.ca_crl,
        subject_alt_names=tuple(tls.subject_alt_names),
        key_hashes=tuple(tls.verify_certificate_spki),
        certificate_hashes=tuple(tls.verify_certificate_hash),
        min_version=_version(tls.min_protocol_version),
        max_version=_version(tls.max_protocol_version),
        ciphers=tuple(name for name in tls.cipher_suites if name in _CIPHERS),
        insecure_skip_verify=bool(tls.insecure_skip_verify),
    )


def _version(word: _TlsVersion | None) -> TlsVersion:
    return TlsVersion(word or "TLS_AUTO")
