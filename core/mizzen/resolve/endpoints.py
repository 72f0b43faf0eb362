"""Endpoints: who answers for a service, and what clients have to know of each.

Sources are EndpointSlices with their pods, a ServiceEntry's own list, and WorkloadEntries and pods that a
ServiceEntry selects. Terminating and addressless endpoints are left out; those that are not ready are
sent as unhealthy, unless ``minHealthPercent`` allows a panic, which would give them traffic (Istio's
default).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.identity import SpiffeId, TrustDomain
from mizzen.ir import Endpoint, EndpointGroup, Health, Locality, LocalityGroup
from mizzen.model.kube import (
    EndpointSlice,
    Node,
    Pod,
    Protocol,
    Service,
    ServicePort,
    SliceEndpoint,
)
from mizzen.model.meta import NO_LABELS, Labels, Meta, label, selects
from mizzen.model.traffic import ServiceEntry, WorkloadEndpoint, WorkloadEntry
from mizzen.names import ObjectKey, outbound_cluster
from mizzen.resolve.peers import takes_mtls
from mizzen.resolve.world import ENTRIES_IN, OBJECT, PODS_AT, PODS_IN, SLICES_OF, settings

if TYPE_CHECKING:
    from mizzen.engine import Database

TLS_MODE_LABEL: Final = "security.istio.io/tlsMode"
_LOCALITY_LABELS: Final = ("topology.istio.io/locality", "istio-locality")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One workload behind a service.

    Attributes:
        ports: The workload's own port for each name of a service port.
        mtls_ready: It says, by label or by having a service account in a WorkloadEntry, that it takes
            mutual TLS; its PeerAuthentication still has the last word.
        entry: The WorkloadEntry that it is; None for pods and what stands in a ServiceEntry itself.
    """

    address: str
    ports: tuple[tuple[str, int], ...]
    namespace: str
    labels: Labels = NO_LABELS
    service_account: str = ""
    locality: Locality = field(default_factory=Locality)
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls_ready: bool = False
    entry: ObjectKey | None = None


@query
def instances(db: Database, service: ObjectKey) -> tuple[Instance, ...]:
    """Return the workloads behind a Service or ServiceEntry, sorted by address."""
    match OBJECT(db, service):
        case Service() as item:
            found = _of_service(db, item)
        case ServiceEntry(selector=None) as item:
            found = (_of_entry(item.meta.namespace, e, item.ports) for e in item.endpoints)
        case ServiceEntry() as item:
            found = _selected(db, item)
        case _:
            return ()
    return tuple(sorted(found, key=lambda instance: (instance.address, instance.ports)))


def _of_service(db: Database, service: Service) -> Iterator[Instance]:
    seen: set[tuple[str, tuple[tuple[str, int], ...]]] = set()
    for key in SLICES_OF(db, (service.meta.namespace, service.meta.name)):
        slice_ = OBJECT(db, key)
        if not isinstance(slice_, EndpointSlice):
            continue
        for endpoint in slice_.endpoints:
            instance = _of_slice(db, slice_, endpoint, ready_only=not service.publish_not_ready)
            # Slices may overlap while the endpoint controller moves endpoints between them.
            if instance is not None and (instance.address, instance.ports) not in seen:
                seen.add((instance.address, instance.ports))
                yield instance


def _of_slice(
    db: Database, slice_: EndpointSlice, endpoint: SliceEndpoint, *, ready_only: bool
) -> Instance | None:
    if endpoint.terminating or not endpoint.addresses:
        return None
    address = endpoint.addresses[0]
    pod = pod_of(db, slice_.meta, endpoint.pod, address)
    labels = pod.meta.labels if pod else NO_LABELS
    ready = endpoint.ready or not ready_only
    return Instance(
        address=address,
        ports=slice_.ports,
        namespace=slice_.meta.namespace,
        labels=labels,
        service_account=pod.service_account if pod else "",
        locality=_pod_locality(db, pod, endpoint),
        health=Health.HEALTHY if ready else Health.UNHEALTHY,
        mtls_ready=label(labels, TLS_MODE_LABEL) == "istio",
    )


def pod_of(db: Database, meta: Meta, name: str, address: str) -> Pod | None:
    """Return the pod of a name in the namespace of ``meta``, or else the one at an address."""
    by_name = ObjectKey(meta.registry, "Pod", meta.namespace, name)
    keys = (by_name,) if name else PODS_AT(db, address)
    found = (OBJECT(db, key) for key in keys)
    return next((pod for pod in found if isinstance(pod, Pod)), None)


def _pod_locality(db: Database, pod: Pod | None, endpoint: SliceEndpoint) -> Locality:
    """Return where a pod is: its own label, else its node's labels, else the slice's zone."""
    written = next((v for k in _LOCALITY_LABELS if pod and (v := label(pod.meta.labels, k))), "")
    if written:
        # A label cannot hold a slash, so Istio lets people write dots (topology.istio.io/locality).
        return parse_locality(written.replace(".", "/"))
    name = endpoint.node or (pod.node if pod else "")
    if name and pod:
        node = OBJECT(db, ObjectKey(pod.meta.registry, "Node", "", name))
        if isinstance(node, Node):
            return Locality(region=node.region, zone=node.zone, subzone=node.subzone)
    return Locality(zone=endpoint.zone)


def parse_locality(text: str) -> Locality:
    """Return the locality that ``region/zone/subzone`` names; missing parts are empty."""
    region, zone, subzone = (*text.split("/", 2), "", "")[:3]
    return Locality(region=region, zone=zone, subzone=subzone)


def _of_entry(
    namespace: str, endpoint: WorkloadEndpoint, ports: tuple[ServicePort, ...]
) -> Instance:
    """Return the instance of a WorkloadEntry or of an endpoint in a ServiceEntry.

    A port is the one that the endpoint names, else the service port's target, else its number.
    """
    named = dict(endpoint.ports)
    mtls = label(endpoint.labels, TLS_MODE_LABEL) == "istio" or bool(endpoint.service_account)
    return Instance(
        address=endpoint.address,
        ports=tuple((p.name, named.get(p.name, _target_number(p))) for p in ports),
        namespace=namespace,
        labels=endpoint.labels,
        service_account=endpoint.service_account,
        locality=parse_locality(endpoint.locality),
        weight=endpoint.weight or 1,
        mtls_ready=mtls,
    )


def _target_number(port: ServicePort) -> int:
    return port.target if isinstance(port.target, int) else port.number


def _selected(db: Database, entry: ServiceEntry) -> Iterator[Instance]:
    """Return the WorkloadEntries and pods of the entry's namespace that it selects."""
    namespace, selector = entry.meta.namespace, entry.selector or NO_LABELS
    for key in ENTRIES_IN(db, namespace):
        item = OBJECT(db, key)
        if isinstance(item, WorkloadEntry) and selects(selector, item.endpoint.labels):
            yield replace(_of_entry(namespace, item.endpoint, entry.ports), entry=key)
    for key in PODS_IN(db, namespace):
        pod = OBJECT(db, key)
        if isinstance(pod, Pod) and pod.ips and selects(selector, pod.meta.labels):
            yield _of_pod(db, pod, entry.ports)


def _of_pod(db: Database, pod: Pod, ports: tuple[ServicePort, ...]) -> Instance:
    return Instance(
        address=pod.ips[0],
        ports=tuple((port.name, _target_number(port)) for port in ports),
        namespace=pod.meta.namespace,
        labels=pod.meta.labels,
        service_account=pod.service_account,
        locality=_pod_locality(db, pod, SliceEndpoint(addresses=pod.ips)),
        mtls_ready=label(pod.meta.labels, TLS_MODE_LABEL) == "istio",
    )


@query
def identities(db: Database, service: ObjectKey) -> tuple[str, ...]:
    """Return the SPIFFE ids of the workloads behind a service, sorted, for every trust domain of ours.

    Empty where some workload's account is not known: a list with holes would refuse good servers.
    """
    mesh = settings(db)
    accounts = {(i.namespace, i.service_account) for i in instances(db, service) if i.mtls_ready}
    if not accounts or not all(account for _, account in accounts):
        return ()
    domains = (mesh.trust_domain, *mesh.trust_domain_aliases)
    return tuple(
        sorted(
            str(SpiffeId(trust_domain=TrustDomain(td), namespace=ns, service_account=account))
            for td in domains
            for ns, account in accounts
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdsCluster:
    """What the endpoints of a cluster are made from.

    Attributes:
        labels: Those of the subset.
        ready_only: True leaves out endpoints that are not ready.
    """

    service: ObjectKey
    host: str
    port: int
    subset: str = ""
    labels: Labels = NO_LABELS
    ready_only: bool = False


@query
def endpoint_group(db: Database, cluster: EdsCluster) -> EndpointGroup:
    """Return the endpoints of a cluster."""
    name = port_name(OBJECT(db, cluster.service), cluster.port)
    groups: dict[Locality, list[Endpoint]] = {}
    entries: set[ObjectKey] = set()
    for instance in instances(db, cluster.service):
        port = dict(instance.ports).get(name)
        if port is not None and _belongs(cluster, instance):
            endpoint = _endpoint(db, instance, port)
            groups.setdefault(instance.locality, []).append(endpoint)
            entries |= set() if instance.entry is None else {instance.entry}
    return EndpointGroup(
        cluster=outbound_cluster(cluster.port, cluster.subset, cluster.host),
        groups=tuple(
            LocalityGroup(locality=locality, endpoints=tuple(groups[locality]))
            for locality in sorted(
                groups, key=lambda where: (where.region, where.zone, where.subzone)
            )
        ),
        origins=(cluster.service, *sorted(entries)),
    )


def _belongs(cluster: EdsCluster, instance: Instance) -> bool:
    if cluster.ready_only and instance.health is not Health.HEALTHY:
        return False
    return selects(cluster.labels, instance.labels)


def port_name(item: object, number: int) -> str:
    """Return the name of a service's port; empty where it has none or there is no such port.

    A UDP port may have the number of a TCP one (DNS).
    """
    ports = item.ports if isinstance(item, Service | ServiceEntry) else ()
    named = (p.name for p in ports if p.number == number and p.protocol is not Protocol.UDP)
    return next(named, "")


def takes_mtls_on(db: Database, instance: Instance, port: str) -> bool:
    """Tell whether a workload takes mutual TLS on what a service calls ``port``."""
    return _takes_mtls(db, instance, dict(instance.ports).get(port, 0))


def _endpoint(db: Database, instance: Instance, port: int) -> Endpoint:
    return Endpoint(
        address=instance.address,
        port=port,
        weight=instance.weight,
        health=instance.health,
        mtls=_takes_mtls(db, instance, port),
    )


def _takes_mtls(db: Database, instance: Instance, port: int) -> bool:
    return instance.mtls_ready and takes_mtls(db, instance.namespace, instance.labels, port)
