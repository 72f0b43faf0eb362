"""The discovery protocol's own messages: requests decoded once, responses spliced from ready bytes.

A response is made by putting encoded resources one after the other: nothing is encoded again for a
stream. Field numbers are those of ``envoy.service.discovery.v3``; a protobuf reader accepts the fields
of a message in any order, so a payload shared by many responses can stand in front of what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import Node
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DiscoveryRequest
from google.protobuf.message import DecodeError

from mizzen.model.meta import labels
from mizzen.model.place import Locality
from mizzen.model.proxy import NodeInfo, parse_node_id
from mizzen.wire import Resource, TypeUrl, encode, varint

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

_TYPES: Final[Mapping[str, TypeUrl]] = {url.value: url for url in TypeUrl}

# Acknowledgements of a shared response are the same bytes from every proxy; they are far shorter than
# this. Longer requests carry names and are not worth keeping.
_MEMO_BYTES: Final = 512


class BadRequestError(ValueError):
    """A request that is no discovery request, or whose node says nothing that can be used."""


class Versions(dict[str, str]):
    """Versions by name, never changed, so that proxies that come with the same ones can share them."""

    __slots__ = ("_hash",)

    def __init__(self, claimed: Mapping[str, str]) -> None:
        super().__init__(claimed)
        self._hash = hash(frozenset(self.items()))

    def __hash__(self) -> int:  # type: ignore[override]  # never changed, so it may be a key
        """Return the hash of the content."""
        return self._hash


NO_VERSIONS: Final = Versions({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One discovery request, of either dialect.

    Attributes:
        type: ``None`` where the type is not served.
        subscribe: Names asked for; in the state-of-the-world dialect all names that are wanted.
        versions: Delta only: what the client has from an earlier stream.
        version: State of the world only: the version last accepted.
        error: The text of a rejection, ``None`` in any other request.
    """

    type: TypeUrl | None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    versions: Versions = NO_VERSIONS
    version: str = ""
    nonce: str = ""
    error: str | None = None


def parse_delta(raw: bytes) -> Request:
    """Return a delta request; ``BadRequestError`` where the bytes are none."""
    return _short_delta(raw) if len(raw) <= _MEMO_BYTES else _delta(raw)


def parse_state_of_the_world(raw: bytes) -> Request:
    """Return a state-of-the-world request; ``BadRequestError`` where the bytes are none."""
    return _short_sotw(raw) if len(raw) <= _MEMO_BYTES else _sotw(raw)


def _delta(raw: bytes) -> Request:
    message = DeltaDiscoveryRequest()
    _merge(message, raw)
    return Request(
        type=_TYPES.get(message.type_url),
        subscribe=tuple(message.resource_names_subscribe),
        unsubscribe=tuple(message.resource_names_unsubscribe),
        versions=_shared_versions(message.initial_resource_versions),
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


def _sotw(raw: bytes) -> Request:
    message = DiscoveryRequest()
    _merge(message, raw)
    return Request(
        type=_TYPES.get(message.type_url),
        subscribe=tuple(message.resource_names),
        version=message.version_info,
        nonce=message.response_nonce,
        error=message.error_detail.message if message.HasField("error_detail") else None,
    )


# A thousand proxies that come back at once bring the same few hundred kilobytes each.
_KEPT_VERSIONS: Final = 64


def _shared_versions(claimed: Mapping[str, str]) -> Versions:
    """Return versions as the one object that stands for all equal ones."""
    return _one_of_equals(Versions(claimed)) if claimed else NO_VERSIONS


@lru_cache(maxsize=_KEPT_VERSIONS)
def _one_of_equals(versions: Versions) -> Versions:
    return versions


_short_delta = lru_cache(maxsize=1024)(_delta)
_short_sotw = lru_cache(maxsize=1024)(_sotw)


def _merge(message: DeltaDiscoveryRequest | DiscoveryRequest, raw: bytes) -> None:
    try:
        message.MergeFromString(raw)
    except DecodeError as error:
        raise BadRequestError("not a discovery request") from error


def parse_node(raw: bytes) -> NodeInfo:
    """Return what a stream's first request says of its proxy.

    Both dialects carry the node as field 1 (delta) or 2 (state of the world), hence the two tries.

    Raises:
        BadRequestError: There is no node in it, or its id is not of Istio's form.
    """
    delta = DeltaDiscoveryRequest()
    try:
        delta.MergeFromString(raw)
    except DecodeError:
        delta.Clear()
    if delta.HasField("node") and delta.node.id:
        return _node(delta.node)
    sotw = DiscoveryRequest()
    _merge(sotw, raw)
    if not sotw.node.id:
        raise BadRequestError("the first request carries no node")
    return _node(sotw.node)


def _node(node: Node) -> NodeInfo:
    try:
        kind, ip, name, namespace = parse_node_id(node.id)
    except ValueError as error:
        raise BadRequestError(str(error)) from error
    return NodeInfo(
        id=node.id,
        kind=kind,
        ip=ip,
        name=name,
        namespace=namespace,
        labels=labels(_strings(node.metadata, "LABELS")),
        service_account=node.metadata.fields["SERVICE_ACCOUNT"].string_value,
        envoy_version=_version(node),
        locality=Locality(
            region=node.locality.region, zone=node.locality.zone, subzone=node.locality.sub_zone
        ),
        # An Envoy that was told of no place at all, not even of an empty one, takes none for its own.
        has_local_cluster=node.HasField("locality")
        and node.metadata.fields["ENABLE_SELF_DISCOVERY"].string_value == "true",
    )


def _strings(metadata: Struct, key: str) -> dict[str, str]:
    """Return a map of strings in the metadata, without what is no string."""
    fields = metadata.fields[key].struct_value.fields
    return {name: value.string_value for name, value in fields.items() if value.string_value}


def _version(node: Node) -> str:
    version = node.user_agent_build_version.version
    if not (version.major_number or version.minor_number):
        return ""
    return f"{version.major_number}.{version.minor_number}.{version.patch}"


def splice_delta(resources: Iterable[Resource], removed: Iterable[str] = ()) -> bytes:
    """Return the part of a delta response that is the same for every stream."""
    parts: list[bytes] = []
    for resource in resources:
        parts += (_RESOURCES, varint(len(resource.wire)), resource.wire)
    parts += (_string(6, name) for name in removed)
    return b"".join(parts)


def splice_state_of_the_world(resources: Iterable[Resource]) -> bytes:
    """Return the resources of a state-of-the-world response."""
    parts: list[bytes] = []
    for resource in resources:
        packed = _string(1, resource.type.value) + _BODY + varint(len(resource.body))
        size = varint(len(packed) + len(resource.body))
        parts += (_RESOURCES, size, packed, resource.body)
    return b"".join(parts)


def delta_trailer(type_url: TypeUrl, nonce: str) -> bytes:
    """Return what completes a delta response after its spliced resources."""
    return _string(4, type_url.value) + _string(5, nonce)


def state_of_the_world_trailer(type_url: TypeUrl, nonce: str, version: str) -> bytes:
    """Return what completes a state-of-the-world response after its spliced resources."""
    return _string(1, version) + _string(4, type_url.value) + _string(5, nonce)


def joint_version(resources: Iterable[Resource]) -> str:
    """Return the version of a whole set of resources: a hash of names and versions."""
    digest = blake2b(digest_size=8)
    for resource in resources:
        digest.update(f"{resource.name}\0{resource.version}\0".encode())
    return digest.hexdigest()


def inline_virtual_hosts(head: Resource, hosts: Iterable[Resource]) -> Resource:
    """Return a route configuration that carries its virtual hosts itself, for clients without VHDS."""
    message = RouteConfiguration.FromString(head.body)
    message.ClearField("vhds")
    message.virtual_hosts.extend(VirtualHost.FromString(host.body) for host in hosts)
    return encode(TypeUrl.ROUTE, head.name, message)


@lru_cache(maxsize=4096)
def domains_of(host: Resource) -> frozenset[str]:
    """Return the domains of an encoded virtual host; none where only its version is known."""
    return frozenset(VirtualHost.FromString(host.body).domains)


def _string(number: int, text: str) -> bytes:
    payload = text.encode()
    return bytes((number << 3 | 2,)) + varint(len(payload)) + payload


# Field 2, length-delimited: ``resources`` of either response, ``value`` of an Any.
_RESOURCES: Final = b"\x12"
_BODY: Final = b"\x12"
