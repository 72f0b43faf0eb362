"""Endpoints: what the clients of a cluster have to know of each workload in it.

Those that are not ready are sent as unhealthy, unless ``minHealthPercent`` allows a panic, which would give
them traffic (Istio's default).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.ir import Endpoint, EndpointGroup, Health, LocalityGroup, Origins
from mizzen.model.families import Families
from mizzen.model.kube import Protocol, Service
from mizzen.model.meta import NO_LABELS, Labels, selects
from mizzen.model.place import Locality
from mizzen.model.traffic import ServiceEntry
from mizzen.names import ObjectKey, cluster_name, is_ip
from mizzen.resolve.instances import UNIX, Instance, instances, is_beside
from mizzen.resolve.peers import takes_mtls
from mizzen.resolve.world import OBJECT, SERVICES_AT_HOST

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.destination import LocalityLb, ZoneLb


@dataclass(frozen=True, slots=True, kw_only=True)
class EdsCluster:
    """What the endpoints of a cluster are made from.

    Attributes:
        labels: Those of the subset.
        ready_only: True leaves out endpoints that are not ready.
        families: The versions of IP that its clients have.
        names: Whether names are looked up; elsewhere only addresses and ``unix://`` are of use.
        passing: Whether it is for mutual TLS that goes through a router as it is: only of use are endpoints
            that take it, and its name is the server name.
        without: Addresses that are left out.
        locality: How its clients' places count; None where all clients use it alike.
        origins: The rules that say so.
    """

    service: ObjectKey
    host: str
    port: int
    subset: str = ""
    labels: Labels = NO_LABELS
    ready_only: bool = False
    families: Families = Families.V4
    names: bool = False
    passing: bool = False
    without: frozenset[str] = frozenset()
    locality: LocalityLb | ZoneLb | None = None
    origins: Origins = ()
    # Every place and every scope looks its clusters up.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        what = (self.service, self.host, self.port, self.subset, self.labels, self.ready_only)
        how = (self.families, self.names, self.locality, self.origins)
        object.__setattr__(self, "_hash", hash((*what, *how)))

    def __hash__(self) -> int:
        return self._hash


@query
def endpoint_group(db: Database, cluster: EdsCluster) -> EndpointGroup:
    """Return the endpoints of a cluster."""
    groups: dict[Locality, list[Endpoint]] = {}
    entries: set[ObjectKey] = set()
    for instance, endpoint in belonging(db, cluster):
        groups.setdefault(instance.locality, []).append(endpoint)
        entries |= set() if instance.entry is None else {instance.entry}
    return EndpointGroup(
        cluster=cluster_name(cluster.port, cluster.subset, cluster.host, passing=cluster.passing),
        groups=tuple(
            LocalityGroup(locality=locality, endpoints=tuple(groups[locality]))
            for locality in sorted(
                groups, key=lambda where: (where.region, where.zone, where.subzone)
            )
        ),
        origins=(cluster.service, *sorted(entries)),
    )


def belonging(db: Database, cluster: EdsCluster) -> Iterator[tuple[Instance, Endpoint]]:
    """Yield the workloads that are in a cluster, each with what clients have to know of it."""
    name = _port_name(db, cluster)
    for instance in instances(db, (cluster.service, cluster.host)):
        port = dict(instance.ports).get(name)
        addresses = instance.addresses_for(cluster.families)
        if port is not None and addresses and _belongs(cluster, instance):
            endpoint = _endpoint(db, instance, addresses, port)
            if endpoint.mtls or not cluster.passing:
                yield instance, endpoint


def _belongs(cluster: EdsCluster, instance: Instance) -> bool:
    if cluster.ready_only and instance.health is not Health.HEALTHY:
        return False
    address = instance.address
    if not address or address in cluster.without or not is_of_use(address, names=cluster.names):
        return False
    return selects(cluster.labels, instance.labels)


def is_of_use(address: str, *, names: bool) -> bool:
    """Tell whether a cluster takes an address: DNS takes no sockets, and only DNS takes names."""
    if address.startswith(UNIX):
        return not names
    return names or is_ip(address)


def _port_name(db: Database, cluster: EdsCluster) -> str:
    """Return the name of the cluster's port; empty where it has none or there is no such port.

    It may be one that another object gives the host. A UDP port may have the number of a TCP one (DNS).
    """
    beside = (k for k in SERVICES_AT_HOST(db, cluster.host) if is_beside(k, cluster.service))
    items = (OBJECT(db, key) for key in (cluster.service, *beside))
    named = (
        port.name
        for item in items
        if isinstance(item, Service | ServiceEntry)
        for port in item.ports
        if port.number == cluster.port and port.protocol is not Protocol.UDP
    )
    return next(named, "")


def takes_mtls_on(db: Database, instance: Instance, port: str) -> bool:
    """Tell whether a workload takes mutual TLS on what a service calls ``port``."""
    return _takes_mtls(db, instance, dict(instance.ports).get(port, 0))


def _endpoint(db: Database, instance: Instance, addresses: tuple[str, ...], port: int) -> Endpoint:
    return Endpoint(
        address=addresses[0],
        also=addresses[1:],
        port=port,
        weight=instance.weight,
        health=instance.health,
        mtls=_takes_mtls(db, instance, port),
    )


def _takes_mtls(db: Database, instance: Instance, port: int) -> bool:
    return instance.mtls_ready and takes_mtls(db, instance.namespace, instance.labels, port)
