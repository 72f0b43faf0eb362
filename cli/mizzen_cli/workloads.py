"""What a cluster would make of a folder's Deployments and Services, for the verbs that work offline.

In most folders of manifests there are no pods, and no endpoints: a cluster makes them. Without them nothing that is
selected would be there, and there would be no proxy to translate for. So each object that has a template of
pods stands for one pod of its own name, and a Service that selects it, and says nothing else, has it for an endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

from mizzen.api.documents import split_documents
from mizzen.api.parse import parse_object
from mizzen.api.yaml_tree import TreeError, read_tree
from mizzen.diagnostics import UNKNOWN_KIND
from mizzen.model.kube import EndpointSlice, Pod, Service, SliceEndpoint
from mizzen.model.meta import Meta, selects
from mizzen.model.world import Parsed
from mizzen_operator.inject import raw
from mizzen_operator.inject.decide import decide
from mizzen_operator.inject.manifests import pod_of
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.sources.files import manifests_below, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mizzen.diagnostics import Diagnostic
    from mizzen.model.kube import ServicePort
    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey

# Kept for measurements of networks (RFC 2544): nobody's, so they are never taken for a real pod's.
_PODS: Final = IPv4Network("198.18.0.0/16")
_SERVICES: Final = IPv4Network("198.19.0.0/16")
_TLS_MODE: Final = "security.istio.io/tlsMode"


@dataclass(slots=True)
class _Made:
    """What is made so far: the workloads that have a template, and their pods."""

    workloads: set[ObjectKey] = field(default_factory=set)
    pods: dict[ObjectKey, Pod] = field(default_factory=dict)


def with_workloads(root: Path, batch: Batch) -> tuple[Batch, int]:
    """Return what was read of a folder with what a cluster would make of it, and how many workloads it has."""
    made = _Made()
    for manifest in _manifests(root):
        _take(manifest, made)
    if not made.workloads:
        return batch, 0
    pods = {key: pod for key, pod in made.pods.items() if key not in batch.changes}
    changes = dict(batch.changes) | pods
    for item in _endpoints(changes, tuple(pods.values())):
        changes[item.meta.key] = item
    told = {
        key: tuple(one for one in found if not _is_of(one, made.workloads))
        for key, found in batch.diagnostics.items()
    }
    return replace(batch, changes=changes, diagnostics=told), len(made.workloads)


def _is_of(found: Diagnostic, workloads: set[ObjectKey]) -> bool:
    return found.code is UNKNOWN_KIND and found.object in workloads


def _manifests(root: Path) -> Iterator[raw.Json]:
    for path in manifests_below(root):
        text = read_text(path)
        for document in split_documents(text) if isinstance(text, str) else ():
            if "template" in document.text:
                yield from _items(_value(document.text))


def _value(text: str) -> object:
    try:
        tree = read_tree(text)
    except TreeError:  # said by who reads the folder
        return None
    return tree.value if tree else None


def _items(value: object) -> Iterator[raw.Json]:
    if not isinstance(value, dict):
        return
    if value.get("kind") == "List" and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _items(item)
    else:
        yield value


def _take(manifest: raw.Json, made: _Made) -> None:
    """Make a workload's pod, where it has a template that a pod can be made of."""
    template = pod_of(manifest)
    if template is None:
        return
    labels = raw.labels_of(template)
    if decide(template, InjectSettings()).inject:
        labels = {_TLS_MODE: "istio", **labels}
    name = raw.metadata(manifest).get("name", "")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**raw.metadata(template), "name": name, "labels": labels},
        "spec": raw.spec(template),
        "status": {"podIP": str(_PODS[len(made.pods) + 1])},
    }
    parsed = parse_object(pod)
    if isinstance(parsed, Parsed) and isinstance(parsed.object, Pod):
        made.workloads.add(replace(parsed.key, kind=str(manifest["kind"])))
        made.pods[parsed.key] = parsed.object


def _endpoints(
    objects: Mapping[ObjectKey, Object | None], pods: tuple[Pod, ...]
) -> Iterator[Service | EndpointSlice]:
    """Return the endpoints, and the addresses, of Services that select pods which were made."""
    sliced = {
        (item.meta.namespace, item.service)
        for item in objects.values()
        if isinstance(item, EndpointSlice)
    }
    services = [item for item in objects.values() if isinstance(item, Service)]
    for number, service in enumerate(services, start=1):
        home, name = service.meta.namespace, service.meta.name
        chosen = [pod for pod in pods if pod.meta.namespace == home and _chooses(service, pod)]
        if chosen and (home, name) not in sliced:
            yield _slice(service, chosen)
            if not (service.headless or service.cluster_ips):
                yield replace(service, cluster_ips=(str(_SERVICES[number]),))


def _chooses(service: Service, pod: Pod) -> bool:
    return bool(service.selector) and selects(service.selector, pod.meta.labels)


def _slice(service: Service, pods: list[Pod]) -> EndpointSlice:
    named = {port.name: port.number for pod in pods for port in pod.ports}
    ports = ((port.name, _target(port, named)) for port in service.ports)
    return EndpointSlice(
        meta=Meta(kind="EndpointSlice", namespace=service.meta.namespace, name=service.meta.name),
        service=service.meta.name,
        ports=tuple((name, number) for name, number in ports if number),
        endpoints=tuple(SliceEndpoint(addresses=pod.ips, pod=pod.meta.name) for pod in pods),
    )


def _target(port: ServicePort, named: Mapping[str, int]) -> int:
    """Return the number of a Service's port in its pods; 0 where none of them has the name."""
    if isinstance(port.target, str):
        return named.get(port.target, 0)
    return port.target or port.number
