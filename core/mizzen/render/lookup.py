"""Clusters whose endpoints are names: Envoy asks the pod's name servers, and goes on asking."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.extensions.clusters.common.dns.v3.dns_pb2 import V4_ONLY
from envoy.extensions.clusters.dns.v3.dns_cluster_pb2 import DnsCluster
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)

from mizzen.ir import Discovery, EndpointGroup
from mizzen.render.endpoint import assignment
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from envoy.config.cluster.v3.cluster_pb2 import Cluster
    from google.protobuf.any_pb2 import Any

# Istio's: how often names are asked for that say no time of their own, and by how much that varies.
_REFRESH: Final = timedelta(seconds=60)
_JITTER: Final = timedelta(milliseconds=100)
# Istio's: after so many questions a socket is changed for another one.
_QUERIES_PER_SOCKET: Final = 100


def apply_lookup(cluster: Cluster, endpoints: EndpointGroup, discovery: Discovery) -> None:
    """Write the names, and how they are looked up."""
    cluster.cluster_type.name = "envoy.clusters.dns"
    in_turn = discovery is Discovery.DNS_ROUND_ROBIN
    cluster.cluster_type.typed_config.CopyFrom(_config(in_turn=in_turn))
    cluster.load_assignment.CopyFrom(assignment(endpoints))


@cache
def _config(*, in_turn: bool) -> Any:
    config = DnsCluster(respect_dns_ttl=True, all_addresses_in_single_endpoint=in_turn)
    config.dns_refresh_rate.CopyFrom(duration(_REFRESH))
    config.dns_jitter.CopyFrom(duration(_JITTER))
    config.dns_lookup_family = V4_ONLY
    resolver = CaresDnsResolverConfig()
    resolver.udp_max_queries.value = _QUERIES_PER_SOCKET
    config.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    config.typed_dns_resolver_config.typed_config.CopyFrom(pack(resolver))
    return pack(config)
