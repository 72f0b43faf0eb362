"""Gateway (networking.istio.io/v1): what of it is translated, as frozen values.

Hosts are lower-case and may carry a namespace, ``ns/host``. Secrets are named, files are paths in the
router's own file system; neither is read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Labels, Meta


class ServerKind(StrEnum):
    """What servers of one port have to agree on: how a connection finds its server."""

    HTTP = "HTTP"
    TLS = "TLS"
    TCP = "TCP"


class ServerTlsMode(StrEnum):
    """``servers[].tls.mode``."""

    PASSTHROUGH = "PASSTHROUGH"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


PASSING: Final = (ServerTlsMode.PASSTHROUGH, ServerTlsMode.AUTO_PASSTHROUGH)
"""The modes in which TLS does not end, and certificates are of no use."""


class TlsVersion(StrEnum):
    """``minProtocolVersion`` and ``maxProtocolVersion``; ``AUTO`` is the default of the mesh."""

    AUTO = "TLS_AUTO"
    V1_0 = "TLSV1_0"
    V1_1 = "TLSV1_1"
    V1_2 = "TLSV1_2"
    V1_3 = "TLSV1_3"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """A certificate chain and its key, as paths of the router's."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """``servers[].tls`` (ServerTLSSettings).

    Attributes:
        credentials: Names of Secrets of the router's namespace, at most two.
        ca_credential: The Secret with the roots of clients, where it is not that of the certificate.
        files: Certificates in files, at most two.
        ca_file: The roots of clients in a file; ``crl_file`` says which of them are revoked.
        subject_alt_names: Of which a client must have one; empty for any.
        key_hashes: Of clients' keys (``verifyCertificateSpki``), ``certificate_hashes`` of what they show.
        ciphers: Of TLS up to 1.2, the best first; empty for Envoy's own.
    """

    mode: ServerTlsMode
    credentials: tuple[str, ...] = ()
    ca_credential: str = ""
    files: tuple[CertificateFiles, ...] = ()
    ca_file: str = ""
    crl_file: str = ""
    subject_alt_names: tuple[str, ...] = ()
    key_hashes: tuple[str, ...] = ()
    certificate_hashes: tuple[str, ...] = ()
    min_version: TlsVersion = TlsVersion.AUTO
    max_version: TlsVersion = TlsVersion.AUTO
    ciphers: tuple[str, ...] = ()
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """``servers[]`` of a Gateway; ``tls`` None is plain text."""

    port: ServicePort
    hosts: tuple[str, ...]
    bind: str = ""
    name: str = ""
    https_redirect: bool = False
    tls: ServerTls | None = None

    @property
    def kind(self) -> ServerKind:
        """How connections find it: by nothing but the port, by server name, or by host."""
        if self.tls is not None:
            return ServerKind.TLS
        return ServerKind.HTTP if self.port.protocol.is_http else ServerKind.TCP

    @property
    def carries_http(self) -> bool:
        """Tell whether it is about requests: in plain text, or once TLS has ended."""
        protocol = self.port.protocol
        return protocol.is_http or (protocol is Protocol.HTTPS and not self.passes_through)

    @property
    def passes_through(self) -> bool:
        """Tell whether TLS does not end here."""
        return self.tls is not None and self.tls.mode in PASSING

    @property
    def is_automatic(self) -> bool:
        """Tell whether the mesh's own mutual TLS passes through, to where its server name says."""
        return self.tls is not None and self.tls.mode is ServerTlsMode.AUTO_PASSTHROUGH


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """networking.istio.io Gateway; only servers that are translated stand in it."""

    meta: Meta
    selector: Labels
    servers: tuple[Server, ...] = ()
