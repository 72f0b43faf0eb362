"""Pod (core/v1): who runs at an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mizzen.api.base import OpenModel, Port
from mizzen.api.edge import ANNOTATION, edge_findings, edge_of
from mizzen.api.findings import Finding, invalid
from mizzen.api.hosts import is_address
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.kube import ContainerPort, Pod

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

# A pod that has ended keeps its status, but its address may already be another's.
_ENDED: Final = ("Succeeded", "Failed")


class ContainerPortSpec(OpenModel):
    """A port that a container declares."""

    name: str = Field(default="", description="The name that Services may target.")
    container_port: Port = Field(description="Its number.")
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Transport.")


class Container(OpenModel):
    """A container, sidecars included."""

    ports: list[ContainerPortSpec] = Field(default_factory=list, description="Declared ports.")


class PodSpec(OpenModel):
    """A Pod's spec."""

    containers: list[Container] = Field(default_factory=list, description="Its containers.")
    init_containers: list[Container] = Field(
        default_factory=list, description="Containers that run first, and native sidecars."
    )
    node_name: str = Field(default="", description="Its node.")
    service_account_name: str = Field(default="", description="Its identity.")
    host_network: bool = Field(default=False, description="Whether it has its node's network.")


class PodIp(OpenModel):
    """An address."""

    ip: str = Field(description="The address.")


class PodStatus(OpenModel):
    """Of the status only the addresses, which nothing else says, and whether they still count."""

    phase: str = Field(default="", description="Its phase.")
    pod_ip: str = Field(default="", alias="podIP", description="Its address.")
    pod_ips: list[PodIp] = Field(
        default_factory=list, alias="podIPs", description="Its addresses of both families."
    )


class PodManifest(Manifest):
    """A Pod."""

    spec: PodSpec = Field(default_factory=PodSpec, description="Its spec.")
    status: PodStatus = Field(default_factory=PodStatus, description="Its addresses.")


def read_pod(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Pod that a manifest means."""
    return read(raw, key, PodManifest, _convert, _check)


def _check(manifest: PodManifest) -> Iterator[Finding]:
    config = manifest.metadata.annotations.get(ANNOTATION, "")
    if config:
        yield from edge_findings(config)
    for index, ip in enumerate(manifest.status.pod_ips):
        if not is_address(ip.ip):
            yield invalid(("status", "podIPs", index, "ip"), f"{ip.ip!r} is not an IP address")
    if manifest.status.pod_ip and not is_address(manifest.status.pod_ip):
        path = ("status", "podIP")
        yield invalid(path, f"{manifest.status.pod_ip!r} is not an IP address")


def _convert(manifest: PodManifest, meta: Meta) -> Pod:
    spec = manifest.spec
    config = manifest.metadata.annotations.get(ANNOTATION, "")
    containers = (*spec.init_containers, *spec.containers)
    return Pod(
        meta=meta,
        ips=_ips(manifest.status),
        node=spec.node_name,
        service_account=spec.service_account_name or "default",
        ports=tuple(
            ContainerPort(name=port.name, number=port.container_port)
            for container in containers
            for port in container.ports
            if port.protocol == "TCP"
        ),
        host_network=spec.host_network,
        edge=edge_of(config) if config else None,
        is_ending=manifest.metadata.deletion_timestamp is not None,
    )


def _ips(status: PodStatus) -> tuple[str, ...]:
    if status.phase in _ENDED:
        return ()
    single = (status.pod_ip,) if status.pod_ip else ()
    return tuple(ip.ip for ip in status.pod_ips) or single
