"""From a message to bytes that are always the same, made once and shared by every stream.

Protobuf's wire form leaves the order of map entries open; ``deterministic=True`` sorts them, and the
rest of the order is fixed by the schema, so equal configuration gives equal bytes under any hash seed.
A resource's version is a hash of its body: a proxy that reconnects with the versions it has is sent
only what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PREFIX: Final = "type.googleapis.com/"


class TypeUrl(StrEnum):
    """The types of resource that are served, in the order in which additions are sent.

    The order is make before break across types (xDS protocol, "Eventual consistency considerations"):
    what is named goes before what names it.
    """

    CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
    ENDPOINT = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
    SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
    LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
    ROUTE = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
    VIRTUAL_HOST = _PREFIX + "envoy.config.route.v3.VirtualHost"


@dataclass(frozen=True, slots=True)
class Resource:
    """One encoded xDS resource.

    ``body`` is the message itself, without its ``Any``; ``wire`` is the whole encoded
    ``envoy.service.discovery.v3.Resource`` (name, version, Any), ready to be spliced into a delta
    response as field 2.
    """

    type: TypeUrl
    name: str
    version: str
    # Not shown: it may be somebody's private key.
    body: bytes = field(repr=False)
    wire: bytes = field(repr=False)

    def __hash__(self) -> int:
        """Hash by content version, so that large bodies are not hashed again and again."""
        return hash((self.type, self.name, self.version))


def encode(type_url: TypeUrl, name: str, message: Message) -> Resource:
    """Return the resource for a message; equal messages give equal bytes and equal versions."""
    return from_body(type_url, name, message.SerializeToString(deterministic=True))


def from_body(type_url: TypeUrl, name: str, body: bytes) -> Resource:
    """Return the resource around bytes that are already encoded."""
    version = blake2b(body, digest_size=8).hexdigest()
    any_bytes = _field(1, type_url.value.encode()) + _field(2, body)
    wire = _field(1, version.encode()) + _field(2, any_bytes) + _field(3, name.encode())
    return Resource(type_url, name, version, body, wire)


def _field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited protobuf field (protobuf encoding, wire type 2)."""
    return bytes((number << 3 | 2,)) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    """Return a base-128 varint (protobuf encoding)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
