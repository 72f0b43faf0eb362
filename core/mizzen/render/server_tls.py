"""TLS that ends at a gateway: what the server shows, what it asks of clients, which versions it speaks.

Certificates and roots are secrets (SDS) by name, so that a new one changes no listener and cuts no connection.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.core.v3.config_source_pb2 import V3, ConfigSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, DownstreamTlsContext

from mizzen.ir import TlsEnd
from mizzen.model.gateway import TlsVersion
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET
from mizzen.render.proto import ads, pack
from mizzen.render.tls import san_type

_VERSIONS: Final = {
    TlsVersion.V1_0: TlsParameters.TLSv1_0,
    TlsVersion.V1_1: TlsParameters.TLSv1_1,
    TlsVersion.V1_2: TlsParameters.TLSv1_2,
    TlsVersion.V1_3: TlsParameters.TLSv1_3,
}
# The mesh's own secrets always come; what users wrote may be refused, and then the others have to go on.
_PATIENCE_S: Final = 5


@lru_cache(maxsize=1024)
def server_socket(end: TlsEnd) -> TransportSocket:
    """Return the server's side of TLS as a gateway's server asks for it."""
    context = DownstreamTlsContext()
    common = context.common_tls_context
    for name in end.certificates:
        common.tls_certificate_sds_secret_configs.append(_secret(name))
    if end.asks:
        context.require_client_certificate.value = end.demands
        _fill_validation(common, end)
    common.tls_params.tls_minimum_protocol_version = _VERSIONS[end.min_version]
    common.tls_params.tls_maximum_protocol_version = _VERSIONS[end.max_version]
    common.tls_params.cipher_suites.extend(end.ciphers)
    common.tls_params.ecdh_curves.extend(end.curves)
    common.alpn_protocols.extend(end.protocols)
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=pack(context))


def _fill_validation(common: CommonTlsContext, end: TlsEnd) -> None:
    if end.roots:
        combined = common.combined_validation_context
        combined.validation_context_sds_secret_config.CopyFrom(_secret(end.roots))
        validation = combined.default_validation_context
    else:
        validation = common.validation_context
    validation.SetInParent()
    validation.verify_certificate_spki.extend(end.key_hashes)
    validation.verify_certificate_hash.extend(end.certificate_hashes)
    if end.insecure_skip_verify:
        validation.trust_chain_verification = CertificateValidationContext.ACCEPT_UNTRUSTED
        return
    for name in end.subject_alt_names:
        matcher = validation.match_typed_subject_alt_names.add(san_type=san_type(name))
        matcher.matcher.exact = name


@lru_cache(maxsize=1024)
def _secret(name: str) -> SdsSecretConfig:
    own = name in (WORKLOAD_SECRET, ROOTS_SECRET)
    return SdsSecretConfig(name=name, sds_config=ads() if own else _ads_for_a_while())


@cache
def _ads_for_a_while() -> ConfigSource:
    source = ConfigSource(resource_api_version=V3)
    source.initial_fetch_timeout.seconds = _PATIENCE_S
    source.ads.SetInParent()
    return source
