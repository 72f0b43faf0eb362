"""From a Gateway's manifest to the value that the compiler reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.api import gateway_checks
from mizzen.api.gateway import GatewayManifest, ServerSpec, ServerTlsSettings
from mizzen.api.gateway_checks import CIPHERS, ENCRYPTED, is_translated, tls_version
from mizzen.api.protocols import parse_protocol
from mizzen.api.reading import Reading, read
from mizzen.model.gateway import (
    PASSING,
    CertificateFiles,
    Gateway,
    Server,
    ServerTls,
    ServerTlsMode,
)
from mizzen.model.kube import ServicePort
from mizzen.model.meta import Meta, labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.names import ObjectKey


def read_gateway(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Gateway that a manifest means, without the servers that are not translated."""
    return read(raw, key, GatewayManifest, _convert, gateway_checks.check)


def _convert(manifest: GatewayManifest, meta: Meta) -> Gateway:
    return Gateway(
        meta=meta,
        selector=labels(manifest.spec.selector),
        servers=tuple(_value(server) for server in manifest.spec.servers if is_translated(server)),
    )


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
        tls=server_tls(tls) if tls is not None and protocol in ENCRYPTED else None,
    )


def server_tls(tls: ServerTlsSettings) -> ServerTls:
    """Return how a server ends TLS; nothing but that it passes through, where that is so."""
    mode = ServerTlsMode(tls.mode or "PASSTHROUGH")
    if mode in PASSING:
        return ServerTls(mode=mode)
    pairs = [(one.server_certificate, one.private_key) for one in tls.tls_certificates]
    if tls.server_certificate:
        pairs = [(tls.server_certificate, tls.private_key)]
    return ServerTls(
        mode=mode,
        credentials=tuple(filter(None, (tls.credential_name, *tls.credential_names))),
        ca_credential=tls.ca_cert_credential_name,
        files=tuple(CertificateFiles(certificate=chain, key=key) for chain, key in pairs),
        ca_file=tls.ca_certificates,
        crl_file=tls.ca_crl,
        subject_alt_names=tuple(tls.subject_alt_names),
        key_hashes=tuple(tls.verify_certificate_spki),
        certificate_hashes=tuple(tls.verify_certificate_hash),
        min_version=tls_version(tls.min_protocol_version),
        max_version=tls_version(tls.max_protocol_version),
        ciphers=tuple(name for name in tls.cipher_suites if name in CIPHERS),
        insecure_skip_verify=bool(tls.insecure_skip_verify),
    )
