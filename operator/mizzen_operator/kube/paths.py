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
    """A kind as the API server names it; ``group`` is empty for the core."""

    kind: str
    group: str
    plural: str
    versions: tuple[str, ...] = ("v1",)

    @property
    def api_version(self) -> str:
        """The version that we prefer."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path of its collection, or of one object."""
        return path(self.api_version, self.plural, namespace, name)


_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"

RESOURCES: Final = (
    Resource("Namespace", "", "namespaces"),
    Resource("Node", "", "nodes"),
    Resource("Service", "", "services"),
    Resource("EndpointSlice", "discovery.k8s.io", "endpointslices"),
    Resource("Pod", "", "pods"),
    Resource("ServiceAccount", "", "serviceaccounts"),
    Resource("ConfigMap", "", "configmaps"),
    Resource("Secret", "", "secrets"),
    Resource("VirtualService", _NETWORKING, "virtualservices"),
    Resource("DestinationRule", _NETWORKING, "destinationrules"),
    Resource("Gateway", _NETWORKING, "gateways"),
    Resource("ServiceEntry", _NETWORKING, "serviceentries"),
    Resource("WorkloadEntry", _NETWORKING, "workloadentries"),
    Resource("PeerAuthentication", _SECURITY, "peerauthentications"),
    Resource("AuthorizationPolicy", _SECURITY, "authorizationpolicies"),
)

RESOURCE_OF: Final[Mapping[str, Resource]] = {resource.kind: resource for resource in RESOURCES}
