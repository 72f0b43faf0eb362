"""TLS of both sides: whose certificate is shown, whose is believed, what is offered.

The workload's own key and certificate are the SDS secret ``default``, the roots it believes
``ROOTCA`` (Istio's names), both over ADS.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)

from mizzen.ir import MeshTls, SimpleTls
from mizzen.model.gateway import ServerTls, ServerTlsMode, TlsVersion
from mizzen.model.mesh import TlsLimits
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET
from mizzen.render.alpn import SERVER
from mizzen.render.proto import ads, pack

SYSTEM_ROOTS: Final = "/etc/ssl/certs/ca-certificates.crt"
"""The system's bundle of roots in the Envoy images, and on Debian and its children."""

# Istio's list for mutual TLS (mesh.meshMTLS); TLS 1.3 has its own, which can't be chosen.
_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)


_VERSIONS: Final = {"TLSV1_2": TlsParameters.TLSv1_2, "TLSV1_3": TlsParameters.TLSv1_3}


_TLS_VERSIONS: Final = {
    TlsVersion.V1_0: TlsParameters.TLSv1_0,
    TlsVersion.V1_1: TlsParameters.TLSv1_1,
    TlsVersion.V1_2: TlsParameters.TLSv1_2,
    TlsVersion.V1_3: TlsParameters.TLSv1_3,
}


def mesh_client(tls: MeshTls, protocols: tuple[str, ...]) -> TransportSocket:
    """Return the client's side of mutual TLS, which offers these application protocols."""
    context = UpstreamTlsContext(common_tls_context=_mesh_client_base(protocols), sni=tls.sni)
    matchers = _validation(context).match_typed_subject_alt_names
    for identity in tls.identities:
        matcher = matchers.add(san_type=SubjectAltNameMatcher.URI)
        matcher.matcher.exact = identity
    return _tls_socket(context)


def simple_client(tls: SimpleTls) -> TransportSocket:
    """Return the client's side of TLS with a server outside the mesh."""
    context = UpstreamTlsContext(sni=tls.sni)
    common = context.common_tls_context
    common.tls_params.CopyFrom(_client_versions())
    if tls.certificate:
        common.tls_certificate_sds_secret_configs.add().CopyFrom(_secret(tls.certificate))
    if tls.insecure_skip_verify:
        skipped = CertificateValidationContext.ACCEPT_UNTRUSTED
        common.validation_context.trust_chain_verification = skipped
        return _tls_socket(context)
    if tls.roots:
        believed = common.combined_validation_context.validation_context_sds_secret_config
        believed.CopyFrom(_secret(tls.roots))
        validation = _validation(context)
        validation.SetInParent()
    else:
        validation = common.validation_context
        validation.trusted_ca.filename = SYSTEM_ROOTS
    for name in tls.subject_alt_names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=san_type(name))
        matcher.matcher.exact = name
    return _tls_socket(context)


@lru_cache(maxsize=64)
def mesh_server(
    trust_domains: tuple[str, ...], limits: TlsLimits, *, http: bool
) -> TransportSocket:
    """Return the server's side of mutual TLS: any workload of these trust domains may come."""
    context = DownstreamTlsContext()
    context.common_tls_context.CopyFrom(_mesh_base())
    context.common_tls_context.tls_params.CopyFrom(
        TlsParameters(
            tls_minimum_protocol_version=_VERSIONS[limits.version],
            tls_maximum_protocol_version=TlsParameters.TLSv1_3,
            cipher_suites=limits.ciphers or _CIPHERS,
            ecdh_curves=limits.curves,
        )
    )
    context.require_client_certificate.value = True
    matchers = _validation(context).match_typed_subject_alt_names
    for domain in trust_domains:
        matcher = matchers.add(san_type=SubjectAltNameMatcher.URI)
        matcher.matcher.prefix = f"spiffe://{domain}/"
    if http:
        context.common_tls_context.alpn_protocols.extend(SERVER)
    return _tls_socket(context)


@lru_cache(maxsize=64)
def own_server(end: ServerTls, *, http: bool) -> TransportSocket:
    """Return the server's side of TLS with a certificate from the proxy's own files."""
    context = DownstreamTlsContext()
    common = context.common_tls_context
    params = common.tls_params
    params.tls_minimum_protocol_version = _TLS_VERSIONS.get(end.min_version, TlsParameters.TLSv1_2)
    params.tls_maximum_protocol_version = _TLS_VERSIONS.get(end.max_version, TlsParameters.TLSv1_3)
    params.cipher_suites.extend(end.ciphers)
    for files in end.files:
        shown = common.tls_certificates.add()
        shown.certificate_chain.filename, shown.private_key.filename = files.certificate, files.key
    if end.mode is not ServerTlsMode.SIMPLE:
        context.require_client_certificate.value = end.mode is ServerTlsMode.MUTUAL
        _fill_clients(common.validation_context, end)
    if http:
        common.alpn_protocols.extend(SERVER)
    return _tls_socket(context)


def _fill_clients(validation: CertificateValidationContext, end: ServerTls) -> None:
    validation.trusted_ca.filename = end.ca_file
    if end.crl_file:
        validation.crl.filename = end.crl_file
    validation.verify_certificate_spki.extend(end.key_hashes)
    validation.verify_certificate_hash.extend(end.certificate_hashes)
    if end.insecure_skip_verify:
        validation.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED


def san_type(name: str) -> SubjectAltNameMatcher.SanType:
    """Return the kind of subject alternative name that a text can only be."""
    if "://" in name:
        return SubjectAltNameMatcher.URI
    if ":" in name or name.replace(".", "").isdigit():
        return SubjectAltNameMatcher.IP_ADDRESS
    return SubjectAltNameMatcher.DNS


def _validation(context: UpstreamTlsContext | DownstreamTlsContext) -> CertificateValidationContext:
    combined = context.common_tls_context.combined_validation_context
    return combined.default_validation_context


@lru_cache(maxsize=64)
def _mesh_client_base(protocols: tuple[str, ...]) -> CommonTlsContext:
    context = CommonTlsContext()
    context.CopyFrom(_mesh_base())
    context.tls_params.CopyFrom(_client_versions())
    context.alpn_protocols.extend(protocols)
    return context


@cache
def _client_versions() -> TlsParameters:
    """Return what clients offer: of Envoy's own choice they would stop at TLS 1.2."""
    return TlsParameters(
        tls_minimum_protocol_version=TlsParameters.TLSv1_2,
        tls_maximum_protocol_version=TlsParameters.TLSv1_3,
    )


@cache
def _mesh_base() -> CommonTlsContext:
    context = CommonTlsContext(tls_certificate_sds_secret_configs=[_secret(WORKLOAD_SECRET)])
    combined = context.combined_validation_context
    combined.default_validation_context.SetInParent()
    combined.validation_context_sds_secret_config.CopyFrom(_secret(ROOTS_SECRET))
    return context


def _secret(name: str) -> SdsSecretConfig:
    return SdsSecretConfig(name=name, sds_config=ads())


def _tls_socket(context: UpstreamTlsContext | DownstreamTlsContext) -> TransportSocket:
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))
