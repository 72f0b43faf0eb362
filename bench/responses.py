"""Delta responses, parsed once for all clients of the load generator.

Proxies of a mesh are sent nearly the same bytes; what differs is the nonce, and the few resources that
belong to the proxy's own workload. So what a response says is interned: a resource is parsed once for all
responses that carry its bytes, and a long run of resources is recognised as a whole by comparing bytes.
What is left for each client is a few microseconds, so that the generator is never what is measured.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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
# A run of more resources than this is recognised as a whole; shorter ones are cheaper to scan.
_MANY: Final = 16
# A response's first resources may be the proxy's own; the run that all proxies share starts behind them.
_OWN_AT_MOST: Final = 12
_RESOURCE_TAG: Final = 2 << 3 | 2
# A resource starts with its version, which is a hash: so many bytes tell one from another.
_MARK_BYTES: Final = 64


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


class Run:
    """Many resources that came one after the other, as all proxies get them."""

    __slots__ = ("by_name", "wanted")

    def __init__(self, resources: tuple[Resource, ...] = ()) -> None:
        self.by_name: Mapping[str, Resource] = {each.name: each for each in resources}
        self.wanted = wanted_by(resources)


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """What a response says, nonce apart; equal responses are one object."""

    kind: Kind
    run: Run | None
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]

    def names(self) -> Iterator[str]:
        """Give the names of all resources in it."""
        yield from (each.name for each in self.resources)
        if self.run is not None:
            yield from self.run.by_name


@dataclass(slots=True)
class _Message:
    """A response while it is being read."""

    type_url: bytes = b""
    nonce: bytes = b""
    run: Run | None = None
    bodies: list[bytes] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    end_of_resources: int = 0


class Parser:
    """Interns responses, runs and resources."""

    def __init__(self) -> None:
        self._resources: dict[tuple[Kind, bytes], Resource] = {}
        self._responses: dict[tuple[object, ...], Response] = {}
        self._runs: defaultdict[bytes, list[tuple[bytes, Run]]] = defaultdict(list)

    def parse(self, message: bytes) -> tuple[Response, bytes]:
        """Return what an encoded ``DeltaDiscoveryResponse`` says, and its nonce."""
        read = self._read(message)
        kind = _KINDS[read.type_url]
        if len(read.bodies) > _MANY and read.run is None:
            self._learn(kind, message, read)
            read = self._read(message)
        resources = tuple([self._resource(kind, body) for body in read.bodies])
        removed = tuple(read.removed)
        key = (kind, read.run, resources, removed)
        if (known := self._responses.get(key)) is None:
            known = self._responses[key] = Response(kind, read.run, resources, removed)
        return known, read.nonce

    def _read(self, message: bytes) -> _Message:
        read = _Message()
        position, end = 0, len(message)
        while position < end:
            if message[position] == _RESOURCE_TAG and read.run is None:
                after = self._known_run(message, position, read)
                if after != position:
                    position = after
                    continue
            number, start, stop = next_field(message, position)
            _take(read, number, message[start:stop])
            if number == 2:
                read.starts.append(position)
                read.end_of_resources = stop
            position = stop
        return read

    def _known_run(self, message: bytes, position: int, read: _Message) -> int:
        for wire, run in self._runs.get(message[position : position + _MARK_BYTES], ()):
            if message.startswith(wire, position):
                read.run = run
                return position + len(wire)
        return position

    def _learn(self, kind: Kind, message: bytes, read: _Message) -> None:
        """Remember the resources of a response, with and without its first ones, as runs."""
        resources = tuple([self._resource(kind, body) for body in read.bodies])
        for skipped, start in enumerate(read.starts[:_OWN_AT_MOST]):
            wire = message[start : read.end_of_resources]
            mark = wire[:_MARK_BYTES]
            if not any(known == wire for known, _ in self._runs[mark]):
                self._runs[mark].append((wire, Run(resources[skipped:])))

    def _resource(self, kind: Kind, body: bytes) -> Resource:
        if (known := self._resources.get((kind, body))) is None:
            message = discovery_pb2.Resource.FromString(body)
            wants = frozenset(_wants(kind, message.resource))
            known = self._resources[kind, body] = Resource(message.name, message.version, wants)
        return known


def wanted_by(resources: Iterable[Resource]) -> dict[Kind, frozenset[str]]:
    """Return, by type, the names that resources refer to."""
    found: defaultdict[Kind, set[str]] = defaultdict(set)
    for wants in {resource.wants for resource in resources}:
        for kind, name in wants:
            found[kind].add(name)
    return {kind: frozenset(names) for kind, names in found.items()}


def _take(read: _Message, number: int, payload: bytes) -> None:
    if number == 2:
        read.bodies.append(payload)
    elif number == 4:
        read.type_url = payload
    elif number == 5:
        read.nonce = payload
    elif number == 6:
        read.removed.append(payload.decode())


def next_field(message: bytes, position: int) -> tuple[int, int, int]:
    """Return number, start and end of the length-delimited field at a position."""
    tag, position = _varint(message, position)
    if tag & 7 != 2:
        raise ValueError(f"unexpected wire type in field {tag >> 3}")
    size, position = _varint(message, position)
    return tag >> 3, position, position + size


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
