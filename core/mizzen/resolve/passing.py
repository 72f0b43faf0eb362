"""Mutual TLS that goes through a router as it is: to the cluster that is called as its server name is.

A sidecar's mutual TLS says port, subset and host in its server name. A server of AUTO_PASSTHROUGH reads that
and sends the connection on, unopened, so that a workload behind a router sees who really calls (Istio:
SNI-DNAT). The clusters for that are there only on routers with such servers, only for these servers' hosts,
and have no endpoints but such as take mutual TLS: nobody on the way could verify the caller in their stead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import Discovery, Plaintext, Upstream, UpstreamHttp
from mizzen.model.destination import ConnectionPool, SimpleLb
from mizzen.model.families import Families
from mizzen.model.kube import Pod, Protocol
from mizzen.model.proxy import Scope, Workload
from mizzen.names import host_matches, is_wildcard
from mizzen.resolve.discovery import BY_NAME, discovery_of
from mizzen.resolve.endpoints import EdsCluster, endpoint_group
from mizzen.resolve.gateways import gateways_of, server_hosts, servers_of
from mizzen.resolve.instances import instances
from mizzen.resolve.rules import gateway_scope, rule_for
from mizzen.resolve.services import service_at
from mizzen.resolve.upstreams import assigned, eds_cluster, upstreams
from mizzen.resolve.world import OBJECT, PODS_AT

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.gateway import Server
    from mizzen.names import ObjectKey
    from mizzen.resolve.gateways import Servers
    from mizzen.resolve.services import MeshService

_SENT_ON: Final = frozenset((Discovery.EDS, *BY_NAME))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What a router passes mutual TLS on to: hosts, wildcards among them, as it sees the mesh."""

    scope: Scope
    hosts: tuple[str, ...]


@query
def passing_of(db: Database, workload: Workload) -> Passing | None:
    """Return what a router passes mutual TLS on to; None where it does not."""
    servers = (server for _, found in servers_of(db, workload) for _, server in found)
    hosts = {host for server in servers if server.is_automatic for host in _hosts(server)}
    if not hosts:
        return None
    return Passing(scope=gateway_scope(db, workload), hosts=tuple(sorted(hosts)))


def _hosts(server: Server) -> Iterator[str]:
    """Return the hosts of a server, of services in whatever namespace (Istio)."""
    return (host for _namespace, host in server_hosts(server))


def passed(server: Server, beside: Servers) -> tuple[str, ...]:
    """Return the hosts of which connections that come to a server's chain go on.

    They are its own, and what others of the port have of the names below its own: all these come to it.
    """
    own = tuple(dict.fromkeys(_hosts(server)))
    below = [f"*.{host}" for host in own if not is_wildcard(host)]
    others = [host for _, other in beside if other.is_automatic for host in _hosts(other)]
    return (*own, *(one for one in below if any(host_matches(other, one) for other in others)))


def server_names(server: Server) -> tuple[str, ...]:
    """Return the server names, wildcards all, that are for the clusters of a server's hosts."""
    return tuple(host if is_wildcard(host) else f"*.{host}" for host in _hosts(server))


@query
def passed_upstreams(db: Database, key: tuple[Scope, str]) -> tuple[Upstream, ...]:
    """Return the clusters to which mutual TLS for a host goes on."""
    return tuple(upstream for upstream, _cluster in _pairs(db, key))


@query
def passed_eds_clusters(db: Database, key: tuple[Scope, str]) -> tuple[EdsCluster, ...]:
    """Return what the endpoints of these clusters are made from, where they are not looked up."""
    service = service_at(db, *key)
    found = [cluster for upstream, cluster in _pairs(db, key) if upstream.endpoints is None]
    if service is None or not found:
        return ()
    back = _ways_back(db, service)
    return tuple(replace(cluster, without=back) for cluster in found)


def _pairs(db: Database, key: tuple[Scope, str]) -> Iterator[tuple[Upstream, EdsCluster]]:
    scope, host = key
    service = service_at(db, scope, host)
    if service is None or service.external:
        return
    rule = rule_for(db, key)
    for seen in upstreams(db, key):
        upstream = _as_it_is(seen)
        # Endpoints are chosen here whatever the rule says: a client behind a router knows no addresses.
        found = discovery_of(scope, service, upstream.load_balancer)
        if found not in _SENT_ON or seen.discovery is Discovery.NOWHERE:
            continue
        if found not in BY_NAME:
            cluster = eds_cluster(db, service, upstream, rule)
            yield replace(upstream, discovery=found), replace(cluster, passing=True)
            continue
        looked_up = replace(
            assigned(service, upstream.port, rule.subset(upstream.subset), upstream),
            families=scope.families,
            names=True,
            passing=True,
        )
        endpoints = endpoint_group(db, looked_up)
        # Envoy takes exactly one name for the other.
        way = found if endpoints.size == 1 else Discovery.DNS
        yield replace(upstream, discovery=way, endpoints=endpoints, zones=None), looked_up


def _ways_back(db: Database, service: MeshService) -> frozenset[str]:
    """Return the endpoints of a host that would pass on to the same again, without end."""
    known = instances(db, (service.key, service.host))
    return frozenset(
        one.address
        for one in known
        if any(_comes_back(db, pod, service) for pod in PODS_AT(db, one.address))
    )


def _comes_back(db: Database, key: ObjectKey, service: MeshService) -> bool:
    """Tell whether a pod is a router that passes a host on, and sees the same in it."""
    pod = OBJECT(db, key)
    if not isinstance(pod, Pod):
        return False
    router = Workload(
        namespace=pod.meta.namespace, labels=pod.meta.labels, families=Families.of(pod.ips)
    )
    passing = passing_of(db, router) if gateways_of(db, router) else None
    if passing is None or not any(host_matches(one, service.host) for one in passing.hosts):
        return False
    seen = service_at(db, passing.scope, service.host)
    return seen is not None and seen.key == service.key


def _as_it_is(seen: Upstream) -> Upstream:
    """Return a cluster for bytes that are not looked into, and already are TLS."""
    pool, balancer, detection = seen.connection_pool, seen.load_balancer, seen.outlier_detection
    kept = ConnectionPool(max_connections=pool.max_connections, tcp_keepalive=pool.tcp_keepalive)
    passthrough = balancer.simple is SimpleLb.PASSTHROUGH
    return replace(
        seen,
        passing=True,
        protocol=Protocol.TCP,
        http=UpstreamHttp.HTTP1,
        tls=Plaintext(),
        own_port=None,
        connection_pool=kept,
        load_balancer=replace(balancer, simple=SimpleLb.UNSPECIFIED) if passthrough else balancer,
        outlier_detection=replace(detection, http_error_codes=()) if detection else None,
        retry_budget=None,
        proxy_protocol=None,
    )
