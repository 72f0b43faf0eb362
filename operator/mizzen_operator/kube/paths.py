"""Where an object stands at the API server. Source: Kubernetes API concepts, «Resource URIs»."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


def path(
    api_version: str,
    plural: str,
    namespace: str | None = None,
    name: str | None = None,
    subresource: str | None = None,
) -> str:
    """Return the path of a collection, an object or a subresource; without a namespace, of all of them."""
    parts = ["apis" if "/" in api_version else "api", *api_version.split("/")]
    if namespace:
        parts += ["namespaces", namespace]
    parts.append(plural)
    parts += [part for part in (name, subresource) if part]
    return "/" + "/".join(quote(part, safe="") for part in parts)


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server names it; ``group`` is empty for the core.

    ``fields`` and ``labels`` are selectors of those of its objects that have to do with a mesh.
    """

    kind: str
    group: str
    plural: str
    versions: tuple[str, ...] = ("v1",)
    fields: str = ""
    labels: str = ""

    @property
    def api_version(self) -> str:
        """The version that we prefer."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    @property
    def selectors(self) -> dict[str, str]:
        """The parameters by which an API server tells of those objects alone."""
        both = {"fieldSelector": self.fields, "labelSelector": self.labels}
        return {name: selector for name, selector in both.items() if selector}

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of its collection, or of one object."""
        return path(self.api_version, self.plural, namespace, name)


_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"
_TELEMETRY: Final = "telemetry.istio.io"
_EXTENSIONS: Final = "extensions.istio.io"
_DISCOVERY: Final = "discovery.k8s.io"
_ALIVE: Final = "status.phase!=Succeeded,status.phase!=Failed"

# The name of the ConfigMap in every namespace by which workloads believe the mesh's certificates.
ROOTS_CONFIG_MAP: Final = "mizzen-ca-root-cert"

# What is watched. Secrets are not: those that something refers to are fetched, one by one.
WATCHED: Final = (
    Resource("Namespace", "", "namespaces"),
    Resource("Node", "", "nodes"),
    Resource("Service", "", "services"),
    Resource("EndpointSlice", _DISCOVERY, "endpointslices", labels="kubernetes.io/service-name"),
    Resource("Pod", "", "pods", fields=_ALIVE),
    Resource("ServiceAccount", "", "serviceaccounts"),
    Resource("ConfigMap", "", "configmaps", fields=f"metadata.name={ROOTS_CONFIG_MAP}"),
    Resource("VirtualService", _NETWORKING, "virtualservices"),
    Resource("DestinationRule", _NETWORKING, "destinationrules"),
    Resource("Gateway", _NETWORKING, "gateways"),
    Resource("ServiceEntry", _NETWORKING, "serviceentries"),
    Resource("WorkloadEntry", _NETWORKING, "workloadentries"),
    Resource("PeerAuthentication", _SECURITY, "peerauthentications"),
    Resource("AuthorizationPolicy", _SECURITY, "authorizationpolicies"),
    Resource("RequestAuthentication", _SECURITY, "requestauthentications"),
    Resource("Sidecar", _NETWORKING, "sidecars"),
    Resource("WorkloadGroup", _NETWORKING, "workloadgroups"),
    Resource("ProxyConfig", _NETWORKING, "proxyconfigs", ("v1beta1", "v1")),
    Resource("EnvoyFilter", _NETWORKING, "envoyfilters", ("v1alpha3",)),
    Resource("Telemetry", _TELEMETRY, "telemetries", ("v1", "v1alpha1")),
    Resource("WasmPlugin", _EXTENSIONS, "wasmplugins", ("v1alpha1",)),
)
CONFIG_MAPS: Final = next(resource for resource in WATCHED if resource.kind == "ConfigMap")
SECRETS: Final = Resource("Secret", "", "secrets")

RESOURCES: Final = (*WATCHED, SECRETS)
RESOURCE_OF: Final[Mapping[str, Resource]] = {resource.kind: resource for resource in RESOURCES}


# What people write to steer the mesh.
STEERING_KINDS: Final = frozenset(
    resource.kind
    for resource in WATCHED
    if resource.group in (_NETWORKING, _SECURITY, _TELEMETRY, _EXTENSIONS)
)


def is_steering(kind: str) -> bool:
    """Tell whether objects of a kind are what people write to steer the mesh."""
    return kind in STEERING_KINDS
