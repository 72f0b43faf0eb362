"""Service (core/v1): what of it a mesh needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from mizzen.api.base import NotTranslated, OpenModel, Port
from mizzen.api.findings import Finding, Path, duplicates, invalid, untranslated, without_effect
from mizzen.api.hosts import check_export_to, is_address, is_name
from mizzen.api.meta import Manifest
from mizzen.api.protocols import check_silence, service_protocol
from mizzen.api.reading import Reading, read
from mizzen.model.kube import Distribution, Service, ServicePort
from mizzen.model.meta import EXPORT_ALL, EXPORT_NONE, ExportTo, Meta, label, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_EXPORT_TO = "networking.istio.io/exportTo"
_DISTRIBUTION = "networking.istio.io/traffic-distribution"
_ACCOUNTS = (
    "alpha.istio.io/kubernetes-serviceaccounts",
    "alpha.istio.io/canonical-serviceaccounts",
)
_HIGHEST_PORT = 65_535
_NO_ADDRESS = ("", "None")


def _target_port(value: object) -> int | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _HIGHEST_PORT:
        return value
    raise ValueError(f"must be a port's number or the name of a container's port, not {value!r}")


TargetPort = Annotated[
    int | str,
    PlainValidator(_target_port),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]


class ServicePortSpec(OpenModel):
    """A port of a Service."""

    name: str = Field(default="", description="Its prefix up to the first dash is a protocol.")
    port: Port = Field(description="The port that clients use.")
    protocol: Literal["TCP", "UDP", "SCTP"] = Field(default="TCP", description="Transport.")
    app_protocol: str = Field(default="", description="Application protocol; beats the name.")
    target_port: TargetPort | None = Field(default=None, description="The pods' port.")


class ServiceSpec(OpenModel):
    """A Service's spec."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = Field(
        default="ClusterIP", description="How it is exposed."
    )
    ports: list[ServicePortSpec] = Field(default_factory=list, description="Its ports.")
    selector: dict[str, str] = Field(default_factory=dict, description="Its pods.")
    cluster_ip: str = Field(default="", alias="clusterIP", description="Its address, or None.")
    cluster_ips: list[str] = Field(
        default_factory=list, alias="clusterIPs", description="Its addresses of both families."
    )
    external_name: str = Field(default="", description="The host that the name stands for.")
    publish_not_ready_addresses: bool = Field(
        default=False, description="Whether endpoints that are not ready are served."
    )
    internal_traffic_policy: Annotated[
        str,
        NotTranslated("traffic is not kept on the client's node", unless=("Cluster",)),
    ] = Field(default="Cluster", description="Whether clients stay on their node.")
    traffic_distribution: str = Field(default="", description="Preference for near endpoints.")


class ServiceManifest(Manifest):
    """A Service."""

    spec: ServiceSpec = Field(default_factory=ServiceSpec, description="Its spec.")


def read_service(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Service that a manifest means."""
    return read(raw, key, ServiceManifest, _convert, _check)


def _check(manifest: ServiceManifest) -> Iterator[Finding]:
    spec = manifest.spec
    names = [port.name for port in spec.ports]
    path = ("spec", "ports")
    if len(names) > 1 or any(names):
        yield from duplicates(path, names, "the port name")
    ports = [f"{port.port}/{port.protocol}" for port in spec.ports]
    yield from duplicates(path, ports, "port")
    for index, port in enumerate(manifest.spec.ports):
        protocol = service_protocol(port.port, port.name, port.protocol, port.app_protocol)
        yield from check_silence((*path, index), port.port, protocol)
    yield from _check_address(("spec", "clusterIP"), spec.cluster_ip)
    for index, address in enumerate(spec.cluster_ips):
        yield from _check_address(("spec", "clusterIPs", index), address)
    if spec.type == "ExternalName" and not is_name(spec.external_name):
        yield invalid(("spec", "externalName"), f"{spec.external_name!r} is not a DNS name")
    if spec.traffic_distribution not in ("", *Distribution):
        message = f"nobody knows what {spec.traffic_distribution!r} means"
        yield untranslated(("spec", "trafficDistribution"), message)
    exported = manifest.metadata.annotations.get(_EXPORT_TO)
    if exported is not None:
        where: Path = ("metadata", "annotations", _EXPORT_TO)
        own = manifest.metadata.namespace
        yield from _check_export(where, _words(exported), own)


def _check_export(where: Path, words: tuple[str, ...], own: str) -> Iterator[Finding]:
    """Check who sees it: an annotation may say several things at once, of which one goes first (Istio)."""
    if len(words) > 1 and (strongest := _visibility(words)) in (EXPORT_ALL, EXPORT_NONE):
        yield without_effect(
            where, f"beside {strongest[0]!r} nothing else counts", "Remove the rest."
        )
    else:
        yield from check_export_to(where, words, own, hidden=True)


def _check_address(where: Path, address: str) -> Iterator[Finding]:
    if address not in _NO_ADDRESS and not is_address(address):
        yield invalid(where, f"{address!r} is neither an IP address nor None")


def _convert(manifest: ServiceManifest, meta: Meta) -> Service:
    spec = manifest.spec
    ips = spec.cluster_ips or [spec.cluster_ip]
    exported = _words(label(meta.annotations, _EXPORT_TO))
    return Service(
        meta=meta,
        ports=tuple(_port(port) for port in spec.ports),
        cluster_ips=tuple(ip for ip in ips if ip not in _NO_ADDRESS),
        headless="None" in ips,
        selector=labels(spec.selector),
        external_name=spec.external_name if spec.type == "ExternalName" else "",
        publish_not_ready=spec.publish_not_ready_addresses,
        export_to=_visibility(exported),
        export_unsaid=not exported,
        distribution=_distribution(spec.traffic_distribution, meta),
        service_accounts=tuple(
            account for name in _ACCOUNTS for account in _words(label(meta.annotations, name))
        ),
    )


def _visibility(words: tuple[str, ...]) -> ExportTo:
    """Return who sees a Service: everybody goes before nobody, and both before namespaces (Istio)."""
    if not words or "*" in words:
        return EXPORT_ALL
    return EXPORT_NONE if "~" in words else ExportTo(words)


def _distribution(written: str, meta: Meta) -> Distribution | None:
    """Return who is near; an annotation goes first, and what neither Istio nor Kubernetes knows is nothing."""
    text = label(meta.annotations, _DISTRIBUTION) or written
    return Distribution(text) if text in tuple(Distribution) else None


def _port(port: ServicePortSpec) -> ServicePort:
    return ServicePort(
        name=port.name,
        number=port.port,
        protocol=service_protocol(port.port, port.name, port.protocol, port.app_protocol),
        target=port.target_port,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
