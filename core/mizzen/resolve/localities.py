"""Localities: which of a cluster's endpoints a client uses first, and how much each place gets.

``distribute`` gives places shares; else, where failing endpoints are detected, near ones come before far ones:
by their localities, or by labels, the first of which matters most (Istio: ``loadbalancer.go``). Where requests
keep to zones, only regions come one after the other; the rest is for Envoy to reckon. A rule's setting stands
for the mesh's as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import Endpoint, EndpointGroup, LocalityGroup
from mizzen.model.destination import LoadBalancer, LocalityLb, ZoneLb
from mizzen.model.kube import Distribution
from mizzen.model.meta import label
from mizzen.resolve.endpoints import EdsCluster, belonging, endpoint_group
from mizzen.resolve.instances import Instance
from mizzen.resolve.whereabouts import (
    NETWORK,
    NODE,
    REGION,
    SUBZONE,
    ZONE,
    parse_locality,
    with_place,
)
from mizzen.resolve.world import settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.destination import PortPolicy
    from mizzen.model.place import Locality, Whereabouts
    from mizzen.resolve.services import MeshService

# How many priorities localities alone can give, other regions than the one to fail over to included.
_PRIORITIES: Final = 5
# What another zone of the region has: all of the region, where the choice among zones is Envoy's.
_REGION: Final = 2
_ANY: Final = "*"
_UNSAID: Final = LoadBalancer()

_NEAR: Final = (NETWORK, REGION, ZONE)
# Labels that say who is near; PreferClose looks at parts of zones as well (Istio).
_BY_DISTRIBUTION: Final = {
    Distribution.SAME_ZONE: LocalityLb(failover_priority=_NEAR),
    Distribution.CLOSE: LocalityLb(failover_priority=(*_NEAR, SUBZONE)),
    Distribution.SAME_NODE: LocalityLb(failover_priority=(*_NEAR, SUBZONE, NODE)),
}


def locality_setting(
    db: Database, service: MeshService, policy: PortPolicy
) -> LocalityLb | ZoneLb | None:
    """Return how places count for a port, without what does not: None where they do not at all.

    A rule goes before the Service's own word, and that before the mesh's; zones go before localities. Nothing
    fails over without the detection of what fails, but by the Service's word, which is about endpoints that
    are ready (Istio).
    """
    balancer = policy.load_balancer or _UNSAID
    written, zones = balancer.locality, balancer.zones
    if zones is not None and zones.enabled:
        return zones
    if written is None and service.distribution is not None:
        return _BY_DISTRIBUTION[service.distribution]
    general = settings(db)
    if written is None and zones is None and general.zones is not None and general.zones.enabled:
        return general.zones
    setting = general.locality if written is None else written
    if not setting.enabled:
        return None
    if setting.distribute:
        return replace(setting, failover=(), failover_priority=())
    return setting if policy.outlier_detection is not None else None


def is_weighted(setting: LocalityLb | ZoneLb | None) -> bool:
    """Tell whether places have weights ahead of the choice within them."""
    return isinstance(setting, LocalityLb) and bool(
        setting.distribute or setting.failover or setting.failover_priority
    )


def priority_labels(setting: LocalityLb | ZoneLb) -> frozenset[str]:
    """Return the names of labels of clients that a setting asks for."""
    return frozenset(name for name, value in _wanted(setting) if value is None)


@query
def placed_group(db: Database, key: tuple[EdsCluster, Whereabouts]) -> EndpointGroup:
    """Return the endpoints of a cluster as a client at a place is to use them."""
    cluster, where = key
    group = endpoint_group(db, replace(cluster, locality=None, origins=()))
    setting = cluster.locality
    if setting is None:
        return group
    if isinstance(setting, ZoneLb):
        groups = _by_region(db, cluster, where, setting, group.groups)
    elif setting.distribute:
        groups = _distributed(group.groups, where.locality, setting)
    else:
        groups = _by_failover(db, cluster, where, group.groups)
    origins = tuple(dict.fromkeys((*group.origins, *cluster.origins)))
    return replace(group, groups=groups, origins=origins)


# Shares


def _distributed(
    groups: tuple[LocalityGroup, ...], client: Locality, setting: LocalityLb
) -> tuple[LocalityGroup, ...]:
    """Return the groups with the shares that are written for a client; others get nothing.

    The first entry for the client's locality counts; a place belongs to the first pattern that it has.
    """
    shares = next((to for of, to in setting.distribute if _is_in(client, of)), None)
    if shares is None:
        return groups
    found: dict[str, list[LocalityGroup]] = {}
    for group in groups:
        pattern = next((one for one, _ in shares if _is_in(group.locality, one)), None)
        if pattern is not None:
            found.setdefault(pattern, []).append(group)
    weights = {
        group.locality: weight
        for pattern, share in shares
        for group, weight in _split(found.get(pattern, []), share)
    }
    return tuple(
        replace(group, weight=weights[group.locality])
        for group in groups
        if weights.get(group.locality)
    )


def _split(groups: list[LocalityGroup], share: int) -> Iterator[tuple[LocalityGroup, int]]:
    """Yield what each of the places gets of one share: as much as its endpoints weigh, rounded up."""
    sizes = [sum(endpoint.weight for endpoint in group.endpoints) for group in groups]
    total = sum(sizes)
    for group, size in zip(groups, sizes, strict=True):
        yield group, -(-size * share // total)


def _is_in(locality: Locality, pattern: str) -> bool:
    """Tell whether a locality has a pattern: ``region/zone/subzone``, of which each may be ``*``."""
    wanted = parse_locality(pattern)
    return (
        wanted.region in (_ANY, locality.region)
        and wanted.zone in (_ANY, "", locality.zone)
        and wanted.subzone in (_ANY, "", locality.subzone)
    )


# Failover


def _by_failover(
    db: Database, cluster: EdsCluster, where: Whereabouts, groups: tuple[LocalityGroup, ...]
) -> tuple[LocalityGroup, ...]:
    setting = cluster.locality
    if setting is None or not setting.failover_priority:
        return _by_locality(groups, where.locality, setting.failover if setting else ())
    split = _compact(tuple(_by_labels(db, cluster, where, setting)))
    if not setting.failover:
        return split
    return _by_locality(split, where.locality, setting.failover)


def _by_region(
    db: Database,
    cluster: EdsCluster,
    where: Whereabouts,
    setting: ZoneLb,
    groups: tuple[LocalityGroup, ...],
) -> tuple[LocalityGroup, ...]:
    """Return the groups, those of the client's region first, by the names by which its Envoy finds its own."""
    if setting.failover_priority:
        groups = tuple(_by_labels(db, cluster, where, setting))
    ranked = _by_locality(groups, where.locality, setting.failover, _REGION)
    return tuple(replace(one, locality=where.as_called(one.locality)) for one in ranked)


def _by_locality(
    groups: tuple[LocalityGroup, ...],
    client: Locality,
    failover: tuple[tuple[str, str], ...],
    nearest: int = 0,
) -> tuple[LocalityGroup, ...]:
    """Return the groups, those next to the client first; what labels say goes before that.

    What is nearer than ``nearest`` is all alike.
    """
    next_region = dict(reversed(failover)).get(client.region)
    return _compact(
        tuple(
            replace(
                group,
                priority=group.priority * _PRIORITIES
                + max(_distance(client, group.locality, next_region), nearest),
            )
            for group in groups
        )
    )


def _distance(client: Locality, other: Locality, next_region: str | None) -> int:
    """Return 0 for the same place, 1 for the same zone, 2 for the region, 3 and 4 for other regions."""
    if client.region != other.region:
        return 3 if next_region in (None, other.region) else 4
    if client.zone != other.zone:
        return 2
    return int(client.subzone != other.subzone)


def _by_labels(
    db: Database, cluster: EdsCluster, where: Whereabouts, setting: LocalityLb | ZoneLb
) -> Iterator[LocalityGroup]:
    """Yield groups by locality and by how many labels, from the first on, endpoints share with the client."""
    own = dict(where.labels)
    wanted = [
        (name, own.get(name, "") if value is None else value) for name, value in _wanted(setting)
    ]
    found: dict[tuple[Locality, int], list[Endpoint]] = {}
    for instance, endpoint in belonging(db, cluster):
        key = instance.locality, _mismatch(instance, wanted)
        found.setdefault(key, []).append(endpoint)
    for locality, priority in sorted(found, key=_group_order):
        endpoints = tuple(found[locality, priority])
        yield LocalityGroup(locality=locality, endpoints=endpoints, priority=priority)


def _group_order(key: tuple[Locality, int]) -> tuple[str, str, str, int]:
    where, priority = key
    return where.region, where.zone, where.subzone, priority


def _wanted(setting: LocalityLb | ZoneLb) -> Iterator[tuple[str, str | None]]:
    """Yield names of labels with the value that is wanted; None is the client's own."""
    for text in setting.failover_priority:
        name, equals, value = text.partition("=")
        yield name, value if equals else None


def _mismatch(instance: Instance, wanted: list[tuple[str, str]]) -> int:
    """Return 0 where an endpoint has all labels, else the more, the earlier the first that it lacks stands."""
    labels = with_place(instance.labels, instance.locality, instance.node)
    for index, (name, value) in enumerate(wanted):
        if label(labels, name) != value:
            return len(wanted) - index
    return 0


def _compact(groups: tuple[LocalityGroup, ...]) -> tuple[LocalityGroup, ...]:
    """Return the groups with priorities from 0 on without gaps, which Envoy demands."""
    ranks: Mapping[int, int] = {
        priority: rank for rank, priority in enumerate(sorted({group.priority for group in groups}))
    }
    return tuple(replace(group, priority=ranks[group.priority]) for group in groups)
