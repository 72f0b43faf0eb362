"""Settings that hold for the whole mesh (Istio: MeshConfig), with Istio's defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from mizzen.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from mizzen.model.destination import ConnectionPool, LocalityLb, OutlierDetection, TcpKeepalive
from mizzen.model.providers import Authorizer
from mizzen.names import DEFAULT_DOMAIN, DEFAULT_ROOT_NAMESPACE


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
        connection_pool: The limits of upstreams that no DestinationRule writes any for.
        outlier_detection: When their failing endpoints are taken out, likewise.
        keepalive: Of upstream connections, as far as a DestinationRule does not say it.
        upgrades: True speaks HTTP/2 to HTTP ports where no DestinationRule says otherwise.
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
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    keepalive: TcpKeepalive | None = None
    upgrades: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """What a MeshConfig says, as far as it is translated; None is "not written"."""

    connect_timeout: timedelta | None = None
    registry_only: bool | None = None
    trust_domain_aliases: tuple[str, ...] | None = None
    authorizers: tuple[Authorizer, ...] = ()
    locality: LocalityLb | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    keepalive: TcpKeepalive | None = None
    upgrades: bool | None = None

    def over(self, settings: MeshSettings) -> MeshSettings:
        """Return the settings that hold: what is written here, and the others as they were."""
        aliases = self.trust_domain_aliases
        return replace(
            settings,
            connect_timeout=self.connect_timeout or settings.connect_timeout,
            registry_only=settings.registry_only
            if self.registry_only is None
            else self.registry_only,
            trust_domain_aliases=settings.trust_domain_aliases if aliases is None else aliases,
            authorizers=self.authorizers or settings.authorizers,
            locality=self.locality or settings.locality,
            connection_pool=self.connection_pool or settings.connection_pool,
            outlier_detection=self.outlier_detection or settings.outlier_detection,
            keepalive=self.keepalive or settings.keepalive,
            upgrades=settings.upgrades if self.upgrades is None else self.upgrades,
        )


MESH_CONFIG_MAPS: Final = ("mizzen", "istio")
"""The names of the ConfigMaps, in the mesh's namespace, of which the first that is there holds."""
