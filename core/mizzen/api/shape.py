"""What fields a manifest has, taken from the models once, to find the unknown and the untranslated.

Both are found by walking the manifest as written beside the shape of its model, because pydantic
would tell of unknown fields only as an error, and of written fields only model by model. Parts of
which nothing can be said (an EndpointSlice's spec, say) are not walked at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Final, Union, get_args, get_origin

from mizzen.api.base import ApiModel, NotTranslated
from mizzen.api.findings import Finding, Path, untranslated
from mizzen.diagnostics import UNKNOWN_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic.fields import FieldInfo


_FOR_GOOD: Final = "Remove it: in Istio it has no effect either."


class _Holds(Enum):
    LEAF = "leaf"
    ONE = "one"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Slot:
    """A field of a shape: what it holds, and whether it is translated."""

    holds: _Holds
    child: Shape | None
    marker: NotTranslated | None


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one model by the names that manifests use."""

    title: str
    slots: Mapping[str, Slot]
    open: bool

    @property
    def telling(self) -> bool:
        """Whether walking can find anything: the model is closed, or a mark stands somewhere below."""
        return not self.open or any(_tells(slot) for slot in self.slots.values())


def _tells(slot: Slot) -> bool:
    return slot.marker is not None or (slot.child is not None and slot.child.telling)


@cache
def shape_of(model: type[ApiModel]) -> Shape:
    """Return the shape of a model; models that hold themselves do not exist here."""
    slots = {info.alias or name: _slot(info) for name, info in model.model_fields.items()}
    return Shape(title=model.__name__, slots=slots, open=model.OPEN)


def _slot(info: FieldInfo) -> Slot:
    marker = next((mark for mark in info.metadata if isinstance(mark, NotTranslated)), None)
    holds, child = _content(info.annotation)
    shape = shape_of(child) if child is not None else None
    return Slot(holds, shape if shape is not None and shape.telling else None, marker)


def _content(annotation: object) -> tuple[_Holds, type[ApiModel] | None]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _content(get_args(annotation)[0])
    if origin in (Union, UnionType):
        inner = [arg for arg in get_args(annotation) if arg is not NoneType]
        return _content(inner[0]) if len(inner) == 1 else (_Holds.LEAF, None)
    if origin is list:
        return _Holds.LIST, _content(get_args(annotation)[0])[1]
    if origin is dict:
        return _Holds.MAP, _content(get_args(annotation)[1])[1]
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return _Holds.ONE, annotation
    return _Holds.LEAF, None


def walk(
    raw: Mapping[str, object], shape: Shape, path: Path = (), *, marked: bool = False
) -> Iterator[Finding]:
    """Yield a finding for every unknown field and every untranslated one that is set.

    Below a field that is not translated as a whole only unknown fields are told of.
    """
    for key, value in raw.items():
        slot = shape.slots.get(key)
        if slot is None:
            if not shape.open:
                yield _unknown(key, shape, path)
            continue
        here = (*path, key)
        told = not marked and slot.marker is not None and slot.marker.concerns(value)
        if told and slot.marker is not None:
            yield _untranslated(here, value, slot.marker)
        if slot.child is not None:
            for step, part in _parts(value, slot.holds):
                if isinstance(part, dict):
                    yield from walk(part, slot.child, here + step, marked=marked or told)


def _untranslated(path: Path, value: object, marker: NotTranslated) -> Finding:
    written = f"{path[-1]} {value}" if marker.only else path[-1]
    if marker.for_good:
        return untranslated(path, f"{written} has no effect: {marker.reason}", _FOR_GOOD)
    return untranslated(path, f"{written} is not translated yet: {marker.reason}")


def _parts(value: object, holds: _Holds) -> Iterable[tuple[Path, object]]:
    """Return what a field holds, with the step to each; nothing where pydantic will refuse it."""
    if holds is _Holds.LIST and isinstance(value, list):
        return (((index,), item) for index, item in enumerate(value))
    if holds is _Holds.MAP and isinstance(value, dict):
        return (((key,), item) for key, item in value.items())
    return (((), value),) if holds is _Holds.ONE else ()


def _unknown(key: str, shape: Shape, path: Path) -> Finding:
    near = nearest(key, shape.slots)
    hint = f"; did you mean {near}?" if near else ""
    remedy = f"Write {near} instead." if near else ""
    message = f"{key} is not a field of {shape.title}{hint}"
    return Finding(UNKNOWN_FIELD, (*path, key), message, remedy)


def nearest(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return the known word that was most likely meant, empty where none is near."""
    plain = {name.lower(): name for name in known}
    found = get_close_matches(word.lower().replace("_", ""), plain, n=1)
    return plain[found[0]] if found else ""
