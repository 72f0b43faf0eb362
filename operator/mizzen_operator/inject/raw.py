"""Pods as they come in and go out: JSON, for this package is the edge at which they are edited.

A pod has hundreds of fields, nearly all of which injection hands on untouched, also those that are newer
than Mizzen. So nothing here models a pod; helpers read what is looked at and take care of what is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]  # any field of any version of Kubernetes
"""An object of the Kubernetes API."""


class InjectionRefused(Exception):
    """A pod asks for what cannot be given; the message says what to correct."""


def metadata(pod: Json) -> Json:
    """Return an object's metadata, empty where it has none."""
    return pod.get("metadata") or {}


def labels_of(pod: Json) -> dict[str, str]:
    """Return an object's labels."""
    return metadata(pod).get("labels") or {}


def annotations_of(pod: Json) -> dict[str, str]:
    """Return an object's annotations."""
    return metadata(pod).get("annotations") or {}


def spec(pod: Json) -> Json:
    """Return a pod's spec."""
    return pod.get("spec") or {}


def containers(pod: Json) -> list[Json]:
    """Return a pod's ordinary containers."""
    return spec(pod).get("containers") or []


def init_containers(pod: Json) -> list[Json]:
    """Return a pod's init containers, native sidecars included."""
    return spec(pod).get("initContainers") or []


def lasting_containers(pod: Json) -> Iterator[Json]:
    """Yield the containers that run as long as the pod does: ordinary ones and native sidecars."""
    yield from (one for one in init_containers(pod) if one.get("restartPolicy") == "Always")
    yield from containers(pod)


def is_service(pod: Json) -> bool:
    """Tell whether a pod runs until it is ended, as opposed to the task of a Job."""
    return bool(spec(pod).get("restartPolicy", "Always") == "Always")
