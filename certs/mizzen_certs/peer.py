"""Reading who a peer is from the certificate that its TLS handshake has already proved."""

from __future__ import annotations

from typing import Final

from cryptography import x509

from mizzen.identity import SpiffeId
from mizzen_certs.errors import PeerRefused

_PEM: Final = b"-----BEGIN"


def identity_of(certificate: bytes) -> SpiffeId:
    """Return the identity in a peer's certificate, PEM (the first of several counts) or DER.

    Says nothing about signature and validity: TLS has judged those against the trust bundle.
    Raises :class:`PeerRefused` for anything but a workload's certificate with exactly one URI
    (SPIFFE X509-SVID, 5.2).
    """
    leaf = _parsed(certificate)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        _refuse_authority(leaf)
    except x509.ExtensionNotFound as error:
        raise PeerRefused("the peer's certificate has no alternative name") from error
    except (ValueError, x509.DuplicateExtension) as error:
        raise PeerRefused("the peer's certificate has unreadable extensions") from error
    return _named(names.get_values_for_type(x509.UniformResourceIdentifier))


def _parsed(certificate: bytes) -> x509.Certificate:
    try:
        if certificate.lstrip().startswith(_PEM):
            return x509.load_pem_x509_certificate(certificate)
        return x509.load_der_x509_certificate(certificate)
    except ValueError as error:
        raise PeerRefused("the peer sent no certificate that can be read") from error


def _refuse_authority(leaf: x509.Certificate) -> None:
    try:
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return
    if constraints.ca:
        raise PeerRefused("the peer's certificate is an authority's, which is nobody's identity")


def _named(uris: list[str]) -> SpiffeId:
    if len(uris) != 1:
        raise PeerRefused(f"the peer's certificate names {len(uris)} URIs, not exactly one")
    try:
        return SpiffeId.parse(uris[0])
    except ValueError as error:
        raise PeerRefused(f"the peer's certificate: {error}") from error
