"""The World as inputs of the memo: the objects, and the indexes by which queries find them.

What an index is says ``mizzen.resolve.indexes``; which ones there are, and how a batch of changes keeps
them, stands here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, Final

from mizzen.engine import Database, Input
from mizzen.model.allocation import choices, hosts_without_address
from mizzen.model.gateway import Gateway
from mizzen.model.kube import EndpointSlice, Pod, Protocol, Service
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import Labels, label, shared_labels
from mizzen.model.routing import VirtualService
from mizzen.model.security import (
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
)
from mizzen.model.sidecar import Sidecar
from mizzen.model.traffic import DestinationRule, Resolution, ServiceEntry, WorkloadEntry
from mizzen.model.world import Batch, Object
from mizzen.names import MESH_GATEWAY, ObjectKey, resolve_host, service_host
from mizzen.resolve.in_force import InForce
from mizzen.resolve.indexes import Index, Lazy

# An entry with more objects than this is sorted on the first reading, not by the change.
_MANY: Final = 32

INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
"""The annotation that says how connections come to a pod's proxy."""

OBJECT: Final[Input[ObjectKey, Object | None]] = Input("object", None)
SETTINGS: Final[Input[str, MeshSettings]] = Input("settings", MeshSettings())


def settings(db: Database) -> MeshSettings:
    """Return the settings of the mesh."""
    return SETTINGS(db, "")


def hosts_of(service: Service | ServiceEntry, mesh: MeshSettings) -> tuple[str, ...]:
    """Return the hosts that an object gives to the mesh."""
    if isinstance(service, Service):
        return (service_host(service.meta.name, service.meta.namespace, mesh.domain),)
    return service.hosts


def _own_namespace(item: Object, _mesh: MeshSettings) -> tuple[str, ...]:
    return (item.meta.namespace,)


def alias_target(item: Service) -> str:
    """Return the host that a Service is but another name of; empty where it is a service."""
    return item.external_name.lower().removesuffix(".")


def _alias_target(item: Service, _mesh: MeshSettings) -> tuple[str, ...]:
    return (alias_target(item),) if item.external_name else ()


def _addresses(item: Service | ServiceEntry, _mesh: MeshSettings) -> tuple[str, ...]:
    return item.cluster_ips if isinstance(item, Service) else item.addresses


def _by_request(item: ServiceEntry, _mesh: MeshSettings) -> tuple[str, ...]:
    return item.hosts if item.resolution is Resolution.DYNAMIC_DNS else ()


def _without_address(item: ServiceEntry, _mesh: MeshSettings) -> tuple[str, ...]:
    return hosts_without_address(item)


def _wanted_slots(item: ServiceEntry, _mesh: MeshSettings) -> tuple[int, ...]:
    return tuple(slot for host in hosts_without_address(item) for slot in choices(host))


def _selecting(
    item: Service | ServiceEntry, _mesh: MeshSettings
) -> tuple[tuple[str, tuple[str, str]], ...]:
    """Return namespace and one pair of the selector: whatever it selects has that pair among others."""
    is_alias = isinstance(item, Service) and item.external_name
    return ((item.meta.namespace, item.selector[0]),) if item.selector and not is_alias else ()


def _byte_ports(item: Service | ServiceEntry, mesh: MeshSettings) -> tuple[tuple[str, int], ...]:
    """Return (address, port) of everything that is not HTTP; an empty address is every address."""
    everywhere = () if isinstance(item, Service) and item.headless else ("",)
    return tuple(
        (address, port.number)
        for port in item.ports
        if port.protocol.is_tcp or port.protocol is Protocol.UNSET
        for address in _addresses(item, mesh) or everywhere
    )


def _slice_service(item: EndpointSlice, _mesh: MeshSettings) -> tuple[tuple[str, str], ...]:
    return ((item.meta.namespace, item.service),)


def _pod_addresses(item: Pod, _mesh: MeshSettings) -> tuple[str, ...]:
    return () if item.host_network else item.ips


def _without_capture(item: Pod, _mesh: MeshSettings) -> tuple[str, ...]:
    mode = label(item.meta.annotations, INTERCEPTION)
    return (item.meta.namespace,) if mode == "NONE" else ()


def _labels_in(item: Pod | WorkloadEntry, _mesh: MeshSettings) -> tuple[tuple[str, Labels], ...]:
    labels = item.meta.labels if isinstance(item, Pod) else item.endpoint.labels
    return ((item.meta.namespace, labels),)


def _fellow(item: Pod | WorkloadEntry, mesh: MeshSettings) -> tuple[tuple[str, Labels], ...]:
    return tuple((namespace, shared_labels(of)) for namespace, of in _labels_in(item, mesh))


def _own_labels(
    item: WorkloadEntry, _mesh: MeshSettings
) -> tuple[tuple[str, tuple[str, str]], ...]:
    return tuple((item.meta.namespace, pair) for pair in item.endpoint.labels)


def _mesh_hosts(item: VirtualService, mesh: MeshSettings) -> tuple[str, ...]:
    if MESH_GATEWAY not in item.gateways:
        return ()
    return tuple(resolve_host(host, item.meta.namespace, mesh.domain) for host in item.hosts)


def gateway_name(name: str, namespace: str) -> str:
    """Return ``namespace/name`` of a gateway that a VirtualService of ``namespace`` names.

    Once it was written as ``name.namespace``, or in full as a Service's host (Istio: resolveGatewayName).
    """
    if "/" in name:
        return name
    short, _, rest = name.partition(".")
    return f"{rest.partition('.')[0] or namespace}/{short}"


def _gateway_hosts(item: VirtualService, mesh: MeshSettings) -> tuple[tuple[str, str], ...]:
    return tuple(
        (gateway_name(gateway, item.meta.namespace), str(host))
        for gateway in item.gateways
        if gateway != MESH_GATEWAY
        for host in (resolve_host(h, item.meta.namespace, mesh.domain) for h in item.hosts)
    )


def _source_labels(item: VirtualService, _mesh: MeshSettings) -> tuple[tuple[str, str], ...]:
    found = [match.source_labels for rule in item.http for match in rule.match]
    found += [m.source_labels for rule in (*item.tls, *item.tcp) for m in rule.match]
    return tuple(dict.fromkeys(pair for labels in found for pair in labels))


def _client_labels(item: DestinationRule, _mesh: MeshSettings) -> tuple[tuple[str, str], ...]:
    return item.selector or ()


def _credential_rules(item: DestinationRule, _mesh: MeshSettings) -> tuple[str, ...]:
    """Return the namespace of a rule that names Secrets."""
    policies = (item.policy, *(subset.policy for subset in item.subsets))
    blocks = (b for p in policies if p for b in (p.base, *(port for _, port in p.ports)))
    named = any(block.tls and block.tls.credential_name for block in blocks)
    return (item.meta.namespace,) if named else ()


def _delegates(item: VirtualService, _mesh: MeshSettings) -> tuple[ObjectKey, ...]:
    owner = item.meta
    return tuple(
        ObjectKey(owner.registry, "VirtualService", to.namespace or owner.namespace, to.name)
        for to in (rule.delegate for rule in item.http)
        if to is not None
    )


def _destinations(item: VirtualService, mesh: MeshSettings) -> tuple[str, ...]:
    ahead = [share.destination for rule in item.http for share in rule.route]
    ahead += [share.destination for rule in (*item.tls, *item.tcp) for share in rule.route]
    ahead += [copy.destination for rule in item.http for copy in rule.mirrors]
    namespace, domain = item.meta.namespace, mesh.domain
    return tuple(dict.fromkeys(resolve_host(one.host, namespace, domain) for one in ahead))


def _named_hosts(
    item: Service | ServiceEntry | VirtualService, mesh: MeshSettings
) -> tuple[str, ...]:
    return _mesh_hosts(item, mesh) if isinstance(item, VirtualService) else hosts_of(item, mesh)


def _rule_host(item: DestinationRule, mesh: MeshSettings) -> tuple[tuple[str, str], ...]:
    return ((item.meta.namespace, resolve_host(item.host, item.meta.namespace, mesh.domain)),)


def _itself(item: Object, _mesh: MeshSettings) -> tuple[ObjectKey, ...]:
    return (item.meta.key,)


def _everywhere(_item: Object, _mesh: MeshSettings) -> tuple[str, ...]:
    return ("",)


SERVICES_AT_HOST: Final[Index[str]] = Index("services at host", (Service, ServiceEntry), hosts_of)
ALIASES_OF: Final[Index[str]] = Index("aliases of", (Service,), _alias_target)
"""By host, the Services that are but another name of it (ExternalName)."""
SERVICES_AT_ADDRESS: Final[Index[str]] = Index(
    "services at address", (Service, ServiceEntry), _addresses
)
WITHOUT_ADDRESS: Final[Index[str]] = Index("without address", (ServiceEntry,), _without_address)
"""By host, the entries whose host gets an address of its own."""
WANTING_ADDRESS: Final[Index[int]] = Index("wanting address", (ServiceEntry,), _wanted_slots)
"""By place of the ranges of given addresses, the entries with a host that would like to have it."""
BY_REQUEST: Final[Index[str]] = Index("by request", (ServiceEntry,), _by_request)
"""ServiceEntries whose servers are what requests ask for, by host."""
BYTES_AT: Final[Index[tuple[str, int]]] = Index("bytes at", (Service, ServiceEntry), _byte_ports)
SERVICES_SELECTING: Final[Index[tuple[str, tuple[str, str]]]] = Index(
    "services selecting", (Service, ServiceEntry), _selecting
)
SLICES_OF: Final[Index[tuple[str, str]]] = Index("slices of", (EndpointSlice,), _slice_service)
PODS_AT: Final[Index[str]] = Index("pods at", (Pod,), _pod_addresses)
PODS_IN: Final[Index[str]] = Index("pods in", (Pod,), _own_namespace)
UNCAPTURED_IN: Final[Index[str]] = Index("pods without capture in", (Pod,), _without_capture)
"""By namespace, the pods of which nothing is captured."""
ENTRIES_WITH: Final[Index[tuple[str, tuple[str, str]]]] = Index(
    "workload entries with", (WorkloadEntry,), _own_labels
)
"""By namespace and one of their labels."""
LABELS_IN: Final[Index[tuple[str, Labels]]] = Index(
    "labels of workloads", (Pod, WorkloadEntry), _labels_in
)
FELLOWS: Final[Index[tuple[str, Labels]]] = Index("of a kind", (Pod, WorkloadEntry), _fellow)
ROUTES_AT_HOST: Final[Index[str]] = Index("routes at host", (VirtualService,), _mesh_hosts)
HOSTS: Final[Index[str]] = Index("hosts", (Service, ServiceEntry, VirtualService), _named_hosts)
"""By host, what gives it or routes it: one look tells whether a name means anything."""
ROUTES_AT_GATEWAY: Final[Index[tuple[str, str]]] = Index(
    "routes at gateway and host", (VirtualService,), _gateway_hosts
)
SOURCE_LABELS: Final[Index[tuple[str, str]]] = Index(
    "source labels", (VirtualService,), _source_labels
)
ROOTS_OF: Final[Index[ObjectKey]] = Index("roots of delegate", (VirtualService,), _delegates)
"""By delegate, the VirtualServices that delegate to it."""
ROUTES_TO: Final[Index[str]] = Index("routes to", (VirtualService,), _destinations)
"""By host, the VirtualServices that send to it."""
CLIENT_LABELS: Final[Index[tuple[str, str]]] = Index(
    "labels of clients", (DestinationRule,), _client_labels
)
"""Pairs of labels by which DestinationRules choose the clients that they are for."""
CREDENTIAL_RULES_IN: Final[Index[str]] = Index(
    "rules with credentials in", (DestinationRule,), _credential_rules
)
SIDECARS_IN: Final[Index[str]] = Index("sidecars in", (Sidecar,), _own_namespace)
RULES_AT_HOST: Final[Index[tuple[str, str]]] = Index(
    "destination rules at host", (DestinationRule,), _rule_host
)
GATEWAYS: Final[Index[str]] = Index("gateways", (Gateway,), _everywhere)
PEER_POLICIES_IN: Final[Index[str]] = Index(
    "peer authentications in", (PeerAuthentication,), _own_namespace
)
POLICIES_IN: Final[Index[str]] = Index(
    "authorization policies in", (AuthorizationPolicy,), _own_namespace
)
TOKEN_POLICIES_IN: Final[Index[str]] = Index(
    "request authentications in", (RequestAuthentication,), _own_namespace
)

ANALYSED: Final[Index[ObjectKey]] = Index(
    "analysed",
    (
        VirtualService,
        DestinationRule,
        Gateway,
        Service,
        ServiceEntry,
        PeerAuthentication,
        AuthorizationPolicy,
        RequestAuthentication,
        Sidecar,
    ),
    _itself,
)

_INDEXES: Final[tuple[Index[Any], ...]] = (
    SERVICES_AT_HOST,
    ALIASES_OF,
    SERVICES_AT_ADDRESS,
    WITHOUT_ADDRESS,
    WANTING_ADDRESS,
    BY_REQUEST,
    BYTES_AT,
    SERVICES_SELECTING,
    SLICES_OF,
    PODS_AT,
    PODS_IN,
    UNCAPTURED_IN,
    ENTRIES_WITH,
    LABELS_IN,
    FELLOWS,
    ROUTES_AT_HOST,
    HOSTS,
    ROUTES_AT_GATEWAY,
    SOURCE_LABELS,
    CLIENT_LABELS,
    CREDENTIAL_RULES_IN,
    ROOTS_OF,
    ROUTES_TO,
    SIDECARS_IN,
    RULES_AT_HOST,
    GATEWAYS,
    PEER_POLICIES_IN,
    POLICIES_IN,
    TOKEN_POLICIES_IN,
    ANALYSED,
)


class World:
    """All objects by key, and the indexes over them, as the memo's inputs."""

    def __init__(self, db: Database, mesh: MeshSettings) -> None:
        self._db = db
        self._mesh = mesh
        self._in_force = InForce(mesh)
        self._entries: dict[Index[Any], dict[Hashable, set[ObjectKey]]] = {i: {} for i in _INDEXES}
        db.commit([(SETTINGS, "", mesh)])

    @property
    def objects(self) -> Mapping[ObjectKey, Object]:
        """All objects that are in force, read-only by convention."""
        return self._in_force.objects

    def told(self, key: ObjectKey) -> Object | None:
        """Return an object as it was told last, whether it is in force or not."""
        return self._in_force.told(key)

    def commit(self, batch: Batch) -> int:
        """Take a batch in, and return the new revision."""
        cells: dict[tuple[Input[Any, Any], Hashable], object] = {}
        touched: set[tuple[Index[Any], Hashable]] = set()
        before = self._in_force.settings
        for key, (old, item) in self._in_force.take(batch.changes).items():
            cells[OBJECT, key] = item
            touched |= self._reindex(key, old, item)
        cells |= self._changed_entries(touched)
        if self._in_force.settings is not before:
            cells[SETTINGS, ""] = self._in_force.settings
        return self._db.commit((source, key, value) for (source, key), value in cells.items())

    def _reindex(
        self, key: ObjectKey, old: Object | None, new: Object | None
    ) -> set[tuple[Index[Any], Hashable]]:
        touched: set[tuple[Index[Any], Hashable]] = set()
        for index in _INDEXES:
            before, after = self._keys(index, old), self._keys(index, new)
            for gone in before - after:
                self._entries[index][gone].discard(key)
            for fresh in after - before:
                self._entries[index].setdefault(fresh, set()).add(key)
            touched |= {(index, entry) for entry in before ^ after}
        return touched

    def _keys(self, index: Index[Any], item: Object | None) -> frozenset[Hashable]:
        if not isinstance(item, index.kinds):
            return frozenset()
        return frozenset(index.keys_of(item, self._mesh))

    def _changed_entries(
        self, touched: set[tuple[Index[Any], Hashable]]
    ) -> dict[tuple[Input[Any, Any], Hashable], object]:
        cells: dict[tuple[Input[Any, Any], Hashable], object] = {}
        grown: set[Index[Any]] = set()
        for index, entry in touched:
            keys = self._entries[index].get(entry, set())
            was_there = bool(index.entries.default != self._db.peek(index.entries, entry))
            cells[index.entries, entry] = _in_order(keys)
            if not keys:
                del self._entries[index][entry]
            if was_there != bool(keys):
                grown.add(index)
        for index in grown:
            entries = self._entries[index]
            cells[index.keys, ""] = Lazy(partial(frozenset, entries)) if entries else None
        return cells


def _in_order(keys: set[ObjectKey]) -> tuple[ObjectKey, ...] | Lazy[tuple[ObjectKey, ...]]:
    if len(keys) <= _MANY:
        return tuple(sorted(keys))
    return Lazy(lambda: tuple(sorted(keys)))
