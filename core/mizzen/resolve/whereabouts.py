"""Where workloads are: by their own labels, by those of their nodes, or by what slices say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.model.kube import Node, Pod, SliceEndpoint
from mizzen.model.meta import Labels, label
from mizzen.model.place import Locality
from mizzen.model.traffic import WorkloadEntry
from mizzen.names import ObjectKey
from mizzen.resolve.world import OBJECT

if TYPE_CHECKING:
    from mizzen.engine import Database

_LOCALITY_LABELS: Final = ("topology.istio.io/locality", "istio-locality")
NETWORK: Final = "topology.istio.io/network"
REGION: Final = "topology.kubernetes.io/region"
ZONE: Final = "topology.kubernetes.io/zone"
SUBZONE: Final = "topology.istio.io/subzone"
NODE: Final = "kubernetes.io/hostname"
_UNTOLD: Final = SliceEndpoint(addresses=())


def pod_locality(db: Database, pod: Pod | None, endpoint: SliceEndpoint = _UNTOLD) -> Locality:
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


def workload_locality(db: Database, workload: Pod | WorkloadEntry) -> Locality:
    """Return where a workload is."""
    if isinstance(workload, Pod):
        return pod_locality(db, workload)
    return parse_locality(workload.endpoint.locality)


def parse_locality(text: str) -> Locality:
    """Return the locality that ``region/zone/subzone`` names; missing parts are empty."""
    region, zone, subzone = (*text.split("/", 2), "", "")[:3]
    return Locality(region=region, zone=zone, subzone=subzone)


def with_place(labels: Labels, locality: Locality, node: str) -> Labels:
    """Return labels with those that say where a workload is, which Istio writes on every one."""
    told = {REGION: locality.region, ZONE: locality.zone, SUBZONE: locality.subzone, NODE: node}
    said = {name: value for name, value in told.items() if value}
    return Labels(tuple(sorted((said | dict(labels)).items())))
