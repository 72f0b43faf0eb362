"""Proxies: which class a connecting proxy belongs to, from what the World knows of its workload.

The pod of its name counts; where the World does not know it (yet), its WorkloadEntry, and at last what
the proxy says of itself. When the pod appears, the class is found anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.model.edge import Edge
from mizzen.model.families import Families
from mizzen.model.kube import Pod
from mizzen.model.meta import NO_LABELS, Labels, label
from mizzen.model.place import NOWHERE, Locality, Whereabouts
from mizzen.model.proxy import NodeInfo, ProxyClass, ProxyKind, Scope, Workload
from mizzen.model.traffic import WorkloadEntry
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen.resolve.rules import gateway_scope, is_given_secrets
from mizzen.resolve.sidecars import scope_of
from mizzen.resolve.whereabouts import with_place, workload_locality
from mizzen.resolve.world import (
    CLIENT_LABELS,
    INTERCEPTION,
    OBJECT,
    PODS_AT,
    PODS_IN,
    SOURCE_LABELS,
    settings,
)

if TYPE_CHECKING:
    from mizzen.engine import Database

_DNS: Final = "sidecar.mizzen.dev/dnsCapture"


@query
def proxy_class(db: Database, node: NodeInfo) -> ProxyClass:
    """Return the class of a proxy."""
    gateway = node.kind is ProxyKind.ROUTER
    workload = _workload(db, node)
    if gateway:
        workload = replace(workload, is_known=_is_known(db, node), edge=_edge(db, node))
    if gateway:
        scope = replace(gateway_scope(db, workload), zones=node.has_local_cluster)
    else:
        told_apart = Labels(tuple(pair for pair in workload.labels if _is_asked_for(db, pair)))
        scope = replace(
            scope_of(db, (node.namespace, workload.labels)),
            labels=told_apart,
            dns=workload.dns,
            families=workload.families,
            credentials=is_given_secrets(db, workload) and _is_known(db, node),
            zones=node.has_local_cluster,
        )
        if scope.sidecar is not None:
            scope = replace(scope, captured=workload.captured)
    return ProxyClass(kind=node.kind, scope=scope, workload=workload)


def _is_asked_for(db: Database, pair: tuple[str, str]) -> bool:
    """Tell whether some rule tells workloads apart by a label: one look each, so that others' touch nobody."""
    return bool(SOURCE_LABELS(db, pair) or CLIENT_LABELS(db, pair))


def _edge(db: Database, node: NodeInfo) -> Edge:
    """Return what a router bears with of its clients.

    One that ends serves each connection once more: listeners that change are drained, so that those who
    are connected are told to come again as well, and then come to another one.
    """
    known, below = _known(db, node), settings(db).edge
    if not isinstance(known, Pod):
        return below
    edge = known.edge.over(below) if known.edge else below
    return replace(edge, connection_requests=1) if known.is_ending else edge


def _is_known(db: Database, node: NodeInfo) -> bool:
    """Tell whether labels are those of the workload that the proxy has proven to be.

    Its namespace and its service account are proven, and where it is a pod, that the pod has that
    account. An address, and a name that nobody knows, are but claims.
    """
    for kind in ("Pod", "WorkloadEntry"):
        found = OBJECT(db, ObjectKey(DEFAULT_REGISTRY, kind, node.namespace, node.name))
        if isinstance(found, Pod):
            return True
        if isinstance(found, WorkloadEntry):
            return found.endpoint.service_account == node.service_account != ""
    return False


@query
def whereabouts(db: Database, node: NodeInfo) -> Whereabouts:
    """Return where a proxy is, with all its labels."""
    known = _known(db, node)
    if known is None:
        return Whereabouts(labels=node.labels, called=_called(node, NOWHERE))
    locality = workload_locality(db, known)
    of = known.meta.labels if isinstance(known, Pod) else known.endpoint.labels
    labels = with_place(of, locality, known.node if isinstance(known, Pod) else "")
    return Whereabouts(locality=locality, labels=labels, called=_called(node, locality))


def _called(node: NodeInfo, locality: Locality) -> Locality | None:
    """Return what an Envoy that looks at zones takes for its own place; None where that is what it is.

    A pod does not know its zone when it starts, so mostly it is an empty one.
    """
    is_told = not node.has_local_cluster or node.locality == locality
    return None if is_told else node.locality


def _workload(db: Database, node: NodeInfo) -> Workload:
    found = _known(db, node)
    if isinstance(found, Pod):
        return _of_pod(found, node)
    labels = found.endpoint.labels if found else node.labels
    families = Families.of((node.ip,))
    return Workload(namespace=node.namespace, labels=labels, families=families)


def _known(db: Database, node: NodeInfo) -> Pod | WorkloadEntry | None:
    """Return what the World knows of a proxy: its pod, by name or else by address, or its WorkloadEntry."""
    pod = OBJECT(db, ObjectKey(DEFAULT_REGISTRY, "Pod", node.namespace, node.name))
    if isinstance(pod, Pod):
        return pod
    for key in PODS_AT(db, node.ip):
        pod = OBJECT(db, key)
        if isinstance(pod, Pod) and pod.meta.namespace == node.namespace:
            return pod
    entry = OBJECT(db, ObjectKey(DEFAULT_REGISTRY, "WorkloadEntry", node.namespace, node.name))
    return entry if isinstance(entry, WorkloadEntry) else None


@query
def usual_scope(db: Database, namespace: str) -> Scope:
    """Return how a namespace's pods see the mesh, told by one of them; without labels that tell pods apart."""
    scope = replace(scope_of(db, (namespace, NO_LABELS)), zones=True)
    pods = (OBJECT(db, key) for key in PODS_IN(db, namespace)[:1])
    for pod in pods:
        if isinstance(pod, Pod):
            return replace(scope, dns=_asks_proxy(pod), families=Families.of(pod.ips))
    return scope


def _asks_proxy(pod: Pod) -> bool:
    return label(pod.meta.annotations, _DNS) == "true"


def _of_pod(pod: Pod, node: NodeInfo) -> Workload:
    ports = tuple((port.name, port.number) for port in pod.ports if port.name)
    mode = label(pod.meta.annotations, INTERCEPTION)
    return Workload(
        namespace=pod.meta.namespace,
        labels=pod.meta.labels,
        ports=ports,
        transparent=mode == "TPROXY",
        captured=mode != "NONE",
        dns=_asks_proxy(pod),
        families=Families.of(pod.ips or (node.ip,)),
    )
