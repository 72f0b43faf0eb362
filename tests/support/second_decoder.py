"""Two independent decoders over the same bytes: xds-protos (upb, in C) and envoy-data-plane (Python).

Both give a neutral tree: fields by number, set ones only, ``Any`` unpacked, wrapped numbers and
durations as plain values. A byte that one of them reads differently, or doesn't know, shows.
"""

from __future__ import annotations

import importlib
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import betterproto2
from envoy_data_plane.google.protobuf import Any as SecondAny
from envoy_data_plane.message_pool import default_message_pool
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as FirstAny
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from mizzen.wire import Resource

Tree = dict[int | str, object]

_WRAPPERS: Final = frozenset(
    f"google.protobuf.{name}Value"
    for name in ("Bool", "UInt32", "UInt64", "Int32", "Int64", "Double", "Float", "String")
)


def first(resource: Resource) -> Tree:
    """Return what xds-protos reads."""
    return _first_unpacked(resource.type.value, resource.body)


def second(resource: Resource) -> Tree:
    """Return what envoy-data-plane reads; ``LookupError`` for bytes that it has no field for."""
    return _second_unpacked(resource.type.value, resource.body)


def _first_unpacked(type_url: str, body: bytes) -> Tree:
    name = type_url.rpartition("/")[2]
    descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    message = message_factory.GetMessageClass(descriptor)()
    message.ParseFromString(body)
    return _first_message(message)


def _first_message(message: Message) -> Tree:
    return {field.number: _first_field(field, value) for field, value in message.ListFields()}


def _first_field(field: FieldDescriptor, value: Any) -> object:  # noqa: ANN401 - whatever upb gives
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {key: _first_value(item) for key, item in value.items()}
    if field.is_repeated:
        return [_first_value(item) for item in value]
    return _first_value(value)


def _first_value(value: Any) -> object:  # noqa: ANN401 - whatever upb gives
    if isinstance(value, Duration):
        return timedelta(seconds=value.seconds, microseconds=value.nanos // 1_000)
    if isinstance(value, FirstAny):
        return {"type": value.type_url, **_first_unpacked(value.type_url, value.value)}
    if not hasattr(value, "DESCRIPTOR"):
        return value
    if value.DESCRIPTOR.full_name in _WRAPPERS:
        return value.value
    return _first_message(value)


def _second_unpacked(type_url: str, body: bytes) -> Tree:
    package = type_url.rpartition("/")[2].rpartition(".")[0]
    importlib.import_module(f"envoy_data_plane.{package}")
    return _second_message(default_message_pool.url_to_type[type_url].parse(body))


def _second_message(message: betterproto2.Message) -> Tree:
    if message._unknown_fields:
        raise LookupError(f"{type(message).__name__} has no field for {message._unknown_fields!r}")
    tree: Tree = {}
    for name, meta in _fields(type(message)).items():
        value = getattr(message, name)
        if value is None or (not meta.optional and not value):
            continue
        tree[meta.number] = _second_value(value)
    return tree


@cache
def _fields(kind: type[betterproto2.Message]) -> dict[str, betterproto2.FieldMetadata]:
    return betterproto2.ProtoClassMetadata(kind).meta_by_field_name


def _second_value(value: object) -> object:
    if isinstance(value, SecondAny):
        return {"type": value.type_url, **_second_unpacked(value.type_url, value.value)}
    if isinstance(value, betterproto2.Message):
        return _second_message(value)
    if isinstance(value, dict):
        return {key: _second_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_second_value(item) for item in value]
    if isinstance(value, betterproto2.Enum):
        return int(value)
    return value
