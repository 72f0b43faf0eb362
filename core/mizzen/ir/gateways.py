"""Gateways: what comes in from outside, where its TLS ends, and where it goes from there."""

from __future__ import annotations

from dataclasses import dataclass, field

from mizzen.ir.authorization import Authorization
from mizzen.ir.listeners import TcpProxy, TokenIssuers
from mizzen.ir.origins import Origins
from mizzen.model.edge import ANY_EDGE, Edge
from mizzen.model.families import Families
from mizzen.model.gateway import TlsVersion
from mizzen.model.kube import PrivateBytes
from mizzen.model.mesh import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsEnd:
    """How a server ends TLS.

    Attributes:
        certificates: Names of the secrets (SDS) that it may show, such as one for RSA and one for ECDSA.
        roots: Name of the secret with which clients are verified; empty where their roots are not asked.
        asks: Whether clients are asked for a certificate, ``demands`` whether they have to have one.
        subject_alt_names: Of which a client must have one; empty for any.
        key_hashes: SHA-256 of clients' keys in base64, ``certificate_hashes`` of certificates in hex.
        protocols: What is negotiated by ALPN, the server's own preference first.
    """

    certificates: tuple[str, ...]
    roots: str = ""
    asks: bool = False
    demands: bool = False
    subject_alt_names: tuple[str, ...] = ()
    key_hashes: tuple[str, ...] = ()
    certificate_hashes: tuple[str, ...] = ()
    insecure_skip_verify: bool = False
    min_version: TlsVersion = TlsVersion.V1_2
    max_version: TlsVersion = TlsVersion.V1_3
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChain:
    """Some of a gateway's connections: those that ask for one of some server names, or all others.

    Attributes:
        server_names: Empty for all connections that no other chain takes.
        tls: Whether these have to be TLS, which then goes on as it is.
        end: How TLS ends here; None where it does not.
        routes: Name of the route configuration of its requests; empty where bytes go on to ``tcp``, and
            where nobody serves them: without either, a connection is closed.
        passing: Hosts, wildcards among them, of which the mesh's own mutual TLS goes on to the cluster that is
            called as its server name is.
    """

    server_names: tuple[str, ...] = ()
    tls: bool = False
    end: TlsEnd | None = None
    routes: str = ""
    tcp: TcpProxy | None = None
    passing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayListener:
    """A port on which a gateway takes connections; ``bind`` may be ``unix:///path``, with port 0.

    Attributes:
        awaits: Names of the secrets without which a server of it does not serve.
    """

    bind: str
    also: tuple[str, ...] = ()
    port: int
    chains: tuple[GatewayChain, ...]
    authorization: Authorization
    tokens: TokenIssuers = field(default_factory=TokenIssuers)
    paths: Paths = Paths.BASE
    edge: Edge = ANY_EDGE
    awaits: frozenset[str] = frozenset()
    by_request: Families | None = None
    origins: Origins = ()

    @property
    def name(self) -> str:
        """Istio's name of the listener."""
        return f"{self.bind}_{self.port}"

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that its bytes go to."""
        proxies = (chain.tcp for chain in self.chains if chain.tcp is not None)
        return frozenset(name for proxy in proxies for name in proxy.clusters)


# --- What users keep in Secrets and files ---


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCertificate:
    """A certificate chain with its key, in PEM; ``staple`` is an OCSP response in DER, or empty."""

    name: str
    chain: bytes
    key: PrivateBytes
    staple: bytes = b""
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoots:
    """Roots that peers are verified with, and what of theirs is revoked, in PEM."""

    name: str
    roots: bytes
    revoked: bytes = b""
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateOnDisk:
    """A certificate chain and its key in files of the proxy's."""

    name: str
    chain: str
    key: str
    origins: Origins = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RootsOnDisk:
    """Roots in a file of the proxy's, and what of theirs is revoked in another one, or nothing."""

    name: str
    roots: str
    revoked: str = ""
    origins: Origins = ()


HeldSecret = HeldCertificate | HeldRoots | CertificateOnDisk | RootsOnDisk
