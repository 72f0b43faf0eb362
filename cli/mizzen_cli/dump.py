"""Reads encoded resources back into plain values, as Envoy's own config dump shows them.

Every ``Any`` in them is of a type that rendering makes, so its class is loaded with the renderers, which
are imported for that alone. Private keys never pass.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, cast

from google.protobuf import json_format, symbol_database

import mizzen.compile  # noqa: F401  for the classes of what is read
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET
from mizzen.render.secrets import tls_certificate, validation_context
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from mizzen.wire import Resource

REDACTED: Final = "[redacted]"
# Bytes are base64 in protobuf's JSON.
_MARK: Final = b64encode(REDACTED.encode()).decode()

# JSON has no closer type than this for a message of any kind.
Plain = dict[str, Any]


def plain(resource: Resource) -> Plain:
    """Return a resource's message with the field names of Envoy's documentation."""
    name = resource.type.rpartition("/")[2]
    message = symbol_database.Default().GetSymbol(name)()
    message.ParseFromString(resource.body)
    decoded = json_format.MessageToDict(message, preserving_proto_field_name=True)
    if resource.type is TypeUrl.SECRET and "tls_certificate" in decoded:
        decoded["tls_certificate"]["private_key"] = {"inline_bytes": _MARK}
    return cast("Plain", _readable(decoded))


def stand_ins() -> list[Plain]:
    """Return the secrets that every workload gets, without what only a running authority has."""
    secrets = (
        tls_certificate(WORKLOAD_SECRET, REDACTED.encode(), REDACTED.encode()),
        validation_context(ROOTS_SECRET, REDACTED.encode()),
    )
    return [plain(secret) for secret in secrets]


def _readable(value: object) -> object:
    """Return dicts and lists of no special kind (protobuf makes ordered ones), the mark in words."""
    if isinstance(value, dict):
        return {name: _readable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_readable(item) for item in value]
    return REDACTED if value == _MARK else value
