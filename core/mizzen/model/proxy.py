"""What a proxy's configuration depends on: proxies of one class share every byte."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mizzen.model.edge import ANY_EDGE, Edge
from mizzen.model.families import Families
from mizzen.model.meta import NO_LABELS, Labels
from mizzen.model.place import ANYWHERE, NOWHERE, Locality, Whereabouts
from mizzen.names import ObjectKey


class ProxyKind(StrEnum):
    """The first part of a node id."""

    SIDECAR = "sidecar"
    ROUTER = "router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """From where the mesh is seen: a namespace, and those of the workload's labels that rules ask for.

    Attributes:
        namespace: Of the proxy; empty for a viewer that has nothing of its own, with whom all
            namespaces share what they see alike.
        labels: Only pairs that some VirtualService names in ``sourceLabels``, so that pods that no rule
            tells apart have one scope.
        gateway: True for routers, which balance over the endpoints of headless services themselves.
        sidecar: The Sidecar that says how much of the mesh is seen; None sees everything.
        unknown: The cluster of unknown destinations, where it is not the mesh's own.
        dns: Whether questions to name servers come to the proxies, so that hosts without addresses are
            reached at those that the mesh gives them.
        families: The versions of IP that the proxies have addresses of.
        credentials: Whether what Secrets of the namespace hold may be given to its proxies.
        captured: False where nothing is captured and the Sidecar therefore has the proxies listen at places
            that clients call themselves. True without a Sidecar.
        zones: Whether the proxies have a local cluster, and so would keep to zones wherever they are not
            told to let it be. Only clusters know of it.
    """

    namespace: str
    labels: Labels = NO_LABELS
    gateway: bool = False
    sidecar: ObjectKey | None = None
    unknown: str = ""
    dns: bool = False
    families: Families = Families.V4
    credentials: bool = False
    captured: bool = True
    zones: bool = False
    # Scopes are parts of nearly all keys of the memo.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        seen_from = (self.namespace, self.labels, self.gateway, self.sidecar)
        has = (self.unknown, self.dns, self.families, self.credentials, self.captured, self.zones)
        object.__setattr__(self, "_hash", hash((*seen_from, *has)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The facts of a proxy's own workload that its inbound side is made from.

    Attributes:
        ports: The declared container ports as (name, number), to which target ports may refer.
        transparent: Whether connections are handed to the proxy as they are (TPROXY), and the application
            is to see its callers' addresses.
        dns: Whether its questions to name servers come to the proxy.
        families: The versions of IP that it has addresses of.
        is_known: Whether the rest of this was said by somebody else than the proxy. Only then is a router
            given what stands in Secrets.
        edge: What a router bears with of its clients.
        captured: Whether connections come to the proxy without anybody calling it (interception other than NONE).
    """

    namespace: str
    labels: Labels = NO_LABELS
    ports: tuple[tuple[str, int], ...] = ()
    transparent: bool = False
    dns: bool = False
    families: Families = Families.V4
    is_known: bool = False
    edge: Edge = ANY_EDGE
    captured: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """What a proxy says of itself in the first request (xDS ``Node``), already parsed.

    Attributes:
        id: ``<kind>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>``.
        labels: ``metadata.LABELS``; used where the pod is not (yet) known to the World.
        locality: Where its Envoy believes to be; empty where nobody could tell it.
        has_local_cluster: Whether its bootstrap has a cluster of its own workload, by which its Envoy can
            keep requests to a zone.
    """

    id: str
    kind: ProxyKind
    ip: str
    name: str
    namespace: str
    labels: Labels = NO_LABELS
    service_account: str = ""
    envoy_version: str = ""
    locality: Locality = NOWHERE
    has_local_cluster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyClass:
    """Everything that decides a proxy's bytes; equal classes are one class.

    ``where`` is told only where some host that it sees treats clients differently by it.
    """

    kind: ProxyKind
    scope: Scope
    workload: Workload
    where: Whereabouts = ANYWHERE
    # Every change looks every class up several times, and a hash of all its labels takes microseconds.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        facts = (self.kind, self.scope, self.workload, self.where)
        object.__setattr__(self, "_hash", hash(facts))

    def __hash__(self) -> int:
        return self._hash


def parse_node_id(node_id: str) -> tuple[ProxyKind, str, str, str]:
    """Return kind, ip, name and namespace of a node id; ``ValueError`` when it is not of Istio's form."""
    parts = node_id.split("~")
    if len(parts) != 4:
        raise ValueError(f"node id {node_id!r} is not <type>~<ip>~<pod>.<namespace>~<domain>")
    kind, ip, name, _domain = parts
    pod, dot, namespace = name.rpartition(".")
    if kind not in tuple(ProxyKind) or not dot or not pod or not namespace:
        raise ValueError(f"node id {node_id!r} is not <type>~<ip>~<pod>.<namespace>~<domain>")
    return ProxyKind(kind), ip, pod, namespace
