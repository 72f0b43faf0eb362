"""WorkloadGroup (networking.istio.io): what WorkloadEntries that register themselves are like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, Count, NotTranslated, Port
from mizzen.api.findings import Finding, at, conflict, invalid, missing
from mizzen.api.hosts import check_labels
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.workloads import WorkloadEntrySpec
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

_HEADER_NAME: Final = re.compile(r"[-_A-Za-z0-9]+")
_METHODS: Final = {"http_get": "httpGet", "tcp_socket": "tcpSocket", "exec": "exec", "grpc": "grpc"}


class HttpHeader(ApiModel):
    """A header of a probe (Istio: HTTPHeader)."""

    name: str = Field(description="Its name.")
    value: str = Field(default="", description="Its value.")


class HttpHealthCheck(ApiModel):
    """A probe by HTTP (Istio: HTTPHealthCheckConfig)."""

    path: str = Field(default="", description="/ by default.")
    port: Port = Field(description="The port.")
    host: str = Field(default="", description="The workload itself by default.")
    scheme: Literal["", "HTTP", "HTTPS"] = Field(default="", description="HTTP by default.")
    http_headers: list[HttpHeader] = Field(default_factory=list, description="Headers.")


class TcpHealthCheck(ApiModel):
    """A probe by connecting (Istio: TCPHealthCheckConfig)."""

    host: str = Field(default="", description="The workload itself by default.")
    port: Port = Field(description="The port.")


class ExecHealthCheck(ApiModel):
    """A probe by a command (Istio: ExecHealthCheckConfig)."""

    command: list[str] = Field(min_length=1, description="The command and its arguments.")


class GrpcHealthCheck(ApiModel):
    """A probe by gRPC's health service (Istio: GrpcHealthCheckConfig)."""

    port: Port = Field(description="The port.")
    service: str = Field(default="", description="The service that is asked for.")


class ReadinessProbe(ApiModel):
    """How a workload is asked whether it is ready (Istio: ReadinessProbe)."""

    initial_delay_seconds: Count = Field(default=0, description="Before the first probe.")
    timeout_seconds: Count = Field(default=0, description="1 by default.")
    period_seconds: Count = Field(default=0, description="10 by default.")
    success_threshold: Count = Field(default=0, description="1 by default.")
    failure_threshold: Count = Field(default=0, description="3 by default.")
    http_get: HttpHealthCheck | None = Field(default=None, description="By HTTP.")
    tcp_socket: TcpHealthCheck | None = Field(default=None, description="By connecting.")
    exec: ExecHealthCheck | None = Field(default=None, description="By a command.")
    grpc: GrpcHealthCheck | None = Field(default=None, description="By gRPC.")


class GroupMeta(ApiModel):
    """Metadata of the entries (Istio: WorkloadGroup.ObjectMeta)."""

    labels: dict[str, str] = Field(
        default_factory=dict, max_length=256, description="Labels of the entries."
    )
    annotations: dict[str, str] = Field(
        default_factory=dict, max_length=256, description="Annotations of the entries."
    )


class WorkloadGroupSpec(ApiModel):
    """A WorkloadGroup's spec (Istio: WorkloadGroup)."""

    metadata: GroupMeta | None = Field(default=None, description="Metadata of the entries.")
    template: WorkloadEntrySpec = Field(description="What the entries have in common.")
    probe: ReadinessProbe | None = Field(default=None, description="Whether they are ready.")


class WorkloadGroupManifest(Manifest):
    """A WorkloadGroup."""

    spec: Annotated[
        WorkloadGroupSpec,
        NotTranslated("workloads that register themselves come later; the object has no effect"),
    ] = Field(description="Its spec (Istio: WorkloadGroup).")


def read_workload_group(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the WorkloadGroup that a manifest means."""
    return read(raw, key, WorkloadGroupManifest, _convert, _check)


def _convert(_manifest: WorkloadGroupManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: WorkloadGroupManifest) -> Iterator[Finding]:
    spec = manifest.spec
    if spec.metadata is not None:
        yield from check_labels(("spec", "metadata", "labels"), spec.metadata.labels)
    yield from check_labels(("spec", "template", "labels"), spec.template.labels)
    if spec.probe is not None:
        yield from at(("spec", "probe"), _probe(spec.probe))


def _probe(probe: ReadinessProbe) -> Iterator[Finding]:
    written = [field for name, field in _METHODS.items() if getattr(probe, name) is not None]
    if not written:
        yield missing((), f"a probe needs one of {', '.join(_METHODS.values())}")
    elif len(written) > 1:
        yield conflict((written[1],), f"{written[0]} and {written[1]} exclude each other")
    for index, header in enumerate(probe.http_get.http_headers if probe.http_get else ()):
        if not _HEADER_NAME.fullmatch(header.name):
            path = ("httpGet", "httpHeaders", index, "name")
            yield invalid(path, f"{header.name!r} is not a header's name")
