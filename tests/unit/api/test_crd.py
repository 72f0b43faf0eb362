"""What stands in ``crds/``, and that schemas and reader agree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen.api.crd import definitions
from mizzen.api.kinds import KINDS
from mizzen.api.parse import parse_object
from mizzen.diagnostics import Severity
from mizzen.model.world import Parsed
from tests.support.crd_files import expected, present
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.unit

_DEFINITIONS: Final = definitions()
_REFUSED: Final = list(
    yaml.safe_load_all((ROOT / "tests" / "support" / "refused.yaml").read_text())
)
# What a structural schema may hold (Kubernetes, «Specifying a structural schema»).
_WORDS: Final = frozenset(
    {
        "additionalProperties",
        "allOf",
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "not",
        "oneOf",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
# kubectl apply keeps the whole object in an annotation, and annotations have at most 256 KiB.
_ANNOTATION_BYTES: Final = 262_144


def test_the_files_are_what_the_models_say() -> None:
    """A model that changes changes its CustomResourceDefinition: run ``make crds``."""
    assert present() == expected()


def test_every_kind_that_is_no_kubernetes_kind_has_a_definition() -> None:
    """A kind joins by being modelled, with the versions that its reader serves."""
    read = {(kind.group, kind.name): kind.versions for kind in KINDS if "istio.io" in kind.group}
    defined = {
        (document["spec"]["group"], document["spec"]["names"]["kind"]): tuple(
            version["name"] for version in document["spec"]["versions"]
        )
        for document in _DEFINITIONS.values()
        if "istio.io" in document["spec"]["group"]
    }
    assert defined == read


@pytest.mark.parametrize("name", _DEFINITIONS)
def test_a_definition_fits_into_an_annotation(name: str) -> None:
    """Client-side ``kubectl apply`` works too."""
    assert len(json.dumps(_DEFINITIONS[name])) < _ANNOTATION_BYTES


@pytest.mark.parametrize("name", _DEFINITIONS)
def test_a_schema_is_structural_and_described(name: str) -> None:
    """Every field says what it is; nothing is in a schema that an API server does not know."""
    (schema, *others) = (
        version["schema"]["openAPIV3Schema"] for version in _DEFINITIONS[name]["spec"]["versions"]
    )
    assert all(other == schema for other in others)
    strange = [path for path, part in _parts(schema, "") if set(part) - _WORDS]
    silent = [
        path
        for path, part in _parts(schema, "")
        if not part.get("description") and not path.endswith(("[]", "{}")) and path
    ]
    typeless = [path for path, part in _parts(schema, "") if not _has_type(part)]
    assert (strange, silent, typeless) == ([], [], [])


def _has_type(part: dict[str, Any]) -> bool:
    return "type" in part or bool(part.get("x-kubernetes-int-or-string"))


def _parts(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from _parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from _parts(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _parts(schema["additionalProperties"], f"{path}{{}}")


@pytest.mark.parametrize("manifest", _REFUSED, ids=lambda one: one["metadata"]["name"])
def test_what_an_api_server_refuses_the_reader_refuses_too(manifest: dict[str, Any]) -> None:
    """Offline and before the operator is there the same manifests are wrong, at the same place."""
    parsed = parse_object(manifest)
    assert isinstance(parsed, Parsed)
    errors = [one.path for one in parsed.diagnostics if one.code.severity is Severity.ERROR]
    at = manifest["metadata"]["annotations"]["refused-at"]
    assert any(error.startswith(at) or at.startswith(error) for error in errors), errors
