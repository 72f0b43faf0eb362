"""The generated mesh as the core sees it: what parsing the generated folder gives, made directly.

The core's own benchmarks need meshes of thousands of services in a second, not after minutes of YAML.
"""

from __future__ import annotations

from datetime import timedelta

from bench.mesh import (
    DOMAIN,
    NAMESPACE,
    PORT,
    MeshSize,
    PodFacts,
    cluster_ip,
    pod,
    service_name,
)
from mizzen.model.kube import (
    ContainerPort,
    EndpointSlice,
    Namespace,
    Pod,
    Protocol,
    Service,
    ServiceAccount,
    ServicePort,
    SliceEndpoint,
)
from mizzen.model.meta import NO_LABELS, Labels, Meta, labels
from mizzen.model.proxy import NodeInfo, ProxyKind
from mizzen.model.routing import (
    Destination,
    HttpMatch,
    HttpRoute,
    MatchKind,
    Retries,
    RouteDestination,
    StringMatch,
    VirtualService,
)
from mizzen.model.security import AuthorizationPolicy, Operation, Rule, Source
from mizzen.model.traffic import ConnectionPool, DestinationRule, PortPolicy, Subset, TrafficPolicy
from mizzen.model.world import Batch, Object


def batch(*items: Object) -> Batch:
    """Return the batch that brings these objects."""
    return Batch(changes={item.meta.key: item for item in items})


def whole_mesh(size: MeshSize) -> Batch:
    """Return the batch that brings a generated mesh."""
    items: list[Object] = [Namespace(meta=Meta(kind="Namespace", namespace="", name=NAMESPACE))]
    for index in range(size.services):
        items += service_objects(index, size)
    return batch(*items)


def service_objects(index: int, size: MeshSize) -> list[Object]:
    """Return one service with all that belongs to it."""
    name = service_name(index)
    pods = [pod(index, each) for each in range(size.endpoints)]
    return [
        ServiceAccount(meta=_meta("ServiceAccount", name)),
        _service(name, index),
        _slice(name, pods),
        *(_pod(each) for each in pods),
    ]


def replaced_endpoint(index: int, size: MeshSize, generation: int) -> Batch:
    """Return the batch in which a service's last pod is gone and another one has come."""
    last = size.endpoints - 1
    kept = [pod(index, each) for each in range(last)]
    new, old = pod(index, last, generation), pod(index, last, generation - 1)
    name = service_name(index)
    brought = batch(_slice(name, [*kept, new]), _pod(new))
    return Batch(changes={_pod(old).meta.key: None, **brought.changes})


def virtual_service(index: int, timeout_s: int) -> VirtualService:
    """Return what ``mesh.virtual_service`` means."""
    name = service_name(index)
    to = RouteDestination(destination=Destination(host=name))
    to_port = RouteDestination(destination=Destination(host=name, port=PORT))
    match = HttpMatch(
        uri=StringMatch(MatchKind.PREFIX, "/api/"),
        headers=(("x-tester", StringMatch(MatchKind.EXACT, "yes")),),
    )
    matched = HttpRoute(
        match=(match,),
        route=(to_port,),
        timeout=timedelta(seconds=timeout_s),
        retries=Retries(
            attempts=3, per_try_timeout=timedelta(seconds=1), retry_on="5xx,connect-failure"
        ),
    )
    default = HttpRoute(route=(to,), timeout=timedelta(seconds=timeout_s + 1))
    return VirtualService(
        meta=_meta("VirtualService", name), hosts=(name,), http=(matched, default)
    )


def destination_rule(index: int, connections: int) -> DestinationRule:
    """Return what ``mesh.destination_rule`` means."""
    name = service_name(index)
    pool = PortPolicy(connection_pool=ConnectionPool(max_connections=connections))
    return DestinationRule(
        meta=_meta("DestinationRule", name),
        host=name,
        policy=TrafficPolicy(base=pool),
        subsets=(Subset(name="v2", labels=labels({"version": "v2"})),),
    )


def authorization_policy(index: int, caller: int) -> AuthorizationPolicy:
    """Return what ``mesh.authorization_policy`` means."""
    principal = f"{DOMAIN}/ns/{NAMESPACE}/sa/{service_name(caller)}"
    rule = Rule(
        sources=(Source(principals=(principal,)),),
        operations=(Operation(methods=("GET", "POST"), paths=("/api/*",)),),
    )
    name = service_name(index)
    return AuthorizationPolicy(
        meta=_meta("AuthorizationPolicy", name), selector=labels({"app": name}), rules=(rule,)
    )


def node(service: int, replica: int = 0) -> NodeInfo:
    """Return what the proxy beside a generated pod says of itself."""
    of = pod(service, replica)
    return NodeInfo(
        id=f"sidecar~{of.ip}~{of.name}.{NAMESPACE}~{NAMESPACE}.svc.{DOMAIN}",
        kind=ProxyKind.SIDECAR,
        ip=of.ip,
        name=of.name,
        namespace=NAMESPACE,
        labels=labels(dict(of.labels)),
        service_account=of.service_account,
        envoy_version="1.40.0",
        has_local_cluster=True,
    )


def _meta(kind: str, name: str, of: Labels = NO_LABELS) -> Meta:
    return Meta(kind=kind, namespace=NAMESPACE, name=name, labels=of)


def _service(name: str, index: int) -> Service:
    port = ServicePort(name="http", number=PORT, protocol=Protocol.HTTP, target=8080)
    app = labels({"app": name})
    return Service(
        meta=_meta("Service", name, app),
        ports=(port,),
        cluster_ips=(cluster_ip(index),),
        selector=app,
    )


def _slice(name: str, pods: list[PodFacts]) -> EndpointSlice:
    endpoints = tuple(SliceEndpoint(addresses=(each.ip,), pod=each.name) for each in pods)
    return EndpointSlice(
        meta=_meta("EndpointSlice", f"{name}-x7k2p"),
        service=name,
        ports=(("http", 8080),),
        endpoints=endpoints,
    )


def _pod(of: PodFacts) -> Pod:
    return Pod(
        meta=_meta("Pod", of.name, labels(dict(of.labels))),
        ips=(of.ip,),
        service_account=of.service_account,
        ports=(ContainerPort(name="http", number=8080),),
    )
