"""What the demo itself needs to know of the manifests: which pods to run, and how services are called.

In a cluster the kubelet starts pods and DNS knows services; here the harness does both, from the same
files that the control plane reads. Everything that is about the mesh is left to the control plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from mizzen.model.meta import Labels, labels
from mizzen.names import DEFAULT_DOMAIN
from mizzen.resolve.world import INTERCEPTION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROUTER_ARGUMENT: Final = "router"
_HEADLESS: Final = "None"
_INJECT: Final = "sidecar.istio.io/inject"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSpec:
    """A pod as it is to be run.

    Attributes:
        command: The application's argv as the manifest has it; empty for a gateway.
        sidecar: Whether an Envoy stands beside the application.
        router: Whether the pod is an Envoy alone (Istio: ``proxy router``).
        captured: Whether what comes and goes is handed to the Envoy beside the application.
    """

    name: str
    namespace: str
    ip: str
    labels: Labels
    service_account: str
    node: str = ""
    command: tuple[str, ...] = ()
    sidecar: bool = True
    router: bool = False
    captured: bool = True

    @property
    def network(self) -> str:
        """The name of the pod's network, and of its folder."""
        return f"{self.name}.{self.namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service's name and address; where it is headless, the address of the first pod it selects."""

    name: str
    namespace: str
    ip: str

    @property
    def names(self) -> tuple[str, ...]:
        """All that the service is called, the short name first."""
        own = f"{self.name}.{self.namespace}"
        return (self.name, own, f"{own}.svc", f"{own}.svc.{DEFAULT_DOMAIN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """All pods and services of a folder, in the order of their files."""

    pods: tuple[PodSpec, ...]
    services: tuple[ServiceSpec, ...]

    def address(self, name: str) -> str:
        """Return the address of a service or pod by any of its names; ``KeyError`` when unknown."""
        for service in self.services:
            if name in service.names:
                return service.ip
        for pod in self.pods:
            if name in (pod.name, pod.network):
                return pod.ip
        raise KeyError(name)


def read_cast(folder: Path) -> Cast:
    """Read the pods and services below a folder."""
    documents = tuple(_documents(folder))
    pods = tuple(_pod(document) for document in documents if document["kind"] == "Pod")
    services = (_service(document, pods) for document in documents if document["kind"] == "Service")
    return Cast(pods=pods, services=tuple(service for service in services if service.ip))


def hosts_text(cast: Cast) -> str:
    """Return the ``/etc/hosts`` that stands in for a cluster's DNS."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"{service.ip} {' '.join(service.names)}" for service in cast.services]
    lines += [f"{pod.ip} {pod.name}" for pod in cast.pods]
    return "\n".join(lines) + "\n"


def _documents(folder: Path) -> Iterator[dict[str, Any]]:  # a manifest, before it is read
    for file in sorted(folder.rglob("*.yaml")):
        with file.open(encoding="utf-8") as stream:
            yield from (document for document in yaml.safe_load_all(stream) if document)


def _pod(document: dict[str, Any]) -> PodSpec:
    meta, spec = document["metadata"], document["spec"]
    container = spec["containers"][0]
    arguments = tuple(container.get("args", ()))
    router = _ROUTER_ARGUMENT in arguments
    notes = meta.get("annotations", {})
    return PodSpec(
        name=meta["name"],
        namespace=meta.get("namespace", "default"),
        ip=document["status"]["podIP"],
        labels=labels(meta.get("labels", {})),
        service_account=spec.get("serviceAccountName", "default"),
        node=spec.get("nodeName", ""),
        command=() if router else (*container.get("command", ()), *arguments),
        sidecar=not router and notes.get(_INJECT) != "false",
        router=router,
        captured=notes.get(INTERCEPTION) != "NONE",
    )


def _service(document: dict[str, Any], pods: tuple[PodSpec, ...]) -> ServiceSpec:
    """Return a service; its address is empty where it is headless and there is no pod of it."""
    meta, spec = document["metadata"], document["spec"]
    namespace = meta.get("namespace", "default")
    ip = spec.get("clusterIP", _HEADLESS)
    if ip == _HEADLESS:
        chosen = labels(spec.get("selector", {}))
        own = (pod.ip for pod in pods if pod.namespace == namespace and {*chosen} <= {*pod.labels})
        ip = next(own, "") if chosen else ""
    return ServiceSpec(name=meta["name"], namespace=namespace, ip=ip)
