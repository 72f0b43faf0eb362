"""What of that which the sources tell is in force: the objects of the namespaces that the mesh looks at.

Namespaces that no ``discoverySelectors`` selects are not there, with everything in them. So nothing after
this module ever asks whether an object may be looked at: it is in force, or there is none. Likewise what says
nothing of who sees it is in force as if it said what the mesh says of such objects.

The root namespace is always looked at, since what stands there is said to the whole mesh, and so is the one
with the mesh's own settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from mizzen.model.kube import ConfigMap, Namespace, Service
from mizzen.model.mesh import MESH_CONFIG_MAPS, MeshSettings
from mizzen.model.meta import NO_LABELS, ExportTo, Labels
from mizzen.model.routing import VirtualService
from mizzen.model.traffic import DestinationRule, ServiceEntry
from mizzen.model.world import Object
from mizzen.names import DEFAULT_REGISTRY, ObjectKey, Registry

Changes = Mapping[ObjectKey, Object | None]
# A namespace of one registry.
_Place = tuple[Registry, str]

_CONFIG_MAP: Final = "ConfigMap"
_NAMESPACE: Final = "Namespace"
# What an API server says of every namespace, and nobody needs to write in a folder.
_NAME_LABEL: Final = "kubernetes.io/metadata.name"


def settings_of(own: MeshSettings, look: Callable[[ObjectKey], object]) -> MeshSettings:
    """Return the settings that hold: those of the first ConfigMap that has some, over the process's."""
    namespace = own.config_namespace or own.root_namespace
    for name in MESH_CONFIG_MAPS:
        item = look(ObjectKey(DEFAULT_REGISTRY, _CONFIG_MAP, namespace, name))
        if isinstance(item, ConfigMap) and item.mesh is not None:
            return item.mesh.over(own)
    return own


def is_looked_at(mesh: MeshSettings, namespace: str, own: Labels) -> bool:
    """Tell whether the objects of a namespace with labels of its own are in force."""
    if not mesh.discovery or namespace in ("", mesh.root_namespace, mesh.config_namespace):
        return True
    labels = {_NAME_LABEL: namespace, **dict(own)}
    return any(selector.selects(labels) for selector in mesh.discovery)


def default_export(item: Object, mesh: MeshSettings) -> ExportTo | None:
    """Return who sees an object by the mesh's word; None where it says so itself, or nobody asks."""
    match item:
        case Service(export_unsaid=True) | ServiceEntry(export_unsaid=True):
            return mesh.service_export
        case VirtualService(export_unsaid=True):
            return mesh.route_export
        case DestinationRule(export_unsaid=True):
            return mesh.rule_export
        case _:
            return None


def _as_exported(item: Object, mesh: MeshSettings) -> Object:
    exported = default_export(item, mesh)
    if exported is None or not isinstance(
        item, Service | ServiceEntry | VirtualService | DestinationRule
    ):
        return item
    return item if item.export_to == exported else replace(item, export_to=exported)


class InForce:
    """All objects as they are in force, and the settings of the mesh.

    What is told and in force otherwise, or not at all, is kept apart, so that a change of settings or of
    a namespace's labels can put it in force.
    """

    def __init__(self, mesh: MeshSettings) -> None:
        self._own = mesh
        self.settings = mesh
        self.objects: dict[ObjectKey, Object] = {}
        self._apart: dict[ObjectKey, Object] = {}

    def told(self, key: ObjectKey) -> Object | None:
        """Return an object as it was told last, whether it is in force or not."""
        apart = self._apart.get(key)
        return self.objects.get(key) if apart is None else apart

    def take(self, changes: Changes) -> dict[ObjectKey, tuple[Object | None, Object | None]]:
        """Take in what is told; return what that changes of what is in force, as (before, now)."""
        before, places = (
            self.settings,
            {(key.registry, key.name) for key in _of(changes, _NAMESPACE)},
        )
        seen = {place: self._is_seen(place, {}) for place in places}
        if next(_of(changes, _CONFIG_MAP), None) is not None:
            self.settings = settings_of(
                self._own, lambda key: changes[key] if key in changes else self.objects.get(key)
            )
        turned = {place for place in places if self._is_seen(place, changes) != seen[place]}
        everything = _decisive(before) != _decisive(self.settings)
        again = self._keys(turned, everything=everything) if turned or everything else ()
        found: dict[ObjectKey, tuple[Object | None, Object | None]] = {}
        for key in dict.fromkeys((*changes, *again)):
            told = changes[key] if key in changes else self.told(key)
            was, now = self.objects.get(key), self._meant(key, told, changes)
            self._put(key, told, now)
            if was != now:
                found[key] = (was, now)
        return found

    def _meant(self, key: ObjectKey, told: Object | None, changes: Changes) -> Object | None:
        if told is None or not self._is_seen((key.registry, key.namespace), changes):
            return None
        return _as_exported(told, self.settings)

    def _put(self, key: ObjectKey, told: Object | None, now: Object | None) -> None:
        if now is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = now
        if told is None or told is now:
            self._apart.pop(key, None)
        else:
            self._apart[key] = told

    def _is_seen(self, place: _Place, changes: Changes) -> bool:
        """Tell whether the objects of a namespace are in force, once the changes are in."""
        registry, name = place
        if not self.settings.discovery:
            return True
        key = ObjectKey(registry, _NAMESPACE, "", name)
        found = changes[key] if key in changes else self.objects.get(key)
        labels = found.meta.labels if isinstance(found, Namespace) else NO_LABELS
        return is_looked_at(self.settings, name, labels)

    def _keys(self, places: set[_Place], *, everything: bool) -> list[ObjectKey]:
        """Return the objects of some namespaces, or all."""
        known = (*self.objects, *(key for key in self._apart if key not in self.objects))
        return [key for key in known if everything or (key.registry, key.namespace) in places]


def _of(changes: Changes, kind: str) -> Iterator[ObjectKey]:
    return (key for key in changes if key.kind == kind)


def _decisive(mesh: MeshSettings) -> tuple[object, ...]:
    """Return that of the settings which decides what is in force."""
    return (mesh.discovery, mesh.service_export, mesh.route_export, mesh.rule_export)
