"""Upstreams: the clusters of a host, one for each port and one more for each of its subsets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import (
    Discovery,
    MeshTls,
    Plaintext,
    Upstream,
    UpstreamHttp,
    UpstreamTls,
)
from mizzen.model.destination import (
    ClientTls,
    ConnectionPool,
    LoadBalancer,
    OutlierDetection,
    PortPolicy,
    Subset,
    TcpKeepalive,
    TlsMode,
    ZoneLb,
)
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import NO_LABELS
from mizzen.model.proxy import Scope
from mizzen.model.security import MtlsMode
from mizzen.names import subset_sni
from mizzen.resolve.client_tls import client_of
from mizzen.resolve.discovery import BY_NAME, discovery_of, own_port
from mizzen.resolve.endpoints import EdsCluster, endpoint_group, takes_mtls_on
from mizzen.resolve.instances import identities, instances
from mizzen.resolve.localities import is_weighted, locality_setting
from mizzen.resolve.peers import namespace_mode
from mizzen.resolve.rules import (
    EffectiveRule,
    policy_at,
    proxy_protocol_for,
    retry_budget_for,
    rule_for,
)
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.mesh import MeshSettings


@query
def upstreams(db: Database, key: tuple[Scope, str]) -> tuple[Upstream, ...]:
    """Return all clusters of a host as seen from a scope; none where it is not visible."""
    scope, host = key
    service = service_at(db, scope, host)
    if service is None:
        return ()
    seen = _Seen(scope=scope, service=service, rule=rule_for(db, key))
    return tuple(
        _upstream(db, seen, port, subset)
        for port in service.ports
        if port.protocol is not Protocol.UDP
        for subset in (None, *seen.rule.subsets)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A service as seen from a scope, with the rule that holds for it there."""

    scope: Scope
    service: MeshService
    rule: EffectiveRule


def _upstream(db: Database, seen: _Seen, port: ServicePort, subset: Subset | None) -> Upstream:
    service, rule = seen.service, seen.rule
    policy = policy_at(db, rule, port.number, subset)
    pool = _pool(policy, settings(db))
    balancer = policy.load_balancer or LoadBalancer()
    discovery = discovery_of(seen.scope, service, balancer)
    name = subset.name if subset else ""
    endpoints = None
    if discovery in BY_NAME:
        looked_up = assigned(service, port.number, subset, policy)
        looked_up = replace(looked_up, families=seen.scope.families, names=True)
        endpoints = endpoint_group(db, looked_up)
        if discovery is Discovery.DNS_ROUND_ROBIN and endpoints.size != 1:
            discovery = Discovery.DNS  # Envoy takes exactly one name for the other
    tls = _tls(db, seen, port, name, policy, discovery)
    places = locality_setting(db, service, policy)
    return Upstream(
        host=service.host,
        port=port.number,
        subset=name,
        discovery=discovery if tls else Discovery.NOWHERE,
        protocol=port.protocol,
        http=_http(port.protocol, pool, upgrades=settings(db).upgrades),
        tls=tls or Plaintext(),
        endpoints=endpoints,
        own_port=own_port(service, port, discovery),
        families=seen.scope.families,
        load_balancer=balancer,
        connection_pool=pool,
        outlier_detection=policy.outlier_detection,
        retry_budget=retry_budget_for(rule, subset),
        proxy_protocol=proxy_protocol_for(rule, port.number, subset),
        locality_weighted=is_weighted(places),
        zones=places if endpoints is None and isinstance(places, ZoneLb) else None,
        connect_timeout=pool.connect_timeout or settings(db).connect_timeout,
        dns_refresh=settings(db).dns_refresh,
        service_name=service.meta.name,
        service_namespace=service.namespace,
        external=service.external,
        rule=rule.origins[0] if rule.origins else None,
        origins=tuple(
            dict.fromkeys((service.key, *rule.origins, *(endpoints.origins if endpoints else ())))
        ),
    )


def _pool(policy: PortPolicy, mesh: MeshSettings) -> ConnectionPool:
    """Return the limits of a cluster, with what the mesh says of keeping connections alive (Istio)."""
    pool = policy.connection_pool or ConnectionPool()
    if mesh.keepalive is None:
        return pool
    own, general = pool.tcp_keepalive or TcpKeepalive(), mesh.keepalive
    merged = TcpKeepalive(
        probes=general.probes if own.probes is None else own.probes,
        time=own.time or general.time,
        interval=own.interval or general.interval,
    )
    return replace(pool, tcp_keepalive=merged)


def _http(protocol: Protocol, pool: ConnectionPool, *, upgrades: bool) -> UpstreamHttp:
    """Return which HTTP is spoken; who writes UPGRADE is believed, whatever the port declares (Istio)."""
    if pool.use_client_protocol:
        return UpstreamHttp.CLIENT
    by_mesh = upgrades and protocol.is_http and pool.h2_upgrade_policy == "DEFAULT"
    if protocol.is_http2 or pool.h2_upgrade_policy == "UPGRADE" or by_mesh:
        return UpstreamHttp.HTTP2
    return UpstreamHttp.CLIENT if protocol is Protocol.UNSET else UpstreamHttp.HTTP1


def _tls(
    db: Database,
    seen: _Seen,
    port: ServicePort,
    subset: str,
    policy: PortPolicy,
    discovery: Discovery,
) -> UpstreamTls | None:
    """Return the TLS of a cluster; None where what is written takes what is not there."""
    service = seen.service
    sni = subset_sni(port.number, subset, service.host)
    if policy.tls is not None:
        return _written_tls(db, seen, policy.tls, sni)
    nobodys = service.external or discovery is Discovery.BY_REQUEST
    off = nobodys or not settings(db).automatic_mtls
    if off or namespace_mode(db, service.namespace) is MtlsMode.DISABLE:
        return Plaintext()
    ids = identities(db, (service.key, service.host))
    if discovery is Discovery.ORIGINAL_DESTINATION:
        # No endpoint metadata to choose by: mutual TLS only where every endpoint takes it.
        known = instances(db, (service.key, service.host))
        if not known or not all(takes_mtls_on(db, one, port.name) for one in known):
            return Plaintext()
        return MeshTls(automatic=False, identities=ids, sni=sni)
    return MeshTls(automatic=True, identities=ids, sni=sni)


def _written_tls(db: Database, seen: _Seen, tls: ClientTls, sni: str) -> UpstreamTls | None:
    match tls.mode:
        case TlsMode.DISABLE:
            return Plaintext()
        case TlsMode.ISTIO_MUTUAL:
            key = seen.service.key, seen.service.host
            names = tls.subject_alt_names or identities(db, key)
            return MeshTls(automatic=False, identities=tuple(names), sni=tls.sni or sni)
        case TlsMode.SIMPLE | TlsMode.MUTUAL:
            client = client_of(db, seen.scope, seen.service, seen.rule, tls)
            return client.tls if client else None


@query
def eds_clusters(db: Database, key: tuple[Scope, str]) -> tuple[EdsCluster, ...]:
    """Return what the endpoints of a host's clusters are made from."""
    service = service_at(db, *key)
    if service is None:
        return ()
    rule = rule_for(db, key)
    return tuple(
        eds_cluster(db, service, upstream, rule)
        for upstream in upstreams(db, key)
        if upstream.discovery is Discovery.EDS
    )


def eds_cluster(
    db: Database, service: MeshService, upstream: Upstream, rule: EffectiveRule
) -> EdsCluster:
    """Return what the endpoints of a cluster are made from, and how its clients' places count."""
    subset = rule.subset(upstream.subset)
    locality = locality_setting(db, service, policy_at(db, rule, upstream.port, subset))
    if isinstance(locality, ZoneLb):
        locality = replace(locality, minimum=None)  # the cluster's, not the endpoints'
    return replace(
        assigned(service, upstream.port, subset, upstream),
        families=upstream.families,
        locality=locality,
        origins=rule.origins if locality is not None else (),
    )


def assigned(
    service: MeshService,
    port: int,
    subset: Subset | None,
    policy: PortPolicy | Upstream,
) -> EdsCluster:
    """Return what the endpoints of a port, as a whole or of a subset of it, are made from."""
    return EdsCluster(
        service=service.key,
        host=service.host,
        port=port,
        subset=subset.name if subset else "",
        labels=subset.labels if subset else NO_LABELS,
        ready_only=_may_panic(policy.outlier_detection),
    )


def _may_panic(detection: OutlierDetection | None) -> bool:
    return detection is not None and detection.min_health_percent > 0
