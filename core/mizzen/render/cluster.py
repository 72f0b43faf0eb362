"""Clusters: a host's port as an upstream, the proxy's own ports, and the few that every proxy has.

Names and defaults are Istio's (``cluster_builder.go``). Circuit breakers stand at their maximum where
no DestinationRule sets them, so that Envoy's own limit of 1024 never shows through, and there is no
panic: endpoints that are not ready are sent as unhealthy, and must not get traffic because many are.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Final

from envoy.config.cluster.v3.circuit_breaker_pb2 import CircuitBreakers
from envoy.config.cluster.v3.cluster_pb2 import Cluster

from mizzen import names
from mizzen.ir import Discovery, InboundPort, MeshTls, Plaintext, SimpleTls, Upstream, UpstreamHttp
from mizzen.model.destination import ConnectionPool, RetryBudget, SimpleLb
from mizzen.model.families import Families
from mizzen.model.kube import Protocol
from mizzen.render import alpn
from mizzen.render.announce import announce_clients
from mizzen.render.balancing import (
    apply_load_balancer,
    apply_outlier_detection,
    apply_zones,
)
from mizzen.render.lookup import apply_lookup, apply_requested
from mizzen.render.proto import ads, duration, fill_address, fill_socket
from mizzen.render.tls import mesh_client, simple_client
from mizzen.render.upstream_http import (
    HTTP_OPTIONS,
    http_options,
    needs_http_options,
    upstream_options,
)
from mizzen.wire import Resource, TypeUrl, encode

INBOUND_SOURCE: Final = "127.0.0.6"
"""The address that a sidecar calls its own application from, which its redirection rules let pass."""

_INBOUND_V6_SOURCE: Final = "::6"
_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
_UNLIMITED: Final = 2**32 - 1
_UNIX: Final = "unix://"
_NO_POOL: Final = ConnectionPool()
# The tag of CircuitBreakers.Thresholds.RetryBudget.budget_interval: field 3, a message.
_BUDGET_INTERVAL: Final = b"\x1a"
# What Linux takes of TCP_KEEPCNT, and of TCP_KEEPIDLE and TCP_KEEPINTVL (net/ipv4/tcp.c).
_MOST_PROBES: Final = 127
_LONGEST_KEEPALIVE_SECONDS: Final = 32_767
# Istio: pass-through clusters forget an HTTP connection that has been idle this long.
_PASSTHROUGH_POOL: Final = ConnectionPool(http_idle_timeout=timedelta(minutes=5))


def render_upstream(upstream: Upstream, *, zones: bool = False) -> Resource:
    """Return the outbound cluster of a host's port or of one of its subsets.

    ``zones`` tells that it is for proxies with a local cluster, which keep to zones unless they are told not to.
    """
    name = upstream.name
    cluster = _named(name, upstream.connect_timeout)
    _apply_discovery(cluster, upstream)
    if zones:
        apply_zones(cluster, upstream.zones)
    _apply_pool(cluster, upstream.connection_pool)
    if upstream.retry_budget is not None:
        _apply_budget(cluster, upstream.retry_budget)
    if upstream.outlier_detection is not None:
        apply_outlier_detection(cluster, upstream.outlier_detection)
    _apply_http(cluster, upstream)
    _apply_tls(cluster, upstream)
    if upstream.proxy_protocol is not None:
        announce_clients(cluster, upstream.proxy_protocol)
    _apply_metadata(cluster, upstream)
    return encode(TypeUrl.CLUSTER, name, cluster)


def render_inbound_cluster(port: InboundPort, families: Families = Families.V4) -> Resource:
    """Return the cluster behind one of the workload's own ports.

    It is wherever the client was going, or what a Sidecar says instead.
    """
    name = names.inbound_cluster(port.port)
    pool = port.connection_pool or _NO_POOL
    cluster = (
        _to_endpoint(name, port.endpoint) if port.endpoint else _to_workload(name, port, families)
    )
    if pool.connect_timeout is not None:
        cluster.connect_timeout.CopyFrom(duration(pool.connect_timeout))
    _apply_pool(cluster, pool)
    if not port.protocol.is_tcp:
        http = _inbound_http(port.protocol)
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(http_options(http, pool))
    return encode(TypeUrl.CLUSTER, name, cluster)


def _to_workload(name: str, port: InboundPort, families: Families) -> Cluster:
    cluster = _to_original_destination(name)
    _fill_source(cluster, families)
    if port.own_port is not None:
        cluster.original_dst_lb_config.upstream_port_override.value = port.own_port
    return cluster


def _to_endpoint(name: str, endpoint: str) -> Cluster:
    """Return a cluster of one endpoint of the workload itself: ``host:port`` or ``unix:///path``."""
    cluster = _named(name, _CONNECT_TIMEOUT)
    cluster.type = Cluster.STATIC
    cluster.load_assignment.cluster_name = name
    found = cluster.load_assignment.endpoints.add().lb_endpoints.add()
    host, _, port = endpoint.rpartition(":")
    is_socket = endpoint.startswith(_UNIX)
    address = endpoint if is_socket else host.strip("[]")
    fill_address(found.endpoint.address, address, 0 if is_socket else int(port))
    return cluster


def _fill_source(cluster: Cluster, families: Families) -> None:
    """Have a workload called from the address, of its version of IP, that its rules let pass."""
    first, *others = [one for one in (INBOUND_SOURCE, _INBOUND_V6_SOURCE) if families.has(one)]
    fill_socket(cluster.upstream_bind_config.source_address, first, 0)
    for source in others:
        fill_socket(cluster.upstream_bind_config.extra_source_addresses.add().address, source, 0)


def static_clusters(families: Families = Families.V4) -> tuple[Resource, ...]:
    """Return the clusters that every sidecar has."""
    inbound = _to_original_destination(names.INBOUND_PASSTHROUGH_CLUSTER)
    _fill_source(inbound, families)
    outbound = _to_original_destination(names.PASSTHROUGH_CLUSTER)
    options = http_options(UpstreamHttp.CLIENT, _PASSTHROUGH_POOL)
    for cluster in (inbound, outbound):
        _apply_pool(cluster, _NO_POOL)
        cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(options)
    resources = (encode(TypeUrl.CLUSTER, c.name, c) for c in (inbound, outbound))
    return (*gateway_clusters(), *resources)


def gateway_clusters() -> tuple[Resource, ...]:
    """Return the clusters that every gateway has."""
    cluster = Cluster(name=names.BLACK_HOLE_CLUSTER, type=Cluster.STATIC)
    cluster.connect_timeout.CopyFrom(duration(_CONNECT_TIMEOUT))
    return (encode(TypeUrl.CLUSTER, cluster.name, cluster),)


def _named(name: str, connect_timeout: timedelta) -> Cluster:
    """Return a cluster whose statistics keep its whole name, dots and all (Istio: the final ``;``)."""
    cluster = Cluster(name=name, alt_stat_name=name + ";")
    cluster.connect_timeout.CopyFrom(duration(connect_timeout))
    return cluster


def _to_original_destination(name: str) -> Cluster:
    cluster = _named(name, _CONNECT_TIMEOUT)
    cluster.type = Cluster.ORIGINAL_DST
    cluster.lb_policy = Cluster.CLUSTER_PROVIDED
    return cluster


def _inbound_http(protocol: Protocol) -> UpstreamHttp:
    """Return what the application speaks: what the port says, else whatever the client spoke."""
    if protocol is Protocol.UNSET:
        return UpstreamHttp.CLIENT
    return UpstreamHttp.HTTP2 if protocol.is_http2 else UpstreamHttp.HTTP1


def _apply_discovery(cluster: Cluster, upstream: Upstream) -> None:
    discovery = upstream.discovery
    if discovery is Discovery.NOWHERE:
        cluster.type = Cluster.STATIC
        return
    passthrough = upstream.load_balancer.simple is SimpleLb.PASSTHROUGH
    if discovery is Discovery.ORIGINAL_DESTINATION or passthrough:
        cluster.type = Cluster.ORIGINAL_DST
        cluster.lb_policy = Cluster.CLUSTER_PROVIDED
        if upstream.own_port is not None:
            cluster.original_dst_lb_config.upstream_port_override.value = upstream.own_port
        return
    if discovery is Discovery.BY_REQUEST:
        apply_requested(cluster, upstream.families)
        return
    if upstream.endpoints is not None:
        apply_lookup(cluster, upstream.endpoints, upstream)
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(ads())
    cluster.common_lb_config.healthy_panic_threshold.value = 0
    if upstream.locality_weighted:
        cluster.common_lb_config.locality_weighted_lb_config.SetInParent()
    apply_load_balancer(cluster, upstream.load_balancer)


def _apply_pool(cluster: Cluster, pool: ConnectionPool) -> None:
    """Write the limits, and how TCP connections are kept alive."""
    cluster.circuit_breakers.CopyFrom(_unlimited())
    limits = cluster.circuit_breakers.thresholds[0]
    if pool.max_connections is not None:
        limits.max_connections.value = pool.max_connections
    if pool.http1_max_pending_requests is not None:
        limits.max_pending_requests.value = pool.http1_max_pending_requests
    if pool.http2_max_requests is not None:
        limits.max_requests.value = pool.http2_max_requests
    if pool.max_retries is not None:
        limits.max_retries.value = pool.max_retries
    if (keepalive := pool.tcp_keepalive) is None:
        return
    wanted = cluster.upstream_connection_options.tcp_keepalive
    wanted.SetInParent()
    if keepalive.probes is not None:
        wanted.keepalive_probes.value = min(max(keepalive.probes, 1), _MOST_PROBES)
    if keepalive.time is not None:
        wanted.keepalive_time.value = _keepalive_seconds(keepalive.time)
    if keepalive.interval is not None:
        wanted.keepalive_interval.value = _keepalive_seconds(keepalive.interval)


def _apply_budget(cluster: Cluster, budget: RetryBudget) -> None:
    """Write the budget of retries.

    ``budget_interval`` is younger than the classes that messages are built with; Envoy knows it, and an
    unknown field is carried along as it is.
    """
    limit = cluster.circuit_breakers.thresholds[0].retry_budget
    limit.budget_percent.value = budget.percent
    limit.min_retry_concurrency.value = budget.min_concurrency
    if budget.interval:
        interval = duration(budget.interval).SerializeToString(deterministic=True)
        limit.MergeFromString(_BUDGET_INTERVAL + bytes([len(interval)]) + interval)


def _keepalive_seconds(wanted: timedelta) -> int:
    """Return whole seconds that a socket takes; it takes no zero, and with too many it is not opened."""
    return min(max(int(wanted.total_seconds()), 1), _LONGEST_KEEPALIVE_SECONDS)


@cache
def _unlimited() -> CircuitBreakers:
    breakers = CircuitBreakers()
    limits = breakers.thresholds.add(track_remaining=True)
    for limit in (
        limits.max_connections,
        limits.max_pending_requests,
        limits.max_requests,
        limits.max_retries,
    ):
        limit.value = _UNLIMITED
    return breakers


def _apply_http(cluster: Cluster, upstream: Upstream) -> None:
    if not needs_http_options(upstream):
        # Without a word about HTTP, Envoy speaks HTTP/1.1.
        return
    options = upstream_options(upstream)
    cluster.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(options)


def _apply_tls(cluster: Cluster, upstream: Upstream) -> None:
    tls = upstream.tls
    if isinstance(tls, Plaintext):
        return
    if isinstance(tls, SimpleTls):
        cluster.transport_socket.CopyFrom(simple_client(tls))
        return
    socket = mesh_client(tls, alpn.offered(upstream))
    if not tls.automatic:
        cluster.transport_socket.CopyFrom(socket)
        return
    # An endpoint that this does not match gets the cluster's own transport socket: plain text.
    wanted = cluster.transport_socket_matches.add(name="tlsMode-istio")
    wanted.match.fields["tlsMode"].string_value = "istio"
    wanted.transport_socket.CopyFrom(socket)


def _apply_metadata(cluster: Cluster, upstream: Upstream) -> None:
    """Write the names that HTTP offers in TLS, where they differ from the cluster's own.

    Host, port and subset stand in the cluster's name, and are not said twice to every proxy. Nor is the
    DestinationRule named: a rule that changes nothing here would warm the cluster anew.
    """
    if isinstance(upstream.tls, MeshTls) and (protocols := alpn.offered_by_http(upstream)):
        own = cluster.metadata.filter_metadata[alpn.METADATA_NAMESPACE].fields
        own[alpn.METADATA_KEY].string_value = ",".join(protocols)
