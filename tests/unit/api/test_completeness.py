"""Every field of every kind is consumed, or says that it is not."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Final

import pytest

from mizzen.api.documents import split_documents
from mizzen.api.findings import render_path
from mizzen.api.kinds import KINDS
from mizzen.api.parse import parse_object
from mizzen.api.yaml_tree import read_tree
from mizzen.diagnostics import NOT_TRANSLATED
from mizzen.model.world import Parsed
from tests.support.models import MODELS
from tests.unit.api.fields import Place, all_fields, places, translated_fields
from tests.unit.api.reading import MANIFESTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.api.findings import Path
    from mizzen.api.meta import Manifest

pytestmark = pytest.mark.unit

# Known by name so that they are not called unknown; the API server's, without meaning for a mesh.
_WITHOUT_MEANING: Final = (
    {
        ("ObjectMeta", name)
        for name in (
            "generate_name",
            "uid",
            "resource_version",
            "generation",
            "deletion_timestamp",
            "deletion_grace_period_seconds",
            "owner_references",
            "finalizers",
            "managed_fields",
            "self_link",
        )
    }
    | {("SidecarPort", "name")}
    | {(model.__name__, "status") for model in MODELS.values() if model is not MODELS["Pod"]}
)


# In Istio's schema to be refused where it is set.
_NEVER_ALLOWED: Final = {("PolicyTargetReference", "namespace"), ("SidecarPort", "target_port")}


def _manifests() -> Iterator[dict[str, object]]:
    for file in sorted(MANIFESTS.glob("*.yaml")):
        for document in split_documents(file.read_text()):
            tree = read_tree(document.text)
            assert tree is not None
            assert isinstance(tree.value, dict)
            yield tree.value


def _places(raw: dict[str, object]) -> list[Place]:
    return list(places(raw, MODELS[str(raw["kind"])]))


def _without(raw: dict[str, object], path: Path) -> dict[str, object]:
    changed = deepcopy(raw)
    node: object = changed
    for step in path[:-1]:
        assert isinstance(node, dict | list)
        node = node[step]  # type: ignore[index]  # a step is of its container's kind
    assert isinstance(node, dict)
    del node[path[-1]]
    return changed


def _parsed(raw: dict[str, object]) -> Parsed:
    parsed = parse_object(raw)
    assert isinstance(parsed, Parsed)
    return parsed


def test_every_kind_is_looked_at() -> None:
    """The table of models has all kinds that are read."""
    assert set(MODELS) == {kind.name for kind in KINDS}
    assert {str(raw["kind"]) for raw in _manifests()} == set(MODELS)


def test_the_manifests_set_every_field() -> None:
    """So that the tests below speak of all of them."""
    known = {field for model in MODELS.values() for field in all_fields(model)}
    written = {place.field for raw in _manifests() for place in _places(raw)}
    assert known - written - _WITHOUT_MEANING - _NEVER_ALLOWED == set()


def test_every_field_is_consumed_or_marked() -> None:
    """Of a field that is not marked, leaving it out changes the value somewhere."""
    consumed = {
        place.field
        for raw in _manifests()
        for place in _places(raw)
        if not place.below_a_mark and _counts(raw, place)
    }
    translated = {field for model in MODELS.values() for field in translated_fields(model)}
    assert translated - consumed - _WITHOUT_MEANING - _NEVER_ALLOWED == set()


def _counts(raw: dict[str, object], place: Place) -> bool:
    changed = parse_object(_without(raw, place.path))
    return not isinstance(changed, Parsed) or changed.object != _parsed(raw).object


def test_a_marked_field_is_told_of_wherever_it_is_set() -> None:
    """Silence is a defect."""
    for raw in _manifests():
        told = {each.path for each in _parsed(raw).diagnostics if each.code is NOT_TRANSLATED}
        for place in _places(raw):
            if place.marker is not None and place.marker.concerns(place.value):
                assert place.below_a_mark or render_path(place.path) in told


def test_a_marked_field_has_no_effect_but_safety() -> None:
    """Leaving it out changes no value but where its rule or object was out of force for it."""
    safe = {"workloadSelector", "delegate", "prefixRewrite", "action", "targetRef", "targetRefs"}
    consumed = {"resolution", "mode", "network", "protocol"}
    for raw in _manifests():
        for place in _places(raw):
            if place.marker is None or place.below_a_mark or place.path[-1] in safe | consumed:
                continue
            changed = _parsed(_without(raw, place.path))
            assert changed.object in (None, _parsed(raw).object), place.path


@pytest.mark.parametrize(
    "model",
    sorted(set(MODELS.values()), key=str),
    ids=lambda model: model.__name__,
)
def test_a_model_describes_itself(model: type[Manifest]) -> None:
    """The CRDs are made from it: every field has a description, and names are those of manifests."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    for name, part in definitions.items():
        assert part["description"], name
        if name == "ObjectMeta":
            continue
        for field, described in part["properties"].items():
            assert described.get("description"), f"{name}.{field}"
            assert "_" not in field
