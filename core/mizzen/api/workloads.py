"""ServiceEntry and WorkloadEntry (networking.istio.io): services and workloads outside of Kubernetes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port, UInt32
from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    duplicates,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.hosts import (
    check_domain,
    check_export_to,
    check_labels,
    check_selector,
    is_address,
    is_block,
    is_label,
    is_name,
    is_partial_wildcard,
)
from mizzen.api.meta import DEFAULT_NAMESPACE, Manifest
from mizzen.api.protocols import PROTOCOL_NAMES, check_silence, is_protocol, parse_protocol
from mizzen.api.reading import Reading, read
from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import EXPORT_ALL, ExportTo, Meta, labels
from mizzen.model.traffic import Resolution, ServiceEntry, WorkloadEndpoint, WorkloadEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_UNIX: Final = "unix://"
_BY_NAME: Final = ("DNS", "DNS_ROUND_ROBIN")


class WorkloadEntrySpec(ApiModel):
    """A workload that is not a pod (Istio: WorkloadEntry)."""

    address: str = Field(
        default="", max_length=256, description="An IP, a host or unix:///path, without port."
    )
    ports: dict[str, Port] = Field(
        default_factory=dict, max_length=128, description="Its own ports by the service's names."
    )
    labels: dict[str, str] = Field(
        default_factory=dict, max_length=256, description="Its labels, for selectors."
    )
    network: Annotated[
        str,
        NotTranslated("gateways between networks come later; the address is called directly"),
    ] = Field(default="", max_length=2048, description="Its network.")
    locality: str = Field(default="", max_length=2048, description="region/zone/subzone.")
    weight: UInt32 = Field(default=0, description="Its share of traffic; 1 by default.")
    service_account: str = Field(
        default="", max_length=253, description="Its identity, where it has a sidecar."
    )


class WorkloadEntryManifest(Manifest):
    """A WorkloadEntry."""

    spec: WorkloadEntrySpec = Field(description="Its spec (Istio: WorkloadEntry).")


class ServiceEntryPort(ApiModel):
    """A port of a ServiceEntry (Istio: ServicePort)."""

    number: Port = Field(description="The port that clients address.")
    protocol: str = Field(
        default="", max_length=256, description="As of a Gateway; sniffed where none is written."
    )
    name: str = Field(min_length=1, max_length=256, description="Its name.")
    target_port: Port | None = Field(default=None, description="The endpoints' port.")


class EntrySelector(ApiModel):
    """Labels of the pods and WorkloadEntries that are the endpoints (Istio: WorkloadSelector)."""

    labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=256, description="Labels."
    )


class ServiceEntrySpec(ApiModel):
    """A ServiceEntry's spec (Istio: ServiceEntry)."""

    hosts: list[str] = Field(min_length=1, max_length=256, description="Its DNS names.")
    addresses: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=256, description="Virtual addresses or CIDRs."
    )
    ports: list[ServiceEntryPort] = Field(
        default_factory=list, max_length=256, description="Its ports."
    )
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = Field(
        default="MESH_EXTERNAL", description="Whether it is part of the mesh."
    )
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = Field(
        default="NONE", description="How its endpoints are found."
    )
    endpoints: list[WorkloadEntrySpec] = Field(
        default_factory=list, max_length=4096, description="Its endpoints."
    )
    workload_selector: EntrySelector | None = Field(default=None, description="Its endpoints.")
    export_to: list[str] = Field(
        default_factory=list, description="Namespaces that see it; all by default."
    )
    subject_alt_names: list[str] = Field(
        default_factory=list, description="Names of which a server's certificate must have one."
    )


class GivenAddress(ApiModel):
    """An address of a host that has none of its own (Istio: ServiceEntryAddress)."""

    value: str = Field(default="", description="The address.")
    host: str = Field(default="", description="Whose it is.")


class ServiceEntryStatus(ApiModel):
    """What the control plane says of a ServiceEntry beside conditions."""

    addresses: list[GivenAddress] = Field(
        default_factory=list, description="Addresses that hosts without any were given."
    )


class ServiceEntryManifest(Manifest):
    """A ServiceEntry."""

    spec: ServiceEntrySpec = Field(description="Its spec (Istio: ServiceEntry).")


def read_service_entry(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the ServiceEntry that a manifest means."""
    return read(raw, key, ServiceEntryManifest, _entry, _check_entry)


def read_workload_entry(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the WorkloadEntry that a manifest means."""
    return read(raw, key, WorkloadEntryManifest, _workload, _check_workload)


def _check_workload(manifest: WorkloadEntryManifest) -> Iterator[Finding]:
    yield from at(("spec",), _check_endpoint(manifest.spec))


def _check_endpoint(endpoint: WorkloadEntrySpec) -> Iterator[Finding]:
    address = endpoint.address
    if not address and not endpoint.network:
        yield missing(("address",), "address is required")
    elif not address:
        message = f"without an address traffic goes to the gateways of network {endpoint.network!r}"
        yield without_effect(("address",), message, "Write the address, if it has one.")
    elif address.startswith(_UNIX):
        if not address.startswith(f"{_UNIX}/"):
            yield invalid(("address",), f"{address!r} is not an absolute path")
        if endpoint.ports:
            yield conflict(("ports",), "a unix:// address has no ports")
    elif address and not (is_address(address) or is_name(address)):
        yield invalid(("address",), f"{address!r} is not an IP address, DNS name or unix:// path")
    for name in endpoint.ports:
        if not is_label(name):
            yield invalid(("ports", name), f"{name!r} is not a port's name")
    yield from check_labels(("labels",), endpoint.labels)


def _check_entry(manifest: ServiceEntryManifest) -> Iterator[Finding]:
    spec, own = manifest.spec, manifest.metadata.namespace or DEFAULT_NAMESPACE
    yield from at(("spec",), _check_spec(spec))
    yield from check_export_to(("spec", "exportTo"), spec.export_to, own, hidden=True)


def _check_spec(spec: ServiceEntrySpec) -> Iterator[Finding]:
    yield from _check_hosts(spec)
    yield from _check_addresses(spec)
    yield from _check_ports(spec)
    yield from _check_endpoints(spec)


def _check_hosts(spec: ServiceEntrySpec) -> Iterator[Finding]:
    yield from duplicates(("hosts",), [host.lower() for host in spec.hosts], "host")
    for index, host in enumerate(spec.hosts):
        path: Path = ("hosts", index)
        if host == "*":
            yield invalid(path, "host * is too wide", "Name a domain, such as *.example.com.")
        elif spec.resolution == "DYNAMIC_DNS" and not host.startswith("*."):
            yield invalid(path, f"DYNAMIC_DNS is for wildcards, not for {host!r}")
        else:
            yield from check_domain(path, host)
            if is_partial_wildcard(host):
                yield without_effect(
                    path, f"{host!r}: proxies know wildcards for whole labels only"
                )
    plain = [port for port in spec.ports if not _tells_hosts(port)]
    if len(spec.hosts) > 1 and spec.resolution != "NONE" and plain:
        message = (
            f"on port {plain[0].number} nothing tells the hosts apart; it is neither HTTP nor TLS"
        )
        yield conflict(("hosts",), message, "Write an entry for each of the hosts.")


def _tells_hosts(port: ServiceEntryPort) -> bool:
    """Tell whether a client says on a port which host it means."""
    protocol = parse_protocol(port.protocol)
    return protocol.is_http or protocol in (Protocol.HTTPS, Protocol.TLS)


def _check_addresses(spec: ServiceEntrySpec) -> Iterator[Finding]:
    yield from duplicates(("addresses",), spec.addresses, "address")
    for index, address in enumerate(spec.addresses):
        if not is_block(address):
            yield invalid(("addresses", index), f"{address!r} is not an IP address or CIDR")
        elif "/" in address and spec.resolution not in ("NONE", "STATIC"):
            message = f"a CIDR goes with NONE and STATIC, not with {spec.resolution}"
            yield conflict(("addresses", index), message)


def _check_ports(spec: ServiceEntrySpec) -> Iterator[Finding]:
    if not spec.ports:
        yield missing(("ports",), "a ServiceEntry needs at least one port")
    yield from duplicates(("ports",), [port.name for port in spec.ports], "the port name")
    yield from duplicates(("ports",), [str(port.number) for port in spec.ports], "port")
    for index, port in enumerate(spec.ports):
        if not is_label(port.name):
            yield invalid(("ports", index, "name"), f"{port.name!r} is not a port's name")
        yield from check_silence(("ports", index), port.number, parse_protocol(port.protocol))
        if port.protocol and not is_protocol(port.protocol):
            names = ", ".join(PROTOCOL_NAMES)
            path = ("ports", index, "protocol")
            yield invalid(path, f"{port.protocol!r} is not a protocol", f"Use one of {names}.")
        elif spec.resolution == "DYNAMIC_DNS":
            yield from at(("ports", index), _check_asking(port))


def _check_asking(port: ServiceEntryPort) -> Iterator[Finding]:
    """Check a port on which clients are to say which server they mean (DYNAMIC_DNS)."""
    if not _tells_hosts(port):
        message = "DYNAMIC_DNS needs clients that say which host they mean"
        yield conflict(("protocol",), message, "Use HTTP, HTTP2, GRPC, TLS or HTTPS.")
    elif port.target_port not in (None, port.number) and parse_protocol(port.protocol).is_http:
        message = "with DYNAMIC_DNS the port of a request's Host header is the one that is called"
        yield without_effect(("targetPort",), message)


def _check_endpoints(spec: ServiceEntrySpec) -> Iterator[Finding]:
    yield from _check_source(spec)
    path = ("endpoints",)
    if spec.endpoints and spec.resolution in ("NONE", "DYNAMIC_DNS"):
        yield conflict(path, f"resolution {spec.resolution} goes without endpoints")
    if spec.resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        yield conflict(path, "resolution DNS_ROUND_ROBIN takes one endpoint")
    if spec.resolution in _BY_NAME and not spec.endpoints and spec.workload_selector is None:
        yield from _check_looked_up(spec)
    if any(one.address.startswith(_UNIX) for one in spec.endpoints) and len(spec.ports) > 1:
        yield conflict(path, "a unix:// endpoint stands behind one port, and there are several")
    for index, endpoint in enumerate(spec.endpoints):
        yield from at((*path, index), _check_endpoint(endpoint))
        yield from at((*path, index), _check_fit(endpoint, spec))


def _check_looked_up(spec: ServiceEntrySpec) -> Iterator[Finding]:
    for index, host in enumerate(spec.hosts):
        if host.startswith("*"):
            message = f"{host!r} cannot be looked up (resolution {spec.resolution})"
            remedy = "Name the servers in endpoints, or use resolution NONE."
            yield conflict(("hosts", index), message, remedy)


def _check_source(spec: ServiceEntrySpec) -> Iterator[Finding]:
    selector = spec.workload_selector
    if selector is not None:
        yield from check_selector(("workloadSelector", "labels"), selector.labels)
        if spec.endpoints:
            yield conflict(("endpoints",), "endpoints and workloadSelector exclude each other")
        elif spec.resolution in ("NONE", "DYNAMIC_DNS"):
            message = f"resolution {spec.resolution} looks at no workloads"
            yield without_effect(("workloadSelector",), message)
    elif spec.resolution == "STATIC" and not spec.endpoints:
        message = "resolution STATIC has only the endpoints that are written, and there are none"
        yield without_effect(("endpoints",), message, "Write endpoints or a workloadSelector.")


def _check_fit(endpoint: WorkloadEntrySpec, spec: ServiceEntrySpec) -> Iterator[Finding]:
    if spec.resolution == "STATIC" and is_name(endpoint.address):
        message = f"resolution STATIC takes addresses, not the name {endpoint.address!r}"
        yield invalid(("address",), message)
    if spec.resolution in _BY_NAME and endpoint.address.startswith(_UNIX):
        message = f"resolution {spec.resolution} takes names and addresses, not a socket"
        yield invalid(("address",), message)
    names = {port.name for port in spec.ports}
    for name in endpoint.ports:
        if name not in names:
            message = f"{name!r} is not the name of a port of the ServiceEntry"
            yield invalid(("ports", name), message)


def _entry(manifest: ServiceEntryManifest, meta: Meta) -> ServiceEntry:
    spec = manifest.spec
    selector = spec.workload_selector
    return ServiceEntry(
        meta=meta,
        hosts=tuple(host.lower() for host in spec.hosts),
        addresses=tuple(spec.addresses),
        ports=tuple(_port(port) for port in spec.ports),
        external=spec.location == "MESH_EXTERNAL",
        resolution=Resolution(spec.resolution),
        endpoints=tuple(_endpoint(endpoint) for endpoint in spec.endpoints),
        selector=labels(selector.labels) if selector is not None else None,
        export_to=ExportTo(tuple(spec.export_to)) if spec.export_to else EXPORT_ALL,
        export_unsaid=not spec.export_to,
        subject_alt_names=tuple(spec.subject_alt_names),
    )


def _port(port: ServiceEntryPort) -> ServicePort:
    return ServicePort(
        name=port.name,
        number=port.number,
        protocol=parse_protocol(port.protocol),
        target=port.target_port,
    )


def _workload(manifest: WorkloadEntryManifest, meta: Meta) -> WorkloadEntry:
    return WorkloadEntry(meta=meta, endpoint=_endpoint(manifest.spec))


def _endpoint(endpoint: WorkloadEntrySpec) -> WorkloadEndpoint:
    return WorkloadEndpoint(
        address=endpoint.address,
        ports=tuple(sorted(endpoint.ports.items())),
        labels=labels(endpoint.labels),
        locality=endpoint.locality,
        weight=endpoint.weight or 1,
        service_account=endpoint.service_account,
        network=endpoint.network,
    )
