"""From a manifest's raw mapping to a frozen value: one way for all kinds.

A kind is three things: a model, a check of what a schema cannot say, and a conversion. ``read``
puts them together: unknown and untranslated fields first, then the shape, then the checks; only an
object without errors is converted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import ValidationError

from mizzen.api.base import ApiModel
from mizzen.api.findings import Finding, Path, fatal, invalid, missing
from mizzen.api.meta import Manifest, to_meta
from mizzen.api.shape import nearest, shape_of, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic_core import ErrorDetails

    from mizzen.model.meta import Meta
    from mizzen.model.world import Object
    from mizzen.names import ObjectKey

M = TypeVar("M", bound=Manifest)
P = TypeVar("P", bound=ApiModel)

_TYPES: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS: Final = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "greater_than": ("more than", "gt"),
    "less_than": ("less than", "lt"),
}
_LENGTHS: Final = {
    "string_too_long": ("at most", "max_length", "characters"),
    "string_too_short": ("at least", "min_length", "characters"),
    "too_long": ("at most", "max_length", "items"),
    "too_short": ("at least", "min_length", "items"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of a manifest; ``object`` is None where a finding is an error."""

    object: Object | None
    findings: tuple[Finding, ...]


def read(
    raw: Mapping[str, object],
    key: ObjectKey,
    model: type[M],
    convert: Callable[[M, Meta], Object],
    check: Callable[[M], Iterable[Finding]] | None = None,
) -> Reading:
    """Return the object that a manifest means, with everything that is to be said of it."""
    manifest, findings = validated(raw, model)
    if manifest is None:
        return Reading(None, tuple(findings))
    if check is not None:
        findings += check(manifest)
    if fatal(findings):
        return Reading(None, tuple(findings))
    return Reading(convert(manifest, to_meta(manifest.metadata, key)), tuple(findings))


def validated(raw: Mapping[str, object], model: type[P]) -> tuple[P | None, list[Finding]]:
    """Return a part of a manifest, None where its shape is wrong, and what is said of its fields."""
    findings = list(walk(raw, shape_of(model)))
    try:
        return model.model_validate(raw), findings
    except ValidationError as error:
        return None, findings + [_finding(one) for one in error.errors(include_url=False)]


def _finding(detail: ErrorDetails) -> Finding:
    path: Path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["type"] == "missing":
        return missing(path, f"{path[-1]} is required")
    return invalid(path, *_message(detail))


def _message(detail: ErrorDetails) -> tuple[str, str]:
    """Return message and remedy in words of YAML, where pydantic's are Python's."""
    kind, value = detail["type"], detail["input"]
    if kind in _TYPES:
        remedy = f'Write it in quotes: "{value}".' if kind == "string_type" else ""
        return f"must be {_TYPES[kind]}, not {shown(value)}", remedy
    if kind == "literal_error":
        return _choice(value, str(detail["ctx"]["expected"]))
    if kind == "value_error":
        return str(detail["ctx"]["error"]), ""
    return _limit(detail), ""


def _limit(detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"must be {words} {_number(context[bound])}, not {shown(value)}"
    if kind in _LENGTHS:
        words, bound, unit = _LENGTHS[kind]
        return f"must have {words} {context[bound]} {unit}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, not {shown(value)}"
    return f"{detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _choice(value: object, expected: str) -> tuple[str, str]:
    choices = tuple(expected.replace("'", "").replace(" or ", ", ").split(", "))
    near = nearest(value, choices) if isinstance(value, str) else ""
    remedy = f"Write {near}." if near else ""
    return f"must be one of {', '.join(choices)}, not {shown(value)}", remedy


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def shown(value: object) -> str:
    """Return a value short enough for a message; containers only by their kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else _word(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)
