"""Settings that hold for the whole mesh (Istio: MeshConfig), with Istio's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from mizzen.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from mizzen.model.destination import (
    ConnectionPool,
    LocalityLb,
    OutlierDetection,
    TcpKeepalive,
    ZoneLb,
)
from mizzen.model.discovery import LabelSelector
from mizzen.model.edge import ANY_EDGE, Edge
from mizzen.model.meta import EXPORT_ALL, ExportTo
from mizzen.model.providers import Authorizer
from mizzen.model.routing import Retries
from mizzen.names import DEFAULT_DOMAIN, DEFAULT_ROOT_NAMESPACE


class Paths(StrEnum):
    """``pathNormalization``: each does what those before it do, and more."""

    NONE = "NONE"
    BASE = "BASE"  # dots are resolved, and backslashes are slashes
    MERGE_SLASHES = "MERGE_SLASHES"
    DECODE_AND_MERGE_SLASHES = "DECODE_AND_MERGE_SLASHES"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsLimits:
    """The least version of TLS, and up to TLS 1.2 the ciphers and curves; empty is Istio's own."""

    version: str = "TLSV1_2"
    ciphers: tuple[str, ...] = ()
    curves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """What MeshConfig would say.

    Attributes:
        trust_domain: The first part of every SPIFFE id that is issued.
        trust_domain_aliases: Other trust domains whose certificates are accepted as ours.
        domain: The cluster's DNS suffix.
        root_namespace: Policies there hold for the whole mesh.
        config_namespace: Where the ConfigMap of the mesh's settings is; empty for the root namespace.
        connect_timeout: Of every upstream connection, where no DestinationRule says otherwise.
        registry_only: True refuses traffic to unknown hosts (outboundTrafficPolicy REGISTRY_ONLY).
        authorizers: Who may be asked by CUSTOM policies, sorted by name.
        locality: How places count where no DestinationRule says so; near ones first.
        zones: How requests keep to zones where no DestinationRule and no Service says how places count.
        connection_pool: The limits of upstreams that no DestinationRule writes any for.
        outlier_detection: When their failing endpoints are taken out, likewise.
        keepalive: Of upstream connections, as far as a DestinationRule does not say it.
        upgrades: True speaks HTTP/2 to HTTP ports where no DestinationRule says otherwise.
        automatic_mtls: Whether mutual TLS is spoken with all who take it.
        retries: Of routes that say nothing of retries; None is Istio's default.
        inbound_retries: Towards the application.
        dns_refresh: How often names are looked up that say no time of their own.
        loopback: Whether inbound connections go to 127.0.0.1 instead of the workload's own address.
        detection: How long a connection's first bytes are waited for; zero is for ever.
        paths: How paths of requests are made alike before anything looks at them.
        server_tls: What of TLS the mesh's servers take among themselves.
        gateway_tls: What gateways take where their servers say nothing.
        edge: What gateways bear with of their clients where their pods say nothing.
        discovery: Which namespaces are looked at: those that one of these selects; all without any.
        service_export: Who sees Services and ServiceEntries that say nothing of it.
        route_export: Who sees VirtualServices that say nothing of it.
        rule_export: Who sees DestinationRules that say nothing of it.
    """

    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    domain: str = DEFAULT_DOMAIN
    root_namespace: str = DEFAULT_ROOT_NAMESPACE
    config_namespace: str = ""
    connect_timeout: timedelta = timedelta(seconds=10)
    registry_only: bool = False
    authorizers: tuple[Authorizer, ...] = ()
    locality: LocalityLb = field(default_factory=LocalityLb)
    zones: ZoneLb | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    keepalive: TcpKeepalive | None = None
    upgrades: bool = False
    automatic_mtls: bool = True
    retries: Retries | None = None
    inbound_retries: Retries | None = None
    dns_refresh: timedelta = timedelta(seconds=60)
    loopback: bool = False
    detection: timedelta = timedelta(0)
    paths: Paths = Paths.BASE
    server_tls: TlsLimits = field(default_factory=TlsLimits)
    gateway_tls: TlsLimits = field(default_factory=TlsLimits)
    edge: Edge = ANY_EDGE
    discovery: tuple[LabelSelector, ...] = ()
    service_export: ExportTo = EXPORT_ALL
    route_export: ExportTo = EXPORT_ALL
    rule_export: ExportTo = EXPORT_ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """What a MeshConfig says, as far as it is translated; None is "not written"."""

    connect_timeout: timedelta | None = None
    registry_only: bool | None = None
    trust_domain_aliases: tuple[str, ...] | None = None
    authorizers: tuple[Authorizer, ...] = ()
    locality: LocalityLb | None = None
    zones: ZoneLb | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    keepalive: TcpKeepalive | None = None
    upgrades: bool | None = None
    automatic_mtls: bool | None = None
    retries: Retries | None = None
    inbound_retries: Retries | None = None
    dns_refresh: timedelta | None = None
    loopback: bool | None = None
    detection: timedelta | None = None
    paths: Paths | None = None
    server_tls: TlsLimits | None = None
    gateway_tls: TlsLimits | None = None
    edge: Edge | None = None
    discovery: tuple[LabelSelector, ...] | None = None
    service_export: ExportTo | None = None
    route_export: ExportTo | None = None
    rule_export: ExportTo | None = None

    def over(self, settings: MeshSettings) -> MeshSettings:
        """Return the settings that hold: what is written here, and the others as they were."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["authorizers"] = self.authorizers or None
        written = {name: value for name, value in values.items() if value is not None}
        return replace(settings, **written)


MESH_CONFIG_MAPS: Final = ("mizzen", "istio")
"""The names of the ConfigMaps, in the mesh's namespace, of which the first that is there holds."""
