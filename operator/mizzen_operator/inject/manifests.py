"""Injection of manifests offline: pods, and whatever makes pods from a template."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Final

import yaml
from typing_extensions import override

from mizzen.api.documents import split_documents
from mizzen_operator.inject import raw
from mizzen_operator.inject.decide import decide
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.raw import InjectionRefused

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings

# Kind -> where its pod is.
_TEMPLATES: Final = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Rollout": ("spec", "template"),
}

_ONE_LINE: Final = 1_000_000


def inject_text(text: str, settings: InjectSettings) -> tuple[str, tuple[str, ...]]:
    """Return a file with all its pods injected, and warnings; what has no pods stays as it is written.

    :class:`InjectionRefused` names the object; ``yaml.YAMLError`` where a document is none.
    """
    parts, warnings = [], []
    for document in split_documents(text):
        found = yaml.safe_load(document.text)
        injected, said = _inject(found, settings)
        warnings += said
        parts.append(_written(injected) if injected is not found else document.text.strip() + "\n")
    return "---\n".join(parts), tuple(warnings)


def pod_of(manifest: Json) -> Json | None:
    """Return the template of an object's pods as a pod that it will be; None where there is no template."""
    place = _TEMPLATES.get(str(manifest.get("kind")))
    pod = _at(manifest, place) if place else {}
    return _owned(pod, manifest) if pod else None


def _written(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=_ONE_LINE)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that the program in them can be read."""

    @override
    def represent_data(self, data: object) -> yaml.Node:
        if isinstance(data, str) and "\n" in data:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style="|")
        return super().represent_data(data)

    @override
    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: manifests are read by people, and by tools that know no anchors."""
        del data
        return True


def _inject(found: object, settings: InjectSettings) -> tuple[object, list[str]]:
    """Return an object with its pods injected, the same object where it has none to inject."""
    if not isinstance(found, dict):
        return found, []
    if found.get("kind") == "List" and isinstance(found.get("items"), list):
        done = [_inject(item, settings) for item in found["items"]]
        if all(new is old for (new, _), old in zip(done, found["items"], strict=True)):
            return found, []
        return found | {"items": [new for new, _ in done]}, [
            one for _, said in done for one in said
        ]
    return _inject_one(found, settings)


def _inject_one(manifest: Json, settings: InjectSettings) -> tuple[Json, list[str]]:
    place = _TEMPLATES.get(str(manifest.get("kind")))
    pod = manifest if not place else _at(manifest, place)
    if place is None or not pod:
        return manifest, []
    name = f"{manifest.get('kind')} {raw.metadata(manifest).get('name', '')}"
    owned = _owned(pod, manifest)
    if not decide(owned, settings).inject:
        return manifest, []
    try:
        done = inject_pod(owned, settings)
    except InjectionRefused as refused:
        raise InjectionRefused(f"{name}: {refused}") from refused
    warnings = [f"{name}: {warning}" for warning in done.warnings]
    return _replaced(manifest, place, _disowned(done.pod, pod)), warnings


def _at(manifest: Json, place: tuple[str, ...]) -> Json:
    for key in place:
        found = manifest.get(key)
        manifest = found if isinstance(found, dict) else {}
    return manifest


def _owned(pod: Json, manifest: Json) -> Json:
    """Return a template as the pod that it will be: in a namespace, and somebody's."""
    above = raw.metadata(manifest)
    metadata = dict(raw.metadata(pod))
    if namespace := above.get("namespace"):
        metadata.setdefault("namespace", namespace)
    if manifest is not pod:
        owner = {"kind": "Workload", "name": above.get("name", ""), "controller": True}
        metadata["ownerReferences"] = [owner]
    return pod | {"metadata": metadata}


def _disowned(done: Json, pod: Json) -> Json:
    """Return an injected template without what only helped to inject it."""
    metadata = dict(raw.metadata(done))
    for key in ("namespace", "ownerReferences"):
        if key not in raw.metadata(pod):
            metadata.pop(key, None)
    return done | {"metadata": metadata}


def _replaced(manifest: Json, place: tuple[str, ...], pod: Json) -> Json:
    if not place:
        return pod
    made = copy.copy(manifest)
    made[place[0]] = _replaced(manifest[place[0]], place[1:], pod)
    return made
