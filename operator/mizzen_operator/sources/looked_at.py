"""Which namespaces of a cluster are looked at, so that nothing is kept of the others.

The compiler would leave out what stands in them anyway; here it is memory that is saved. Of a namespace that
is not looked at remains but its name, by which its objects are listed once it is.

Namespaces themselves and ConfigMaps are kept: pods are injected wherever they are, and need the roots.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.model.kube import ConfigMap, Namespace
from mizzen.model.meta import NO_LABELS, Labels
from mizzen.resolve.in_force import is_looked_at, settings_of

if TYPE_CHECKING:
    from mizzen.model.mesh import MeshSettings
    from mizzen.model.world import Object
    from mizzen.names import ObjectKey

ALWAYS_KEPT: Final = frozenset(("Namespace", "Node", "ConfigMap"))
"""Kinds of which no object is left out."""


class LookedAt:
    """Follows the labels of namespaces and the mesh's settings."""

    def __init__(self, mesh: MeshSettings) -> None:
        self._own = mesh
        self._mesh = mesh
        self._labels: dict[str, Labels] = {}
        self._configs: dict[ObjectKey, ConfigMap] = {}
        # Namespaces of which something was left out.
        self._left_out: set[str] = set()

    def note(self, key: ObjectKey, meaning: Object | None) -> bool:
        """Take in an object as it is now; tell whether other namespaces are looked at by it than before."""
        if key.kind == "Namespace":
            before = self._is_looked_at(key.name)
            self._labels.pop(key.name, None)
            if isinstance(meaning, Namespace):
                self._labels[key.name] = meaning.meta.labels
            return self._is_looked_at(key.name) != before
        if key.kind != "ConfigMap":
            return False
        self._configs.pop(key, None)
        if isinstance(meaning, ConfigMap) and meaning.mesh is not None:
            self._configs[key] = meaning
        asked = self._mesh.discovery
        self._mesh = settings_of(self._own, self._configs.get)
        return self._mesh.discovery != asked

    def leaves_out(self, key: ObjectKey) -> bool:
        """Tell whether nothing is to be kept of an object."""
        if not self._mesh.discovery or key.kind in ALWAYS_KEPT or self._is_looked_at(key.namespace):
            return False
        self._left_out.add(key.namespace)
        return True

    def wanted(self) -> frozenset[str]:
        """Return the namespaces of which something was left out that is to be kept now; each is told once."""
        found = frozenset(filter(self._is_looked_at, self._left_out))
        self._left_out -= found
        return found

    def _is_looked_at(self, namespace: str) -> bool:
        return is_looked_at(self._mesh, namespace, self._labels.get(namespace, NO_LABELS))
