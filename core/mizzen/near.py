"""Which hosts of a scope have endpoints that depend on where their client is, and on what of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mizzen.model.destination import ZoneLb
from mizzen.resolve.localities import priority_labels

if TYPE_CHECKING:
    from mizzen.resolve.endpoints import EdsCluster


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Near:
    """The hosts whose endpoints depend on places, with the names of the clients' labels that count.

    ``zones`` are those for which clients stay in their zones.
    """

    keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    zones: frozenset[str] = frozenset()

    def with_changes(self, changes: Mapping[str, tuple[EdsCluster, ...]]) -> Near:
        """Return it with other clusters for some hosts; the very same where that makes no difference.

        The clusters of a host are those whose endpoints depend on places.
        """
        before = {host: self.keys.get(host) for host in changes}
        after = {host: _asked_of_clients(found) for host, found in changes.items()}
        keeping = frozenset(host for host, found in changes.items() if _keeps_to_zones(found))
        zones = self.zones.difference(changes) | keeping
        if before == after and zones == self.zones:
            return self
        keys = {**self.keys, **after}
        known = {host: names for host, names in keys.items() if names is not None}
        return Near(keys=known, zones=zones)


NOTHING_NEAR: Final = Near()


def _asked_of_clients(clusters: tuple[EdsCluster, ...]) -> frozenset[str] | None:
    """Return the names of labels that endpoints depend on besides the place; None where on neither."""
    if not clusters:
        return None
    return frozenset().union(*(priority_labels(one.locality) for one in clusters if one.locality))


def _keeps_to_zones(clusters: tuple[EdsCluster, ...]) -> bool:
    return any(isinstance(one.locality, ZoneLb) for one in clusters)
