"""The TCP proxy: bytes to one cluster, or to several by shares."""

from __future__ import annotations

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2

from mizzen.ir import TcpProxy
from mizzen.render.proto import duration, pack


def tcp_proxy(proxy: TcpProxy) -> Filter:
    """Return the filter; its statistics go by the cluster's name, as in Istio."""
    config = tcp_proxy_pb2.TcpProxy(stat_prefix=proxy.cluster)
    if proxy.shares:
        for name, weight in proxy.shares:
            config.weighted_clusters.clusters.add(name=name, weight=weight)
    else:
        config.cluster = proxy.cluster
    if proxy.idle_timeout is not None:
        config.idle_timeout.CopyFrom(duration(proxy.idle_timeout))
    if proxy.max_connection_duration is not None:
        config.max_downstream_connection_duration.CopyFrom(duration(proxy.max_connection_duration))
    if proxy.tunnel is not None:
        config.tunneling_config.hostname = proxy.tunnel.target
        config.tunneling_config.use_post = proxy.tunnel.post
    if proxy.hash_on_source:
        config.hash_policy.add().source_ip.SetInParent()
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(config))
