"""Pods that should have a sidecar and have none: the webhook was down, or the label came after the pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen.model.kube import Namespace, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey


class Uninjected:
    """Follows pods and namespaces; ``wants`` tells of a pod without a sidecar whether one is due."""

    def __init__(self, wants: Callable[[dict[str, Any], Mapping[str, str]], bool]) -> None:
        self._wants = wants
        self._labels: dict[str, dict[str, str]] = {}
        self._found: dict[ObjectKey, Pod] = {}
        # Pods of each namespace that no label makes a member: a label that comes later makes them one.
        self._outside: dict[str, dict[ObjectKey, Pod]] = {}

    def take_batch(self, batch: Batch) -> None:
        """Take note of pods and namespaces that came, changed and went."""
        relabelled = {
            ns for key, item in batch.changes.items() for ns in self._namespace(key, item)
        }
        for key, item in batch.changes.items():
            if key.kind == "Pod":
                self._pod(key, item if isinstance(item, Pod) else None)
        for namespace in relabelled:
            known = {**self._outside.get(namespace, {}), **self._of(namespace)}
            for key, pod in known.items():
                self._pod(key, pod)

    def names(self) -> tuple[str, ...]:
        """Return the pods, ``namespace/name``, in order."""
        return tuple(f"{key.namespace}/{key.name}" for key in sorted(self._found))

    def keys(self) -> tuple[ObjectKey, ...]:
        """Return the pods' keys, in order."""
        return tuple(sorted(self._found))

    def _namespace(self, key: ObjectKey, item: Object | None) -> tuple[str, ...]:
        """Take note of a namespace; return its name where its labels are others now."""
        if key.kind != "Namespace":
            return ()
        labels = dict(item.meta.labels) if isinstance(item, Namespace) else {}
        if labels == self._labels.get(key.name, {}):
            return ()
        self._labels[key.name] = labels
        return (key.name,)

    def _pod(self, key: ObjectKey, pod: Pod | None) -> None:
        self._found.pop(key, None)
        outside = self._outside.setdefault(key.namespace, {})
        outside.pop(key, None)
        if pod is None:
            return
        if self._wants(_raw(pod), self._labels.get(key.namespace, {})):
            self._found[key] = pod
        else:
            outside[key] = pod

    def _of(self, namespace: str) -> dict[ObjectKey, Pod]:
        return {key: pod for key, pod in self._found.items() if key.namespace == namespace}


def _raw(pod: Pod) -> dict[str, Any]:
    return {
        "metadata": {
            "name": pod.meta.name,
            "namespace": pod.meta.namespace,
            "labels": dict(pod.meta.labels),
            "annotations": dict(pod.meta.annotations),
        },
        "spec": {"hostNetwork": pod.host_network},
    }
