"""From a pydantic model to the structural schema that a CustomResourceDefinition holds.

pydantic writes JSON Schema; Kubernetes takes a part of OpenAPI 3.0 in which nothing is referenced,
``null`` is a word beside the type, and what several fields must keep is said in CEL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import override

from mizzen.api.base import ApiModel, NotTranslated
from mizzen.api.crd_forms import Rule, Words
from mizzen.api.crd_rules import FIELD_RULES, MAP_LISTS, RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import core_schema

# JSON's own types; a schema is nothing else.
Schema = dict[str, Any]

VALIDATIONS: Final = "x-kubernetes-validations"

# What OpenAPI 3.0 spells in another way, or what has no meaning to an API server.
_DROPPED: Final = ("title", "default", "$defs", "$ref", "anyOf", "const", "format")
_COMBINED: Final = frozenset(("oneOf", "anyOf", "not"))
# An API server counts in 64 bits with a sign.
_HIGHEST: Final = 2**63 - 1
_WRAPPED: Final = frozenset(("integer", "number", "boolean"))
_FORMATS: Final = frozenset(("date-time",))


def structural_schema(model: type[ApiModel]) -> Schema:
    """Return the schema of a model, with its rules; fields have the names of manifests."""
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _structural(schema, schema.get("$defs", {}))


class _Generator(GenerateJsonSchema):
    """Writes what the rules and marks of a model say into its schema."""

    @override
    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        written = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, ApiModel) and "properties" in written:
            _annotate(written, model)
        return written


def _annotate(written: Schema, model: type[ApiModel]) -> None:
    """Add a model's rules, and to its fields theirs and what is to be known of them."""
    _restrict(written, RULES.get(model, ()))
    for name, info in model.model_fields.items():
        field = info.alias or name
        part = written["properties"][field]
        part["description"] = _description(info.description or "", info.metadata)
        _restrict(part, FIELD_RULES.get((model, field), ()))
        if (model, field) in MAP_LISTS:
            part["x-kubernetes-list-type"] = "map"
            part["x-kubernetes-list-map-keys"] = list(MAP_LISTS[model, field])


def _restrict(part: Schema, rules: Iterable[Rule | Words]) -> None:
    """Add rules to a schema."""
    for rule in rules:
        if isinstance(rule, Rule):
            part.setdefault(VALIDATIONS, []).append(rule.as_schema())
            continue
        for name, value in rule.schema.items():
            if name == "each":
                holder = "items" if part.get("type") == "array" else "additionalProperties"
                part[holder] = {**part[holder], **value}
            elif name in _COMBINED:
                part.setdefault("allOf", []).append({name: value})
            else:
                part[name] = value


def _description(text: str, marks: Iterable[object]) -> str:
    mark = next((mark for mark in marks if isinstance(mark, NotTranslated)), None)
    if mark is None:
        return text
    of = f"{', '.join(map(str, mark.only))}: " if mark.only else ""
    return f"{text} Not translated yet: {of}{mark.reason}."


def _structural(schema: Schema, parts: Mapping[str, Schema]) -> Schema:
    """Return a schema in which every reference is replaced by what it refers to."""
    merged = _resolved(schema, parts)
    result = {name: value for name, value in merged.items() if name not in _DROPPED}
    if merged.get("format") in _FORMATS:
        result["format"] = merged["format"]
    if result.get("maximum", 0) > _HIGHEST:
        del result["maximum"]
    if "const" in merged:
        result["enum"] = [merged["const"]]
    if "properties" in merged:
        properties = merged["properties"].items()
        result["properties"] = {name: _structural(part, parts) for name, part in properties}
    for holder in ("items", "additionalProperties"):
        if isinstance(merged.get(holder), dict):
            result[holder] = _structural(merged[holder], parts)
    if merged.get("additionalProperties") is True:
        # Whatever stands there stays, however deep; said of the values it would hold for one level.
        del result["additionalProperties"]
        result["x-kubernetes-preserve-unknown-fields"] = True
    if "type" not in result:
        # A field of which nothing is known holds whatever stands there.
        result["x-kubernetes-preserve-unknown-fields"] = True
    return dict(sorted(result.items()))


def _resolved(schema: Schema, parts: Mapping[str, Schema]) -> Schema:
    """Return what a schema says with references and alternatives to ``null`` taken in.

    What stands beside a reference is nearer to its place and wins; rules of both hold.
    """
    if "$ref" in schema:
        return _joined(_resolved(parts[schema["$ref"].rpartition("/")[2]], parts), schema)
    if "anyOf" not in schema:
        return schema
    some = [part for part in schema["anyOf"] if part.get("type") != "null"]
    if len(some) != 1:
        raise TypeError(f"no structural schema says that a field is one of {some}")
    inner = _resolved(some[0], parts)
    if inner.get("type") in _WRAPPED:
        inner = {**inner, "nullable": True}  # protobuf's wrappers, as Istio's schemas have them
    return _joined(inner, schema)


def _joined(inner: Schema, outer: Schema) -> Schema:
    both = {**inner, **outer}
    rules = [*inner.get(VALIDATIONS, ()), *outer.get(VALIDATIONS, ())]
    return {**both, VALIDATIONS: rules} if rules else both
