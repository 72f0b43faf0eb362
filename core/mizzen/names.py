"""What things are called: object keys, hosts, wildcards, and the names that Envoy sees.

A name of a cluster, listener, route configuration or virtual host is a function of one object (host,
port, subset), never of a set, and follows Istio, because dashboards and EnvoyFilter patches rely on
it. The one departure is the virtual host's: VHDS demands ``<route configuration>/<host>``
(docs/decisions, VHDS).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NewType

Registry = NewType("Registry", str)
Hostname = NewType("Hostname", str)

DEFAULT_REGISTRY: Final = Registry("Kubernetes")
DEFAULT_DOMAIN: Final = "cluster.local"
DEFAULT_ROOT_NAMESPACE: Final = "istio-system"

PASSTHROUGH_CLUSTER: Final = "PassthroughCluster"
INBOUND_PASSTHROUGH_CLUSTER: Final = "InboundPassthroughCluster"
BLACK_HOLE_CLUSTER: Final = "BlackHoleCluster"
VIRTUAL_OUTBOUND: Final = "virtualOutbound"
VIRTUAL_INBOUND: Final = "virtualInbound"
MESH_GATEWAY: Final = "mesh"
LOCAL_CLUSTER: Final = "local_cluster"
"""The cluster of a proxy's own workload, in its bootstrap: what keeping to a zone is measured by (Istio)."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Which object, in which registry (cluster id); ``namespace`` is empty for cluster-wide kinds."""

    registry: Registry
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Return ``Kind namespace/name``, the form of messages."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.label

    @property
    def label(self) -> str:
        """The kind and the bare name."""
        return f"{self.kind} {self.name}"


def service_host(name: str, namespace: str, domain: str = DEFAULT_DOMAIN) -> Hostname:
    """Return the fully qualified host of a Kubernetes Service."""
    return Hostname(f"{name}.{namespace}.svc.{domain}")


def resolve_host(host: str, namespace: str, domain: str = DEFAULT_DOMAIN) -> Hostname:
    """Return the host that a short name means in an object of ``namespace``.

    A name without a dot is short; a dotted or wildcard one is taken literally (Istio, VirtualService
    ``hosts``). Hosts are lower-case throughout.
    """
    host = host.lower()
    if host == "*" or "." in host:
        return Hostname(host)
    return service_host(host, namespace, domain)


def is_wildcard(host: str) -> bool:
    """Tell whether a host is ``*`` or ``*.suffix``."""
    return host.startswith("*")


def host_matches(pattern: str, host: str) -> bool:
    """Tell whether a host, itself possibly a wildcard, lies within a pattern."""
    if not is_wildcard(pattern):
        return pattern == host
    return host.removeprefix("*").endswith(pattern[1:]) and len(host) >= len(pattern)


def is_ip(address: str) -> bool:
    """Tell an IP address from a DNS name, whose last part is never a number."""
    return ":" in address or ("." in address and address.rpartition(".")[2].isdigit())


def covering_hosts(host: str) -> tuple[str, ...]:
    """Return every pattern that can match ``host``, the most specific first: itself, ``*.b.c``, ``*``."""
    labels = host.split(".")
    start = 1
    patterns = [host]
    patterns += ["*." + ".".join(labels[i:]) for i in range(start, len(labels))]
    if host != "*":
        patterns.append("*")
    return tuple(dict.fromkeys(patterns))


def outbound_cluster(port: int, subset: str, host: str) -> str:
    """Return the name of the cluster through which a proxy reaches a service's port."""
    return f"outbound|{port}|{subset}|{host}"


def inbound_cluster(port: int) -> str:
    """Return the name of the cluster behind a workload's own port (Istio: ``inbound|<port>||``)."""
    return f"inbound|{port}||"


def subset_sni(port: int, subset: str, host: str) -> str:
    """Return the SNI of Istio's mutual TLS towards a service's port."""
    return f"outbound_.{port}_.{subset}_.{host}"


def cluster_name(port: int, subset: str, host: str, *, passing: bool) -> str:
    """Return the name of a cluster, and of its load assignment: where mutual TLS passes through, it is the SNI."""
    return (subset_sni if passing else outbound_cluster)(port, subset, host)


WORKLOAD_SECRET: Final = "default"  # noqa: S105 - the name of a secret, not a secret
"""The name (SDS) of a workload's own certificate and key."""

ROOTS_SECRET: Final = "ROOTCA"  # noqa: S105 - the name of a secret, not a secret
"""The name (SDS) of the roots that a workload believes."""


def credential_certificate(name: str) -> str:
    """Return the name (SDS) of a credential's certificate."""
    return f"kubernetes://{name}"


def credential_roots(name: str) -> str:
    """Return the name (SDS) of the roots that stand in a credential."""
    return f"kubernetes://{name}-cacert"


def certificate_on_disk(chain: str, key: str) -> str:
    """Return the name (SDS) of a certificate in files of the proxy's."""
    return f"file-cert:{chain}~{key}"


def roots_on_disk(roots: str, revoked: str = "") -> str:
    """Return the name (SDS) of roots in a file of the proxy's, with those that are revoked in another."""
    return f"file-root:{roots}~{revoked}" if revoked else f"file-root:{roots}"


def listener_name(bind: str, port: int) -> str:
    """Return the name of a listener, ``<bind>_<port>``."""
    return f"{bind}_{port}"


def virtual_host_name(route_configuration: str, host: str) -> str:
    """Return the one string that VHDS wants for both resource name and ``VirtualHost.name``."""
    return f"{route_configuration}/{host}"


def route_configuration_of(virtual_host: str) -> str:
    """Return the route configuration that a virtual host's name belongs to."""
    return virtual_host.rpartition("/")[0]
