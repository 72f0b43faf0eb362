"""What SDS gives a workload: its certificate with its key, and the roots that it believes.

Source: ``envoy.extensions.transport_sockets.tls.v3.Secret``. The bytes are in the message itself
(``inline_bytes``): the stream that carries them is the workload's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from mizzen.wire import TypeUrl, encode

if TYPE_CHECKING:
    from mizzen.wire import Resource


def tls_certificate(name: str, chain_pem: bytes, key_pem: bytes) -> Resource:
    """Return the secret of a certificate chain, the leaf first, and its private key, both in PEM."""
    secret = Secret(name=name)
    secret.tls_certificate.certificate_chain.inline_bytes = chain_pem
    secret.tls_certificate.private_key.inline_bytes = key_pem
    return encode(TypeUrl.SECRET, name, secret)


def validation_context(name: str, roots_pem: bytes) -> Resource:
    """Return the secret of the roots that peers are verified against, in PEM."""
    secret = Secret(name=name)
    secret.validation_context.trusted_ca.inline_bytes = roots_pem
    return encode(TypeUrl.SECRET, name, secret)
