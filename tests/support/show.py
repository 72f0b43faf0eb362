"""Resources as people read them: names, then plain dicts and YAML, everything packed unpacked.

Field names are protobuf's own (``snake_case``), as in Envoy's documentation.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from google.protobuf import json_format, symbol_database

import mizzen.render.inbound
import mizzen.render.listener
import mizzen.render.secrets  # noqa: F401 - the classes that resources are made of
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    from mizzen.wire import Resource

Shown = dict[str, Any]  # JSON, of whatever message


def message_of(resource: Resource) -> Message:
    """Return the message that a resource's bytes are."""
    name = resource.type.value.rpartition("/")[2]
    message: Message = symbol_database.Default().GetSymbol(name)()
    message.ParseFromString(resource.body)
    return message


def show(resource: Resource) -> Shown:
    """Return a resource as a dict, ``Any`` messages with their ``@type`` and their fields."""
    text = json_format.MessageToJson(
        message_of(resource), preserving_proto_field_name=True, sort_keys=True
    )
    shown: Shown = json.loads(text)
    return shown


def show_all(resources: Iterable[Resource]) -> str:
    """Return resources as one YAML text, by type in the order of delivery, then by name."""
    order = {type_url: place for place, type_url in enumerate(TypeUrl)}
    ordered = sorted(resources, key=lambda r: (order[r.type], r.name))
    shown = [
        {"type": r.type.value.rpartition(".")[2], "name": r.name, "resource": show(r)}
        for r in ordered
    ]
    return yaml.safe_dump(shown, sort_keys=True, width=100)
