"""What SDS gives a workload: its certificate with its key, and the roots that it believes.

Source: ``envoy.extensions.transport_sockets.tls.v3.Secret``. The bytes are in the message itself
(``inline_bytes``): the stream that carries them is the workload's own.
"""

from __future__ import annotations

from posixpath import dirname
from typing import TYPE_CHECKING, assert_never

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from mizzen.ir import CertificateOnDisk, HeldCertificate, HeldRoots, RootsOnDisk
from mizzen.wire import TypeUrl, encode

if TYPE_CHECKING:
    from mizzen.ir import HeldSecret
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


def render_secret(held: HeldSecret) -> Resource:
    """Return the secret of what a user keeps in a Secret, or in files of the proxy's."""
    secret = Secret(name=held.name)
    match held:
        case HeldCertificate():
            secret.tls_certificate.certificate_chain.inline_bytes = held.chain
            secret.tls_certificate.private_key.inline_bytes = held.key.value
            if held.staple:
                secret.tls_certificate.ocsp_staple.inline_bytes = held.staple
        case HeldRoots():
            secret.validation_context.trusted_ca.inline_bytes = held.roots
            if held.revoked:
                secret.validation_context.crl.inline_bytes = held.revoked
        case CertificateOnDisk():
            secret.tls_certificate.certificate_chain.filename = held.chain
            secret.tls_certificate.private_key.filename = held.key
            if folder := _common_folder(held.chain, held.key):
                secret.tls_certificate.watched_directory.path = folder
        case RootsOnDisk():
            secret.validation_context.trusted_ca.filename = held.roots
            if held.revoked:
                secret.validation_context.crl.filename = held.revoked
            if folder := _common_folder(held.roots, held.revoked or held.roots):
                secret.validation_context.watched_directory.path = folder
        case other:
            assert_never(other)
    return encode(TypeUrl.SECRET, held.name, secret)


def _common_folder(one: str, other: str) -> str:
    """Return the folder of both files, empty where each has its own.

    Kubernetes replaces all files of a mounted Secret at once, by renaming a link in their folder; without
    a folder to watch Envoy watches each file for being replaced itself.
    """
    return dirname(one) if dirname(one) == dirname(other) else ""
