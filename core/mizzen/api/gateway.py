"""Gateway (networking.istio.io): what the edge listens for (Istio: gateway.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port
from mizzen.api.findings import Finding, at, conflict, duplicates, invalid, missing, untranslated
from mizzen.api.hosts import check_labels, check_wildcard_host, is_address, is_label
from mizzen.api.meta import Manifest
from mizzen.api.protocols import PROTOCOL_NAMES, is_protocol, parse_protocol
from mizzen.api.reading import Reading, read
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Meta, labels
from mizzen.model.traffic import Gateway, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_TLS: Final = NotTranslated("terminating TLS comes with a later version; the server is left out")
_ENDING_TLS: Final = NotTranslated(_TLS.reason, unless=("PASSTHROUGH",))
_ENCRYPTED: Final = (Protocol.HTTPS, Protocol.TLS)
_WITHOUT_CERTIFICATE: Final = ("PASSTHROUGH", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL")
_WITH_CA: Final = ("MUTUAL", "OPTIONAL_MUTUAL")

_TlsVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class TlsCertificate(ApiModel):
    """A certificate in files (Istio: ServerTLSSettings.TLSCertificate)."""

    server_certificate: str = Field(default="", description="A file.")
    private_key: str = Field(default="", description="A file.")
    ca_certificates: str = Field(default="", description="A file.")


class ServerTlsSettings(ApiModel):
    """TLS of a server (Istio: ServerTLSSettings)."""

    https_redirect: bool = Field(default=False, description="Answer HTTP with a redirect.")
    mode: Annotated[
        Literal[
            "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
        ]
        | None,
        _ENDING_TLS,
    ] = Field(default=None, description="Whether and how TLS ends here.")
    server_certificate: Annotated[str, _TLS] = Field(default="", description="A file.")
    private_key: Annotated[str, _TLS] = Field(default="", description="A file.")
    ca_certificates: Annotated[str, _TLS] = Field(default="", description="A file.")
    ca_crl: Annotated[str, _TLS] = Field(default="", description="A file.")
    credential_name: Annotated[str, _TLS] = Field(default="", description="A Secret.")
    credential_names: Annotated[list[str], _TLS] = Field(
        default_factory=list, max_length=2, description="Secrets, such as RSA and ECDSA."
    )
    ca_cert_credential_name: Annotated[str, _TLS] = Field(default="", description="A Secret.")
    tls_certificates: Annotated[list[TlsCertificate], _TLS] = Field(
        default_factory=list, max_length=2, description="Files, such as RSA and ECDSA."
    )
    subject_alt_names: Annotated[list[str], _TLS] = Field(
        default_factory=list, description="Names of which a client must have one."
    )
    verify_certificate_spki: Annotated[list[str], _TLS] = Field(
        default_factory=list, description="Hashes of clients' keys."
    )
    verify_certificate_hash: Annotated[list[str], _TLS] = Field(
        default_factory=list, description="Hashes of clients' certificates."
    )
    min_protocol_version: Annotated[_TlsVersion | None, _TLS] = Field(
        default=None, description="TLSV1_2 by default."
    )
    max_protocol_version: Annotated[_TlsVersion | None, _TLS] = Field(
        default=None, description="TLSV1_3 by default."
    )
    cipher_suites: Annotated[list[str], _TLS] = Field(
        default_factory=list, description="Ciphers of TLS 1.2."
    )
    insecure_skip_verify: Annotated[bool | None, _TLS] = Field(
        default=None, description="Whether any client certificate will do."
    )


class GatewayPort(ApiModel):
    """The port of a server (Istio: Port)."""

    number: Port = Field(description="The port of the gateway's Service.")
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
    bind: str = Field(default="", description="The address; all by default.")
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
    if server.bind and not (is_address(server.bind) or server.bind.startswith("unix://")):
        yield invalid(("bind",), f"{server.bind!r} is not an IP address or unix:// path")
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
    elif tls is not None and _terminates(tls):
        message = f"a server of protocol {server.port.protocol} speaks plain text, without tls.mode"
        yield conflict(("tls", "mode"), message, "Use protocol HTTPS or TLS, or remove tls.")


def _certificates(tls: ServerTlsSettings) -> Iterator[Finding]:
    secrets = [tls.credential_name, *tls.credential_names]
    files = bool(tls.server_certificate or tls.private_key or tls.tls_certificates)
    if tls.mode in _WITHOUT_CERTIFICATE:
        if any(secrets) or files:
            yield conflict(("mode",), f"{tls.mode} goes without certificates of one's own")
        return
    if not any(secrets) and not files:
        yield missing(("credentialName",), "TLS that ends here needs a certificate")
    if any(secrets) and files:
        yield conflict(("credentialName",), "credentials and files exclude each other")
    ca = tls.ca_certificates or tls.ca_cert_credential_name or any(secrets)
    if tls.mode in _WITH_CA and not ca and not tls.tls_certificates:
        yield missing(("caCertificates",), f"{tls.mode} needs caCertificates")


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
        return _passes_through(server)
    return protocol.is_http or protocol.is_tcp


def _passes_through(server: ServerSpec) -> bool:
    return server.tls is not None and server.tls.mode == "PASSTHROUGH"


def _value(server: ServerSpec) -> Server:
    port = server.port
    return Server(
        port=ServicePort(
            name=port.name, number=port.number, protocol=parse_protocol(port.protocol)
        ),
        hosts=tuple(host.lower() for host in server.hosts),
        bind=server.bind,
        name=server.name,
        https_redirect=server.tls is not None and server.tls.https_redirect,
        passthrough=_passes_through(server),
    )
