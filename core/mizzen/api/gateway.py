"""Gateway (networking.istio.io): what the edge listens for (Istio: gateway.proto)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port
from mizzen.api.meta import Manifest

TlsVersionWord = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class TlsCertificate(ApiModel):
    """A certificate in files (Istio: ServerTLSSettings.TLSCertificate)."""

    server_certificate: str = Field(default="", description="A file.")
    private_key: str = Field(default="", description="A file.")
    ca_certificates: Annotated[
        str,
        NotTranslated(
            "Istio never read it; the roots of clients are tls.caCertificates", for_good=True
        ),
    ] = Field(default="", description="Unused.")


class ServerTlsSettings(ApiModel):
    """TLS of a server (Istio: ServerTLSSettings)."""

    https_redirect: bool = Field(default=False, description="Answer HTTP with a redirect.")
    mode: (
        Literal[
            "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
        ]
        | None
    ) = Field(default=None, description="Whether and how TLS ends here; PASSTHROUGH by default.")
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
    min_protocol_version: TlsVersionWord | None = Field(
        default=None, description="TLSV1_2 by default."
    )
    max_protocol_version: TlsVersionWord | None = Field(
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
        Port | None,
        NotTranslated("Istio never read it; the gateway's Service says it", for_good=True),
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
    default_endpoint: Annotated[str, NotTranslated("Istio never read it", for_good=True)] = Field(
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
