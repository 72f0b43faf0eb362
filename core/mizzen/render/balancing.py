"""Which endpoint of a cluster gets the next request, and when one is taken out for a while.

DestinationRule ``loadBalancer`` and ``outlierDetection`` as Istio maps them
(``cluster_traffic_policy.go``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from mizzen.model.traffic import ConsistentHash, LoadBalancer, OutlierDetection, SimpleLb, Warmup
from mizzen.render.proto import duration

if TYPE_CHECKING:
    from google.protobuf.wrappers_pb2 import UInt32Value

    from mizzen.model.destination import ZoneLb

# What looks at zones at all: not the tables that a hash is looked up in.
_BY_ZONES: Final = (Cluster.LEAST_REQUEST, Cluster.ROUND_ROBIN, Cluster.RANDOM)


def apply_load_balancer(cluster: Cluster, balancer: LoadBalancer) -> None:
    """Write the policy of an EDS cluster; least request where nothing is said."""
    if balancer.consistent_hash is not None:
        _apply_consistent_hash(cluster, balancer.consistent_hash)
    elif balancer.simple is SimpleLb.ROUND_ROBIN:
        cluster.lb_policy = Cluster.ROUND_ROBIN
        if balancer.warmup is not None:
            _apply_warmup(cluster.round_robin_lb_config.slow_start_config, balancer.warmup)
    elif balancer.simple is SimpleLb.RANDOM:
        cluster.lb_policy = Cluster.RANDOM
    else:
        cluster.lb_policy = Cluster.LEAST_REQUEST
        if balancer.warmup is not None:
            _apply_warmup(cluster.least_request_lb_config.slow_start_config, balancer.warmup)


def apply_zones(cluster: Cluster, wanted: ZoneLb | None) -> None:
    """Write that requests keep to the own zone, or that they do not.

    An Envoy that has a local cluster keeps to its zone unless it is told not to: where several endpoints of
    one cluster are at different places, and no places have weights.
    """
    is_over_several = cluster.type == Cluster.EDS or cluster.HasField("cluster_type")
    config = cluster.common_lb_config
    if (
        cluster.lb_policy not in _BY_ZONES
        or config.HasField("locality_weighted_lb_config")
        or not is_over_several
    ):
        return
    found = config.zone_aware_lb_config
    found.SetInParent()
    if wanted is None:
        found.routing_enabled.SetInParent()  # of 0 percent of requests
    elif wanted.minimum is not None:
        found.min_cluster_size.value = wanted.minimum


def _apply_consistent_hash(cluster: Cluster, wanted: ConsistentHash) -> None:
    """Write which table the hash is looked up in; what is hashed stands in the routes."""
    if wanted.maglev or wanted.maglev_table_size is not None:
        cluster.lb_policy = Cluster.MAGLEV
        if wanted.maglev_table_size is not None:
            cluster.maglev_lb_config.table_size.value = wanted.maglev_table_size
        return
    cluster.lb_policy = Cluster.RING_HASH
    cluster.ring_hash_lb_config.minimum_ring_size.value = wanted.minimum_ring_size


def _apply_warmup(config: Cluster.SlowStartConfig, warmup: Warmup) -> None:
    config.slow_start_window.CopyFrom(duration(warmup.duration))
    if warmup.aggression is not None:
        config.aggression.default_value = warmup.aggression
        # Envoy wants a runtime key beside a default; nothing is ever set under this one.
        config.aggression.runtime_key = "mizzen.slow_start.aggression"
    if warmup.minimum_percent is not None:
        config.min_weight_percent.value = warmup.minimum_percent


def apply_outlier_detection(cluster: Cluster, wanted: OutlierDetection) -> None:
    """Write when an endpoint is ejected; never by success rate, as in Istio."""
    cluster.common_lb_config.healthy_panic_threshold.value = max(wanted.min_health_percent, 0)
    found = cluster.outlier_detection
    found.enforcing_success_rate.value = 0
    _consecutive(
        found.consecutive_5xx, found.enforcing_consecutive_5xx, wanted.consecutive_5xx_errors
    )
    _consecutive(
        found.consecutive_gateway_failure,
        found.enforcing_consecutive_gateway_failure,
        wanted.consecutive_gateway_errors,
    )
    if wanted.interval is not None:
        found.interval.CopyFrom(duration(wanted.interval))
    if wanted.base_ejection_time is not None:
        found.base_ejection_time.CopyFrom(duration(wanted.base_ejection_time))
    if wanted.max_ejection_percent is not None:
        found.max_ejection_percent.value = wanted.max_ejection_percent
    if wanted.split_external_local_origin_errors:
        found.split_external_local_origin_errors = True
        found.enforcing_local_origin_success_rate.value = 0
        if wanted.consecutive_local_origin_failures:
            _consecutive(
                found.consecutive_local_origin_failure,
                found.enforcing_consecutive_local_origin_failure,
                wanted.consecutive_local_origin_failures,
            )


def _consecutive(count: UInt32Value, enforced: UInt32Value, wanted: int | None) -> None:
    """Write after how many failures in a row an endpoint goes; 0 is never, ``None`` is Envoy's default."""
    if wanted is None:
        return
    if wanted:
        count.value = wanted
    enforced.value = 100 if wanted else 0
