"""From a DestinationRule's manifest to the value that the compiler reads."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mizzen.api import destination_rule_checks, load_balancing, traffic_policy
from mizzen.api.destination_rule import DestinationRuleManifest, DestinationRuleSpec
from mizzen.api.reading import Reading, read
from mizzen.model.destination import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    DestinationRule,
    HashCookie,
    LoadBalancer,
    LocalityLb,
    OutlierDetection,
    Pings,
    PortPolicy,
    ProxyProtocol,
    RetryBudget,
    SimpleLb,
    Subset,
    TcpKeepalive,
    TlsMode,
    TrafficPolicy,
    Tunnel,
    Warmup,
    ZoneLb,
)
from mizzen.model.meta import EXPORT_ALL, ExportTo, Meta, labels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.names import ObjectKey

_OWN: Final = ExportTo((".",))
_DEFAULT_RING_SIZE: Final = 1024
_PING_TIMEOUT: Final = timedelta(seconds=20)


def read_destination_rule(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the DestinationRule that a manifest means."""
    return read(raw, key, DestinationRuleManifest, _convert, destination_rule_checks.check)


def _convert(manifest: DestinationRuleManifest, meta: Meta) -> DestinationRule:
    spec = manifest.spec
    return DestinationRule(
        meta=meta,
        host=spec.host.lower(),
        policy=_policy(spec.traffic_policy),
        subsets=tuple(
            Subset(
                name=subset.name,
                labels=labels(subset.labels),
                policy=_policy(subset.traffic_policy),
            )
            for subset in spec.subsets
        ),
        export_to=_export_to(spec),
        export_unsaid=not spec.export_to and spec.workload_selector is None,
        selector=labels(selector.match_labels) if (selector := spec.workload_selector) else None,
    )


def _export_to(spec: DestinationRuleSpec) -> ExportTo:
    """Return who sees the rule: its own namespace alone where it is for some clients (Istio)."""
    if spec.workload_selector is not None:
        return _OWN
    return ExportTo(tuple(spec.export_to)) if spec.export_to else EXPORT_ALL


def _policy(policy: traffic_policy.TrafficPolicy | None) -> TrafficPolicy | None:
    if policy is None:
        return None
    ports = {port.port.number: _blocks(port) for port in policy.port_level_settings}
    return TrafficPolicy(
        base=_blocks(policy),
        ports=tuple(sorted(ports.items(), key=_number)),
        retry_budget=_retry_budget(policy.retry_budget) if policy.retry_budget else None,
        tunnel=_tunnel(policy.tunnel) if policy.tunnel else None,
        proxy_protocol=ProxyProtocol(policy.proxy_protocol.version)
        if policy.proxy_protocol
        else None,
    )


def _retry_budget(budget: traffic_policy.RetryBudget) -> RetryBudget:
    """Return a budget; a concurrency of 0 is none written, as in Istio's protobuf."""
    default = RetryBudget()
    return RetryBudget(
        percent=default.percent if budget.percent is None else budget.percent,
        min_concurrency=budget.min_retry_concurrency or default.min_concurrency,
        interval=budget.budget_interval or default.interval,
    )


def _tunnel(tunnel: traffic_policy.TunnelSettings) -> Tunnel:
    host = tunnel.target_host
    if ":" in host:
        host = f"[{host}]"
    return Tunnel(target=f"{host}:{tunnel.target_port}", post=tunnel.protocol == "POST")


def _number(entry: tuple[int, PortPolicy]) -> int:
    return entry[0]


def _blocks(blocks: traffic_policy.PolicyBlocks) -> PortPolicy:
    return PortPolicy(
        load_balancer=_load_balancer(blocks.load_balancer),
        connection_pool=connection_pool(blocks.connection_pool),
        outlier_detection=outlier_detection(blocks.outlier_detection),
        tls=_tls(blocks.tls),
    )


def _load_balancer(balancer: load_balancing.LoadBalancerSettings | None) -> LoadBalancer | None:
    if balancer is None:
        return None
    return LoadBalancer(
        simple=SimpleLb(balancer.simple or "UNSPECIFIED"),
        consistent_hash=_hash(balancer.consistent_hash) if balancer.consistent_hash else None,
        warmup=_warmup(balancer),
        locality=locality_lb(balancer.locality_lb_setting),
        zones=zone_lb(balancer.zone_aware_lb_setting),
    )


def locality_lb(setting: load_balancing.LocalityLbSetting | None) -> LocalityLb | None:
    """Return what is written of localities; a MeshConfig may say it too."""
    if setting is None:
        return None
    return LocalityLb(
        enabled=setting.enabled is not False,
        distribute=tuple((one.from_, tuple(one.to.items())) for one in setting.distribute),
        failover=tuple((one.from_, one.to) for one in setting.failover),
        failover_priority=tuple(setting.failover_priority),
    )


def zone_lb(setting: load_balancing.ZoneAwareLbSetting | None) -> ZoneLb | None:
    """Return what is written of zones; a MeshConfig may say it too."""
    if setting is None:
        return None
    return ZoneLb(
        enabled=setting.enabled is not False,
        failover=tuple((one.from_, one.to) for one in setting.failover),
        failover_priority=tuple(setting.failover_priority),
        minimum=setting.min_cluster_size,
    )


def _hash(settings: load_balancing.ConsistentHashLb) -> ConsistentHash:
    cookie, ring, maglev = settings.http_cookie, settings.ring_hash, settings.maglev
    old_size = settings.minimum_ring_size or _DEFAULT_RING_SIZE
    return ConsistentHash(
        http_header_name=settings.http_header_name or "",
        http_cookie=_cookie(cookie) if cookie else None,
        use_source_ip=bool(settings.use_source_ip),
        http_query_parameter_name=settings.http_query_parameter_name or "",
        minimum_ring_size=ring.minimum_ring_size if ring else old_size,
        maglev=maglev is not None,
        maglev_table_size=maglev.table_size if maglev else None,
    )


def _cookie(cookie: load_balancing.HttpCookie) -> HashCookie:
    return HashCookie(
        name=cookie.name,
        path=cookie.path,
        ttl=cookie.ttl,
        attributes=tuple((one.name, one.value) for one in cookie.attributes),
    )


def _warmup(balancer: load_balancing.LoadBalancerSettings) -> Warmup | None:
    if balancer.warmup is not None:
        return Warmup(
            duration=balancer.warmup.duration,
            minimum_percent=balancer.warmup.minimum_percent,
            aggression=balancer.warmup.aggression,
        )
    if balancer.warmup_duration_secs is not None:
        return Warmup(duration=balancer.warmup_duration_secs)
    return None


def connection_pool(pool: traffic_policy.ConnectionPoolSettings | None) -> ConnectionPool | None:
    """Return the limits that are written; a Sidecar has them too. A limit of 0 is none (Istio)."""
    if pool is None:
        return None
    tcp = pool.tcp or traffic_policy.TcpSettings()
    http = pool.http or traffic_policy.HttpSettings()
    return ConnectionPool(
        max_connections=tcp.max_connections or None,
        connect_timeout=tcp.connect_timeout,
        tcp_keepalive=tcp_keepalive(tcp.tcp_keepalive),
        max_connection_duration=tcp.max_connection_duration,
        tcp_idle_timeout=tcp.idle_timeout,
        http1_max_pending_requests=http.http1_max_pending_requests or None,
        http2_max_requests=http.http2_max_requests or None,
        max_requests_per_connection=http.max_requests_per_connection or None,
        max_retries=http.max_retries or None,
        http_idle_timeout=http.idle_timeout,
        h2_upgrade_policy=http.h2_upgrade_policy,
        use_client_protocol=http.use_client_protocol,
        max_concurrent_streams=http.max_concurrent_streams or None,
        pings=_pings(http.http2_keep_alive),
    )


def _pings(written: traffic_policy.Http2KeepAlive | None) -> Pings | None:
    """Return the PING frames that are sent; Envoy wants a time for the answer, gRPC's is 20 s."""
    if written is None or written.interval is None:
        return None
    return Pings(interval=written.interval, timeout=written.timeout or _PING_TIMEOUT)


def tcp_keepalive(keepalive: traffic_policy.TcpKeepalive | None) -> TcpKeepalive | None:
    """Return how connections are kept alive; a MeshConfig may say it too."""
    if keepalive is None:
        return None
    return TcpKeepalive(probes=keepalive.probes, time=keepalive.time, interval=keepalive.interval)


def outlier_detection(
    outliers: traffic_policy.OutlierDetection | None,
) -> OutlierDetection | None:
    """Return when failing endpoints are taken out; a MeshConfig may say it too."""
    if outliers is None:
        return None
    return OutlierDetection(
        split_external_local_origin_errors=outliers.split_external_local_origin_errors,
        consecutive_local_origin_failures=outliers.consecutive_local_origin_failures,
        consecutive_gateway_errors=outliers.consecutive_gateway_errors,
        consecutive_5xx_errors=outliers.consecutive_5xx_errors,
        interval=outliers.interval,
        base_ejection_time=outliers.base_ejection_time,
        max_ejection_percent=outliers.max_ejection_percent,
        min_health_percent=outliers.min_health_percent,
        http_error_codes=tuple(sorted(set(outliers.outlier_detection_http_error_codes))),
    )


def _tls(tls: traffic_policy.ClientTlsSettings | None) -> ClientTls | None:
    if tls is None:
        return None
    return ClientTls(
        mode=TlsMode(tls.mode),
        sni=tls.sni,
        subject_alt_names=tuple(tls.subject_alt_names),
        insecure_skip_verify=bool(tls.insecure_skip_verify),
        certificate=tls.client_certificate,
        key=tls.private_key,
        roots=tls.ca_certificates,
        revoked=tls.ca_crl,
        credential_name=tls.credential_name,
    )
