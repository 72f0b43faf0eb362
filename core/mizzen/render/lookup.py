"""Clusters whose endpoints are names: Envoy asks the pod's name servers, and goes on asking.

The names are known, or they are what requests ask for (Envoy: dynamic forward proxy). Then the cluster and the
filters before it share one cache of names, and all have to say the same of it.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.clusters.common.dns.v3.dns_pb2 import ALL, V4_ONLY, V6_ONLY
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)

from mizzen.ir import Discovery, EndpointGroup, Upstream
from mizzen.model.families import Families
from mizzen.render.endpoint import assignment
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any

# Istio's: how often names are asked for that say no time of their own, and by how much that varies.
_REFRESH: Final = timedelta(seconds=60)
_JITTER: Final = timedelta(milliseconds=100)
_LOOKUP: Final = {Families.V4: V4_ONLY, Families.V6: V6_ONLY, Families.BOTH: ALL}
_REQUESTED: Final = {
    Families.V4: Cluster.V4_ONLY,
    Families.V6: Cluster.V6_ONLY,
    Families.BOTH: Cluster.ALL,
}
# Istio's: after so many questions a socket is changed for another one.
_QUERIES_PER_SOCKET: Final = 100


def apply_lookup(cluster: Cluster, endpoints: EndpointGroup, upstream: Upstream) -> None:
    """Write the names, and how they are looked up."""
    cluster.cluster_type.name = "envoy.clusters.dns"
    in_turn = upstream.discovery is Discovery.DNS_ROUND_ROBIN
    config = _config(upstream.families, upstream.dns_refresh, in_turn=in_turn)
    cluster.cluster_type.typed_config.CopyFrom(config)
    cluster.load_assignment.CopyFrom(assignment(endpoints))


@cache
def _config(families: Families, refresh: timedelta, *, in_turn: bool) -> Any:
    config = DnsCluster(respect_dns_ttl=True, all_addresses_in_single_endpoint=in_turn)
    config.dns_refresh_rate.CopyFrom(duration(refresh))
    config.dns_jitter.CopyFrom(duration(_JITTER))
    config.dns_lookup_family = _LOOKUP[families]
    config.typed_dns_resolver_config.CopyFrom(_resolver())
    return pack(config)


def apply_requested(cluster: Cluster, families: Families) -> None:
    """Write that a cluster's endpoints are what requests ask for.

    How TLS towards them is checked is a DestinationRule's business, as everywhere.
    """
    config = ClusterConfig(allow_insecure_cluster_options=True)
    config.dns_cache_config.CopyFrom(requested_names(families))
    cluster.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    cluster.cluster_type.typed_config.CopyFrom(pack(config))
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED


@cache
def requested_names(families: Families) -> DnsCacheConfig:
    """Return the cache of the names that requests ask for."""
    config = DnsCacheConfig(name="requested_names", dns_lookup_family=_REQUESTED[families])
    config.dns_refresh_rate.CopyFrom(duration(_REFRESH))
    config.typed_dns_resolver_config.CopyFrom(_resolver())
    return config


@cache
def _resolver() -> TypedExtensionConfig:
    config = CaresDnsResolverConfig()
    config.udp_max_queries.value = _QUERIES_PER_SOCKET
    return TypedExtensionConfig(name="envoy.network.dns_resolver.cares", typed_config=pack(config))
