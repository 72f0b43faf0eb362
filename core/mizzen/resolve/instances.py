"""Workloads: who answers for a service.

Sources are EndpointSlices with their pods, a ServiceEntry's own list, and what a selector selects:
WorkloadEntries, and for a ServiceEntry pods. What gives the same host in the same namespace adds to it.
Terminating and addressless endpoints are left out; those that are not ready are unhealthy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.identity import SpiffeId, TrustDomain
from mizzen.ir import Health
from mizzen.model.families import Families
from mizzen.model.kube import (
    EndpointSlice,
    Pod,
    Service,
    ServicePort,
    SliceEndpoint,
)
from mizzen.model.meta import NO_LABELS, Labels, Meta, label, selects
from mizzen.model.place import Locality
from mizzen.model.traffic import ServiceEntry, WorkloadEndpoint, WorkloadEntry
from mizzen.names import ObjectKey
from mizzen.resolve.whereabouts import parse_locality, pod_locality
from mizzen.resolve.world import (
    ENTRIES_WITH,
    OBJECT,
    PODS_AT,
    PODS_IN,
    SERVICES_AT_HOST,
    SLICES_OF,
    settings,
)

if TYPE_CHECKING:
    from mizzen.engine import Database

UNIX: Final = "unix://"
TLS_MODE_LABEL: Final = "security.istio.io/tlsMode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One workload behind a service.

    Attributes:
        also: Its addresses of the other version of IP.
        captive: Whether it is a pod of a cluster, of which no version is reached that a client has not.
        ports: The workload's own port for each name of a service port.
        mtls_ready: It says, by label or by having a service account in a WorkloadEntry, that it takes
            mutual TLS; its PeerAuthentication still has the last word.
        entry: The WorkloadEntry that it is, or the other object of the host that has it; None for the
            service's own pods and what stands in a ServiceEntry itself.
        node: The name of the node on which it runs, where that is known.
    """

    address: str
    also: tuple[str, ...] = ()
    captive: bool = False
    ports: tuple[tuple[str, int], ...]
    namespace: str
    labels: Labels = NO_LABELS
    service_account: str = ""
    locality: Locality = field(default_factory=Locality)
    weight: int = 1
    health: Health = Health.HEALTHY
    mtls_ready: bool = False
    entry: ObjectKey | None = None
    node: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All its addresses."""
        return (self.address, *self.also)

    def addresses_for(self, families: Families) -> tuple[str, ...]:
        """Return those addresses that a client may use; what people wrote themselves is theirs to know."""
        usable = tuple(one for one in self.addresses if families.has(one))
        return usable if usable or self.captive else self.addresses


@query
def instances(db: Database, key: tuple[ObjectKey, str]) -> tuple[Instance, ...]:
    """Return the workloads behind a host of a Service or ServiceEntry, sorted by address.

    Those of other objects of its namespace that give the same host are among them (Istio: endpoints are kept
    by host and namespace).
    """
    service, host = key
    found = _behind(db, service, host)
    beside = [other for other in SERVICES_AT_HOST(db, host) if is_beside(other, service)]
    for other in beside:
        known = {one.address for one in found}
        more = (one for one in _behind(db, other, host) if one.address not in known)
        found += tuple(replace(one, entry=one.entry or other) for one in more)
    return _in_order(found) if beside else found


def _behind(db: Database, service: ObjectKey, host: str) -> tuple[Instance, ...]:
    return _own_instances(db, service) or _by_name(db, service, host)


def is_beside(other: ObjectKey, service: ObjectKey) -> bool:
    """Tell whether another object of a host adds to a service's endpoints and ports."""
    return other != service and other.namespace == service.namespace


def _in_order(found: tuple[Instance, ...]) -> tuple[Instance, ...]:
    """Return workloads sorted, each once; of two that are told of, the first counts."""
    by_place: dict[tuple[str, tuple[tuple[str, int], ...]], Instance] = {}
    for instance in found:
        by_place.setdefault((instance.address, instance.ports), instance)
    return tuple(by_place[place] for place in sorted(by_place))


def _by_name(db: Database, service: ObjectKey, host: str) -> tuple[Instance, ...]:
    """Return the host itself, where it is looked up and nothing else is said (ServiceEntry)."""
    match OBJECT(db, service):
        case ServiceEntry(selector=None, endpoints=()) as item if item.resolution.is_dns:
            itself = WorkloadEndpoint(address=host)
            return (_of_entry(item.meta.namespace, itself, item.ports),)
        case _:
            return ()


@query
def _own_instances(db: Database, service: ObjectKey) -> tuple[Instance, ...]:
    match OBJECT(db, service):
        case Service() as item:
            found = (*_of_service(db, item), *_entries_of_service(db, item))
        case ServiceEntry(selector=None) as item:
            found = tuple(_of_entry(item.meta.namespace, e, item.ports) for e in item.endpoints)
        case ServiceEntry() as item:
            found = tuple(_selected(db, item))
        case _:
            return ()
    return _in_order(found)


def _entries_of_service(db: Database, service: Service) -> Iterator[Instance]:
    """Return the WorkloadEntries that a Service selects; a named target is a port of theirs (Istio)."""
    if not service.selector:
        return
    for key, item in _selected_entries(db, service.meta.namespace, service.selector):
        named = dict(item.endpoint.ports)
        ports = tuple(
            replace(port, target=named.get(port.target)) if isinstance(port.target, str) else port
            for port in service.ports
            if not isinstance(port.target, str) or {port.target, port.name} & named.keys()
        )
        yield replace(_of_entry(service.meta.namespace, item.endpoint, ports), entry=key)


def _of_service(db: Database, service: Service) -> Iterator[Instance]:
    found: dict[tuple[str, tuple[tuple[str, int], ...]], Instance] = {}
    for key in SLICES_OF(db, (service.meta.namespace, service.meta.name)):
        slice_ = OBJECT(db, key)
        if not isinstance(slice_, EndpointSlice):
            continue
        for endpoint in slice_.endpoints:
            instance = _of_slice(db, slice_, endpoint, ready_only=not service.publish_not_ready)
            if instance is None:
                continue
            # Slices may overlap while the endpoint controller moves endpoints between them, and there
            # is one for each version of IP: its pods are those of the other one.
            place = (endpoint.pod or instance.address, instance.ports)
            found[place] = _one_of(found.get(place, instance), instance)
    yield from found.values()


def _one_of(known: Instance, other: Instance) -> Instance:
    addresses = dict.fromkeys((*known.addresses, *other.addresses))
    first, *also = sorted(addresses, key=lambda address: ":" in address)
    return replace(known, address=first, also=tuple(also))


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
        captive=True,
        ports=slice_.ports,
        namespace=slice_.meta.namespace,
        labels=labels,
        service_account=pod.service_account if pod else "",
        locality=pod_locality(db, pod, endpoint),
        node=endpoint.node or (pod.node if pod else ""),
        health=Health.HEALTHY if ready else Health.UNHEALTHY,
        mtls_ready=label(labels, TLS_MODE_LABEL) == "istio",
    )


def pod_of(db: Database, meta: Meta, name: str, address: str) -> Pod | None:
    """Return the pod of a name in the namespace of ``meta``, or else the one at an address."""
    by_name = ObjectKey(meta.registry, "Pod", meta.namespace, name)
    keys = (by_name,) if name else PODS_AT(db, address)
    found = (OBJECT(db, key) for key in keys)
    return next((pod for pod in found if isinstance(pod, Pod)), None)


def _of_entry(
    namespace: str, endpoint: WorkloadEndpoint, ports: tuple[ServicePort, ...]
) -> Instance:
    """Return the instance of a WorkloadEntry or of an endpoint in a ServiceEntry.

    A port is the one that the endpoint names, else the service port's target, else its number; a socket
    (``unix://``) has none.
    """
    named = dict(endpoint.ports)
    is_socket = endpoint.address.startswith(UNIX)
    mtls = label(endpoint.labels, TLS_MODE_LABEL) == "istio" or bool(endpoint.service_account)
    return Instance(
        address=endpoint.address,
        ports=tuple(
            (p.name, 0 if is_socket else named.get(p.name, _target_number(p))) for p in ports
        ),
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
    for key, item in _selected_entries(db, namespace, selector):
        yield replace(_of_entry(namespace, item.endpoint, entry.ports), entry=key)
    for key in PODS_IN(db, namespace):
        pod = OBJECT(db, key)
        if isinstance(pod, Pod) and pod.ips and selects(selector, pod.meta.labels):
            yield _of_pod(db, pod, entry.ports)


def _selected_entries(
    db: Database, namespace: str, selector: Labels
) -> Iterator[tuple[ObjectKey, WorkloadEntry]]:
    for key in ENTRIES_WITH(db, (namespace, selector[0])):
        item = OBJECT(db, key)
        if isinstance(item, WorkloadEntry) and selects(selector, item.endpoint.labels):
            yield key, item


def _of_pod(db: Database, pod: Pod, ports: tuple[ServicePort, ...]) -> Instance:
    return Instance(
        address=pod.ips[0],
        also=pod.ips[1:],
        captive=True,
        ports=tuple((port.name, _target_number(port)) for port in ports),
        namespace=pod.meta.namespace,
        labels=pod.meta.labels,
        service_account=pod.service_account,
        locality=pod_locality(db, pod),
        node=pod.node,
        mtls_ready=label(pod.meta.labels, TLS_MODE_LABEL) == "istio",
    )


@query
def identities(db: Database, key: tuple[ObjectKey, str]) -> tuple[str, ...]:
    """Return the SPIFFE ids of the workloads behind a host, sorted, for every trust domain of ours.

    Empty where some workload's account is not known, and no ServiceEntry says what it is: a list with holes
    would refuse good servers.
    """
    mesh = settings(db)
    written = _written_identities(OBJECT(db, key[0]))
    accounts = {(i.namespace, i.service_account) for i in instances(db, key) if i.mtls_ready}
    if not written and not (accounts and all(account for _, account in accounts)):
        return ()
    found = (
        str(SpiffeId(trust_domain=TrustDomain(td), namespace=ns, service_account=account))
        for td in (mesh.trust_domain, *mesh.trust_domain_aliases)
        for ns, account in accounts
        if account
    )
    return tuple(sorted({*written, *found}))


def _written_identities(item: object) -> tuple[str, ...]:
    """Return what a ServiceEntry says of its workloads' certificates (``subjectAltNames``)."""
    return item.subject_alt_names if isinstance(item, ServiceEntry) else ()
