"""Ingress (networking.k8s.io): routes into the cluster, as Kubernetes writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port
from mizzen.api.findings import Finding, Path, at, conflict, invalid, missing
from mizzen.api.hosts import is_address, is_wildcard_name
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey


class BackendPort(ApiModel):
    """A Service's port, by name or number (Kubernetes: ServiceBackendPort)."""

    name: str = Field(default="", description="Its name.")
    number: Port | None = Field(default=None, description="Its number.")


class ServiceBackend(ApiModel):
    """A Service of the same namespace (Kubernetes: IngressServiceBackend)."""

    name: str = Field(min_length=1, description="Its name.")
    port: BackendPort | None = Field(default=None, description="Its port.")


class ResourceBackend(ApiModel):
    """Another object of the same namespace (Kubernetes: TypedLocalObjectReference)."""

    api_group: str = Field(default="", description="Its group.")
    kind: str = Field(min_length=1, description="Its kind.")
    name: str = Field(min_length=1, description="Its name.")


class Backend(ApiModel):
    """Where requests go (Kubernetes: IngressBackend)."""

    service: ServiceBackend | None = Field(default=None, description="A Service.")
    resource: ResourceBackend | None = Field(default=None, description="Another object.")


class IngressPath(ApiModel):
    """A path and where its requests go (Kubernetes: HTTPIngressPath)."""

    path: str = Field(default="", description="The path; all by default.")
    path_type: Literal["Exact", "Prefix", "ImplementationSpecific"] = Field(
        description="How it is compared."
    )
    backend: Backend = Field(description="Where its requests go.")


class IngressHttp(ApiModel):
    """The paths of a host (Kubernetes: HTTPIngressRuleValue)."""

    paths: list[IngressPath] = Field(min_length=1, description="The paths.")


class IngressRule(ApiModel):
    """A host (Kubernetes: IngressRule)."""

    host: str = Field(default="", description="A host or *.domain; all by default.")
    http: IngressHttp | None = Field(default=None, description="Its paths.")


class IngressTls(ApiModel):
    """Hosts with a certificate (Kubernetes: IngressTLS)."""

    hosts: list[str] = Field(default_factory=list, description="Hosts.")
    secret_name: str = Field(default="", description="A Secret of the same namespace.")


class IngressSpec(ApiModel):
    """An Ingress's spec (Kubernetes: IngressSpec)."""

    ingress_class_name: str | None = Field(default=None, description="Which controller it is for.")
    default_backend: Backend | None = Field(default=None, description="For all other requests.")
    rules: list[IngressRule] = Field(default_factory=list, description="Hosts and paths.")
    tls: list[IngressTls] = Field(default_factory=list, description="Certificates.")


class IngressManifest(Manifest):
    """An Ingress."""

    spec: Annotated[
        IngressSpec,
        NotTranslated("Ingress comes with a later version: use a Gateway and a VirtualService"),
    ] = Field(default_factory=IngressSpec, description="Its spec (Kubernetes: IngressSpec).")


def read_ingress(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Ingress that a manifest means."""
    return read(raw, key, IngressManifest, _convert, _check)


def _convert(_manifest: IngressManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: IngressManifest) -> Iterator[Finding]:
    yield from at(("spec",), _spec(manifest.spec))


def _spec(spec: IngressSpec) -> Iterator[Finding]:
    if spec.default_backend is None and not spec.rules:
        yield missing(("rules",), "an Ingress needs rules or a defaultBackend")
    if spec.default_backend is not None:
        yield from at(("defaultBackend",), _backend(spec.default_backend))
    for index, rule in enumerate(spec.rules):
        yield from at(("rules", index), _rule(rule))
    for index, tls in enumerate(spec.tls):
        for number, host in enumerate(tls.hosts):
            yield from _host(("tls", index, "hosts", number), host)


def _rule(rule: IngressRule) -> Iterator[Finding]:
    if rule.host:
        yield from _host(("host",), rule.host)
    for index, path in enumerate(rule.http.paths if rule.http is not None else ()):
        where: Path = ("http", "paths", index)
        if path.path_type != "ImplementationSpecific" and not path.path.startswith("/"):
            yield invalid((*where, "path"), f"{path.path!r} does not begin with /")
        yield from at((*where, "backend"), _backend(path.backend))


def _host(path: Path, host: str) -> Iterator[Finding]:
    if is_address(host):
        yield invalid(path, f"{host!r} is an address; a host is a DNS name")
    elif not is_wildcard_name(host) or (host.startswith("*") and not host.startswith("*.")):
        yield invalid(path, f"{host!r} is not a DNS name or a wildcard such as *.example.com")


def _backend(backend: Backend) -> Iterator[Finding]:
    service = backend.service
    if service is not None and backend.resource is not None:
        yield conflict(("resource",), "service and resource exclude each other")
    elif service is None and backend.resource is None:
        yield missing((), "a backend needs a service or a resource")
    elif service is not None:
        port = service.port
        if port is None or not (port.name or port.number):
            yield missing(("service", "port"), "a backend needs its port's name or number")
        elif port.name and port.number:
            yield conflict(("service", "port"), "name and number exclude each other")
