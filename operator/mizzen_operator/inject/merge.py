"""Lays one piece of a pod over another, as Kubernetes' strategic merge patch does.

Objects are merged field by field. Of the lists, those whose entries have a name are merged entry by entry,
and all others are replaced.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

# List -> the field by which an entry is known (``patchMergeKey`` in core/v1).
_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}


def overlaid(base: Json, overlay: Json) -> Json:
    """Return the base with the overlay on it; neither is changed, and new entries of lists come last."""
    merged = dict(base)
    for key, value in overlay.items():
        merged[key] = _value(key, base.get(key), value)
    return merged


def _value(field: str, base: object, overlay: object) -> object:
    if isinstance(base, dict) and isinstance(overlay, dict):
        return overlaid(base, overlay)
    if isinstance(base, list) and isinstance(overlay, list) and (key := _KEYS.get(field)):
        return _entries(base, overlay, key)
    return overlay


def _entries(base: list[Json], overlay: list[Json], key: str) -> list[Json]:
    merged = list(base)
    places = {entry.get(key): place for place, entry in enumerate(base)}
    for entry in overlay:
        place = places.get(entry.get(key))
        if place is None:
            merged.append(entry)
        else:
            merged[place] = overlaid(merged[place], entry)
    return merged
