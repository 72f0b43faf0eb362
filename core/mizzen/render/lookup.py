"""Clusters whose endpoints are names: Envoy asks the pod's name servers, and goes on asking."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.extensions.clusters.common.dns.v3.dns_pb2 import ALL, V4_ONLY, V6_ONLY
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)

from mizzen.ir import Discovery, EndpointGroup, Upstream
from mizzen.model.families import Families
from mizzen.render.endpoint import assignment
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from envoy.config.cluster.v3.cluster_pb2 import Cluster
    from google.protobuf.any_pb2 import Any

# Istio's: how often names are asked for that say no time of their own, and by how much that varies.
_REFRESH: Final = timedelta(seconds=60)
_JITTER: Final = timedelta(milliseconds=100)
_LOOKUP: Final = {Families.V4: V4_ONLY, Families.V6: V6_ONLY, Families.BOTH: ALL}
# Istio's: after so many questions a socket is changed for another one.
_QUERIES_PER_SOCKET: Final = 100


def apply_lookup(cluster: Cluster, endpoints: EndpointGroup, upstream: Upstream) -> None:
    """Write the names, and how they are looked up."""
    cluster.cluster_type.name = "envoy.clusters.dns"
    in_turn = upstream.discovery is Discovery.DNS_ROUND_ROBIN
    config = _config(upstream.families, in_turn=in_turn)
    cluster.cluster_type.typed_config.CopyFrom(config)
    cluster.load_assignment.CopyFrom(assignment(endpoints))


@cache
def _config(families: Families, *, in_turn: bool) -> Any:
    config = DnsCluster(respect_dns_ttl=True, all_addresses_in_single_endpoint=in_turn)
    config.dns_refresh_rate.CopyFrom(duration(_REFRESH))
    config.dns_jitter.CopyFrom(duration(_JITTER))
    config.dns_lookup_family = _LOOKUP[families]
    resolver = CaresDnsResolverConfig()
    resolver.udp_max_queries.value = _QUERIES_PER_SOCKET
    config.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    config.typed_dns_resolver_config.typed_config.CopyFrom(pack(resolver))
    return pack(config)
