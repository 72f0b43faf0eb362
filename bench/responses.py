"""Delta responses, parsed once for all clients of the load generator.

Proxies of a mesh are sent nearly the same bytes; only the nonce differs. So what a response says is
interned: a resource is parsed once for all responses that carry its bytes, and a response with many
resources is recognised by comparing everything around its nonce. What is left for each client is a few
microseconds, so that the generator is never what is measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.service.discovery.v3 import discovery_pb2

if TYPE_CHECKING:
    from envoy.config.core.v3 import base_pb2
    from google.protobuf.any_pb2 import Any as AnyMessage

_PREFIX: Final = "type.googleapis.com/"
# A response with more resources than this is recognised as a whole; smaller ones are cheaper to scan.
_MANY: Final = 16


class Kind(IntEnum):
    """The types of resource that a sidecar subscribes to, in the order in which it does."""

    CLUSTER = 0
    ENDPOINT = 1
    SECRET = 2
    LISTENER = 3
    ROUTE = 4
    VIRTUAL_HOST = 5


TYPE_URLS: Final = (
    _PREFIX + "envoy.config.cluster.v3.Cluster",
    _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment",
    _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret",
    _PREFIX + "envoy.config.listener.v3.Listener",
    _PREFIX + "envoy.config.route.v3.RouteConfiguration",
    _PREFIX + "envoy.config.route.v3.VirtualHost",
)
_KINDS: Final = {url.encode(): Kind(number) for number, url in enumerate(TYPE_URLS)}


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One resource: what is compared, and what a proxy that has it subscribes to."""

    name: str
    version: str
    wants: frozenset[tuple[Kind, str]]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What a response says, nonce apart; equal responses are one object."""

    kind: Kind
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    head: bytes
    tail: bytes
    response: Response


class Parser:
    """Interns responses and resources."""

    def __init__(self) -> None:
        self._resources: dict[tuple[Kind, bytes], Resource] = {}
        self._responses: dict[tuple[object, ...], Response] = {}
        self._large: defaultdict[int, list[_Known]] = defaultdict(list)

    def parse(self, message: bytes) -> tuple[Response, bytes]:
        """Return what an encoded ``DeltaDiscoveryResponse`` says, and its nonce."""
        for known in self._large.get(len(message), ()):
            if message.startswith(known.head) and message.endswith(known.tail):
                return known.response, message[len(known.head) : len(message) - len(known.tail)]
        return self._scan(message)

    def _scan(self, message: bytes) -> tuple[Response, bytes]:
        type_url = b""
        bodies: list[bytes] = []
        removed: list[str] = []
        nonce = slice(0, 0)
        for number, start, end in fields(message):
            if number == 2:
                bodies.append(message[start:end])
            elif number == 4:
                type_url = message[start:end]
            elif number == 5:
                nonce = slice(start, end)
            elif number == 6:
                removed.append(message[start:end].decode())
        response = self._intern(_KINDS[type_url], bodies, tuple(removed))
        if len(bodies) > _MANY:
            around = _Known(message[: nonce.start], message[nonce.stop :], response)
            self._large[len(message)].append(around)
        return response, message[nonce]

    def _intern(self, kind: Kind, bodies: list[bytes], removed: tuple[str, ...]) -> Response:
        resources = tuple([self._resource(kind, body) for body in bodies])
        key = (kind, resources, removed)
        if (known := self._responses.get(key)) is None:
            known = self._responses[key] = Response(kind, resources, removed)
        return known

    def _resource(self, kind: Kind, body: bytes) -> Resource:
        if (known := self._resources.get((kind, body))) is None:
            message = discovery_pb2.Resource.FromString(body)
            wants = frozenset(_wants(kind, message.resource))
            known = self._resources[kind, body] = Resource(message.name, message.version, wants)
        return known


def fields(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Give number, start and end of each length-delimited field of a message."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        value, position = _varint(message, position)
        if tag & 7 == 2:
            yield tag >> 3, position, position + value
            position += value
        elif tag & 7 != 0:
            raise ValueError(f"unexpected wire type in field {tag >> 3}")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _wants(kind: Kind, resource: AnyMessage) -> Iterator[tuple[Kind, str]]:
    if kind is Kind.CLUSTER:
        yield from _cluster_wants(cluster_pb2.Cluster.FromString(resource.value))
    elif kind is Kind.LISTENER:
        yield from _listener_wants(listener_pb2.Listener.FromString(resource.value))
    elif kind is Kind.ROUTE:
        yield from _route_wants(route_pb2.RouteConfiguration.FromString(resource.value))


def _cluster_wants(cluster: cluster_pb2.Cluster) -> Iterator[tuple[Kind, str]]:
    if cluster.type == cluster_pb2.Cluster.EDS:
        yield Kind.ENDPOINT, cluster.eds_cluster_config.service_name or cluster.name
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    for socket in (*sockets, cluster.transport_socket):
        yield from _socket_wants(socket)


def _listener_wants(listener: listener_pb2.Listener) -> Iterator[tuple[Kind, str]]:
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        yield from _socket_wants(chain.transport_socket)
        for each in chain.filters:
            if each.typed_config.Is(hcm_pb2.HttpConnectionManager.DESCRIPTOR):
                manager = hcm_pb2.HttpConnectionManager.FromString(each.typed_config.value)
                yield from _manager_wants(manager)


def _manager_wants(manager: hcm_pb2.HttpConnectionManager) -> Iterator[tuple[Kind, str]]:
    if manager.HasField("rds"):
        yield Kind.ROUTE, manager.rds.route_config_name
    else:
        yield from _route_wants(manager.route_config)


def _route_wants(route: route_pb2.RouteConfiguration) -> Iterator[tuple[Kind, str]]:
    if route.HasField("vhds"):
        yield Kind.VIRTUAL_HOST, route.name


def _socket_wants(socket: base_pb2.TransportSocket) -> Iterator[tuple[Kind, str]]:
    for tls in (tls_pb2.UpstreamTlsContext, tls_pb2.DownstreamTlsContext):
        if socket.typed_config.Is(tls.DESCRIPTOR):
            common = tls.FromString(socket.typed_config.value).common_tls_context
            combined = common.combined_validation_context.validation_context_sds_secret_config
            for secret in (
                *common.tls_certificate_sds_secret_configs,
                common.validation_context_sds_secret_config,
                combined,
            ):
                if secret.name:
                    yield Kind.SECRET, secret.name
