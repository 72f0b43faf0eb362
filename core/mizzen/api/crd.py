"""The CustomResourceDefinitions of the mesh, from the models that read the manifests.

``crds/`` is written from here (``make crds``). A kind joins by being modelled and by an entry in
``crd_kinds``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from mizzen.api.crd_kinds import CUSTOM_KINDS, Column, CustomKind
from mizzen.api.crd_schema import Schema, structural_schema

if TYPE_CHECKING:
    from mizzen.api.base import ApiModel

_HEAD: Final = (
    "# Written by `make crds` from the models in core/mizzen/api; never edited by hand.\n"
)

_LIVE: Final = Column(
    name="Live",
    path='.status.conditions[?(@.type=="Live")].status',
    description="Whether it is in force on every proxy that it concerns.",
)
_AGE: Final = Column(
    name="Age",
    path=".metadata.creationTimestamp",
    description="How long it has existed.",
    type="date",
)

_TEXT: Final[Schema] = {"type": "string"}
_GENERATION: Final[Schema] = {
    # Istio's clients write it as protobuf's JSON does, in quotes.
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "description": "The generation of the object that this is said of.",
    "x-kubernetes-int-or-string": True,
}
_CONDITION: Final[Schema] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {**_TEXT, "description": "What it is about."},
        "status": {**_TEXT, "description": "True, False or Unknown."},
        "reason": {**_TEXT, "description": "Why, in one word for programs."},
        "message": {**_TEXT, "description": "Why, and what to do, for people."},
        "observedGeneration": _GENERATION,
        "lastTransitionTime": {
            **_TEXT,
            "format": "date-time",
            "description": "When its status changed last.",
        },
        "lastProbeTime": {
            **_TEXT,
            "format": "date-time",
            "description": "When it was looked at last.",
        },
    },
}
_CONDITIONS: Final[Schema] = {
    "type": "array",
    "description": "Whether it is accepted, programmed and live.",
    "items": _CONDITION,
    # Whoever writes a condition owns that one and leaves the others' alone.
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}


def definitions() -> dict[str, Schema]:
    """Return every CustomResourceDefinition by its name."""
    return {kind.crd_name: definition(kind) for kind in CUSTOM_KINDS}


def manifest(document: Schema) -> str:
    """Return a definition as the file in ``crds/`` holds it."""
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return _HEAD + text


class _Dumper(yaml.SafeDumper):
    """Writes everything where it stands: no API server knows anchors."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def definition(kind: CustomKind) -> Schema:
    """Return the CustomResourceDefinition of a kind; its versions share one schema."""
    root = _root(kind)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.crd_name,
            "labels": {"app.kubernetes.io/part-of": "mizzen"},
        },
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                **({"shortNames": [kind.short]} if kind.short else {}),
                "categories": list(kind.categories),
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind, version, root) for version in kind.versions],
        },
    }


def _version(kind: CustomKind, version: str, root: Schema) -> Schema:
    live = (_LIVE,) if kind.spec is not None else ()
    return {
        "name": version,
        "served": True,
        "storage": version == kind.versions[0],
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.as_schema() for column in (*kind.columns, *live, _AGE)],
        "schema": {"openAPIV3Schema": root},
    }


def _root(kind: CustomKind) -> Schema:
    spec, is_required = _spec(kind)
    return {
        "type": "object",
        "description": kind.description,
        **({"required": ["spec"]} if is_required else {}),
        "properties": {"spec": spec, "status": _status(kind.status)},
    }


def _spec(kind: CustomKind) -> tuple[Schema, bool]:
    if kind.spec is None:
        return {"type": "object", "description": "Nothing is set here."}, False
    whole = structural_schema(kind.spec)
    return whole["properties"]["spec"], "spec" in whole["required"]


def _status(model: type[ApiModel] | None) -> Schema:
    own = structural_schema(model)["properties"] if model is not None else {}
    return {
        "type": "object",
        "description": "What the control plane says of it; written by nobody else.",
        "properties": {
            "conditions": _CONDITIONS,
            "observedGeneration": _GENERATION,
            **own,
        },
        # Objects that Istio has written its status to are read and kept as they are.
        "x-kubernetes-preserve-unknown-fields": True,
    }
