"""What all objects have, and how objects select workloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NewType

from mizzen.names import DEFAULT_REGISTRY, ObjectKey, Registry

# Sorted (key, value) pairs: hashable, compared by value, and their order changes no byte.
Labels = NewType("Labels", tuple[tuple[str, str], ...])

NO_LABELS: Final = Labels(())


def labels(mapping: Mapping[str, str]) -> Labels:
    """Return labels in their canonical order."""
    return Labels(tuple(sorted(mapping.items())))


def label(of: Labels, key: str, default: str = "") -> str:
    """Return the value of one label."""
    for name, value in of:
        if name == key:
            return value
    return default


# What controllers, schedulers and injectors write on single workloads, or on some generations of them.
_INDIVIDUAL: Final = frozenset(
    (
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        "controller-revision-hash",
        "istio-locality",
        "istio.io/rev",
        "pod-template-generation",
        "pod-template-hash",
        "rollouts-pod-template-hash",
        "security.istio.io/tlsMode",
        "service.istio.io/canonical-name",
        "service.istio.io/canonical-revision",
        "statefulset.kubernetes.io/pod-name",
    )
)
_OF_PLACES: Final = "topology."


def shared_labels(of: Labels) -> Labels:
    """Return the labels that all workloads of one kind have, wherever they run."""
    return Labels(
        tuple(
            pair for pair in of if pair[0] not in _INDIVIDUAL and not pair[0].startswith(_OF_PLACES)
        )
    )


def selects(selector: Labels, of: Labels) -> bool:
    """Tell whether a workload's labels contain every pair of the selector; an empty one selects all."""
    return not selector or set(selector) <= set(of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The part of ``metadata`` that has meaning for a mesh.

    There is no resourceVersion, no generation, no managedFields and no status in it, so that equality
    means "same meaning".

    Attributes:
        created_s: Seconds since the epoch, 0 where there is none; the first key of "oldest wins".
    """

    kind: str
    namespace: str
    name: str
    labels: Labels = NO_LABELS
    annotations: Labels = NO_LABELS
    created_s: float = 0.0
    registry: Registry = DEFAULT_REGISTRY

    @property
    def key(self) -> ObjectKey:
        """The object's key."""
        return ObjectKey(self.registry, self.kind, self.namespace, self.name)

    @property
    def age_rank(self) -> tuple[float, str, str]:
        """Sort key of "oldest first": creation, then name, then namespace (Istio's tie-break)."""
        return (self.created_s, self.name, self.namespace)


# exportTo: which namespaces may see an object. ("*",) everyone, (".",) its own, ("~",) no one.
ExportTo = NewType("ExportTo", tuple[str, ...])

EXPORT_ALL: Final = ExportTo(("*",))
EXPORT_NONE: Final = ExportTo(("~",))


def visible_from(namespace: str, *, owner: str, export_to: ExportTo) -> bool:
    """Tell whether an object of namespace ``owner`` may influence proxies of ``namespace``."""
    return any(
        target in ("*", namespace) or (target == "." and owner == namespace) for target in export_to
    )
