"""Settings that hold for the whole mesh (Istio: MeshConfig), with Istio's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mizzen.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from mizzen.names import DEFAULT_DOMAIN, DEFAULT_ROOT_NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSettings:
    """What MeshConfig would say.

    Attributes:
        trust_domain: The first part of every SPIFFE id that is issued.
        trust_domain_aliases: Other trust domains whose certificates are accepted as ours.
        domain: The cluster's DNS suffix.
        root_namespace: Policies there hold for the whole mesh.
        connect_timeout: Of every upstream connection, where no DestinationRule says otherwise.
        registry_only: True refuses traffic to unknown hosts (outboundTrafficPolicy REGISTRY_ONLY).
    """

    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN
    trust_domain_aliases: tuple[str, ...] = ()
    domain: str = DEFAULT_DOMAIN
    root_namespace: str = DEFAULT_ROOT_NAMESPACE
    connect_timeout: timedelta = timedelta(seconds=10)
    registry_only: bool = False
