"""The fields of the models, found by introspection, and where manifests set them."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Union, get_args, get_origin

from mizzen.api.base import ApiModel, NotTranslated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic.fields import FieldInfo

    from mizzen.api.findings import Path


@dataclass(frozen=True)
class Place:
    """A field that a manifest sets: where, which field of which model, and whether it is marked."""

    path: Path
    field: tuple[str, str]
    value: object
    marker: NotTranslated | None
    below_a_mark: bool


def mark(info: FieldInfo) -> NotTranslated | None:
    """Return the mark of a field."""
    return next((each for each in info.metadata if isinstance(each, NotTranslated)), None)


def child(annotation: object) -> type[ApiModel] | None:
    """Return the model that a field holds, by itself, in a list or in a map."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, ApiModel) else None
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return child(inner[0])
    if get_origin(annotation) in (Union, UnionType):
        models = [child(each) for each in inner if each is not NoneType]
        return next((each for each in models if each), None)
    return child(inner[-1]) if get_origin(annotation) in (list, dict) else None


def translated_fields(model: type[ApiModel]) -> Iterator[tuple[str, str]]:
    """Yield all fields of a model and of those below it that are not marked as a whole."""
    for name, info in model.model_fields.items():
        marked = mark(info)
        if marked is not None and not marked.only:
            continue
        yield model.__name__, name
        below = child(info.annotation)
        if below is not None:
            yield from translated_fields(below)


def all_fields(model: type[ApiModel]) -> Iterator[tuple[str, str]]:
    """Yield all fields of a model and of those below it."""
    for name, info in model.model_fields.items():
        yield model.__name__, name
        below = child(info.annotation)
        if below is not None:
            yield from all_fields(below)


def places(
    raw: Mapping[str, object], model: type[ApiModel], path: Path = (), *, marked: bool = False
) -> Iterator[Place]:
    """Yield every field that a manifest sets."""
    for name, info in model.model_fields.items():
        alias = info.alias or name
        if alias not in raw:
            continue
        marker, value, here = mark(info), raw[alias], (*path, alias)
        yield Place(here, (model.__name__, name), value, marker, marked)
        below = child(info.annotation)
        if below is not None:
            told = marker is not None and marker.concerns(value)
            for step, part in _parts(value, below, info):
                yield from places(part, below, here + step, marked=marked or told)


def _parts(
    value: object, below: type[ApiModel], info: FieldInfo
) -> Iterator[tuple[Path, dict[str, object]]]:
    if isinstance(value, list):
        yield from (((index,), part) for index, part in enumerate(value))
    elif isinstance(value, dict) and f"dict[str, {below.__name__}]" in _written(info):
        yield from (((key,), part) for key, part in value.items())
    elif isinstance(value, dict):
        yield (), value


def _written(info: FieldInfo) -> str:
    return str(info.annotation).replace(f"{_module(info)}.", "")


def _module(info: FieldInfo) -> str:
    below = child(info.annotation)
    return below.__module__ if below else ""
