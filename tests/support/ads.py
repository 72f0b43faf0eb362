"""A client of the discovery service that subscribes as an Envoy does, and waits without sleeping.

It asks for all clusters and listeners; for the endpoints of the clusters that want them by EDS, for the
route configurations that listeners name, and, once it has one, for virtual hosts without names. It
acknowledges what it is sent, unless :attr:`AdsClient.refuse` finds fault with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)

from mizzen.wire import TypeUrl

SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
DELTA_METHOD: Final = SERVICE + "DeltaAggregatedResources"
STATE_OF_THE_WORLD_METHOD: Final = SERVICE + "StreamAggregatedResources"
TIMEOUT_S: Final = 10.0
_HCM: Final = HttpConnectionManager.DESCRIPTOR.full_name


@dataclass(frozen=True, slots=True)
class Got:
    """A resource as it arrived."""

    version: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Received:
    """One response: its type, what it set and removed, and its size."""

    type: TypeUrl
    names: tuple[str, ...]
    removed: tuple[str, ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a client trusts, and the certificate that it shows, if it has one; in PEM."""

    roots_pem: bytes
    key_pem: bytes | None = None
    chain_pem: bytes | None = None


def node_id(name: str = "app", namespace: str = "shop", ip: str = "10.0.0.1") -> str:
    """Return a sidecar's node id."""
    return f"sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"


def no_fault(_type: TypeUrl, _name: str, _body: bytes) -> str | None:
    """Find no fault with anything."""
    return None


@dataclass(slots=True)
class AdsClient:
    """What one proxy has been sent; see the module."""

    node: str
    service_account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    refuse: Callable[[TypeUrl, str, bytes], str | None] = no_fault
    has: dict[TypeUrl, dict[str, Got]] = field(default_factory=lambda: {of: {} for of in TypeUrl})
    received: list[Received] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    asked: dict[TypeUrl, set[str]] = field(default_factory=dict)
    is_silent: bool = False
    _call: Any = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _withheld: list[DeltaDiscoveryRequest] = field(default_factory=list)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    # Waiting

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, looking after each response."""
        async with asyncio.timeout(TIMEOUT_S), self._changed:
            await self._changed.wait_for(condition)

    async def until_has(self, type_url: TypeUrl, name: str, version: str | None = None) -> None:
        """Wait until a resource is there, in a version if one is given."""
        await self.until(
            lambda: (
                name in self.has[type_url] and version in (None, self.has[type_url][name].version)
            )
        )

    @property
    def bytes_received(self) -> int:
        """The size of all responses together."""
        return sum(response.size for response in self.received)

    # Asking

    async def ask(self, type_url: TypeUrl, *names: str, node: bool = False) -> None:
        """Subscribe to names of a type; without names, to everything."""
        request = DeltaDiscoveryRequest(type_url=type_url.value, resource_names_subscribe=names)
        if type_url not in self.asked:
            versions = {name: got.version for name, got in self.has[type_url].items()}
            request.initial_resource_versions.update(versions)
        self.asked.setdefault(type_url, set()).update(names)
        if node:
            self.introduce(request)
        await self._write(request)

    async def drop(self, type_url: TypeUrl, *names: str) -> None:
        """Unsubscribe from names."""
        self.asked[type_url].difference_update(names)
        for name in names:
            self.has[type_url].pop(name, None)
        request = DeltaDiscoveryRequest(type_url=type_url.value, resource_names_unsubscribe=names)
        await self._write(request)

    async def speak(self) -> None:
        """Send the answers that were held back, and hold back no more."""
        self.is_silent = False
        withheld, self._withheld = self._withheld, []
        for request in withheld:
            await self._write(request)

    async def _write(self, request: DeltaDiscoveryRequest | DiscoveryRequest) -> None:
        """Write a request when the last one is written: gRPC takes one at a time."""
        async with self._writing:
            await self._call.write(request.SerializeToString())

    def introduce(self, request: DeltaDiscoveryRequest | DiscoveryRequest) -> None:
        """Say in a request who the proxy is."""
        node = request.node
        node.id = self.node
        if self.service_account:
            node.metadata["SERVICE_ACCOUNT"] = self.service_account
        if self.labels:
            node.metadata["LABELS"] = dict(self.labels)
        node.user_agent_build_version.version.major_number = 1
        node.user_agent_build_version.version.minor_number = 40

    # Answering

    async def read(self) -> None:
        """Take in responses until the stream ends."""
        while True:
            raw = await self._call.read()
            if not isinstance(raw, bytes):
                return
            await self._take(raw)

    async def _take(self, raw: bytes) -> None:
        response = DeltaDiscoveryResponse.FromString(raw)
        type_url = TypeUrl(response.type_url)
        answer = DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        faults = [
            fault
            for r in response.resources
            if (fault := self.refuse(type_url, r.name, r.resource.value)) is not None
        ]
        if faults:
            answer.error_detail.message = "; ".join(faults)
            self.refused += faults
        else:
            held = self.has[type_url]
            held.update({r.name: Got(r.version, r.resource.value) for r in response.resources})
            for name in response.removed_resources:
                held.pop(name, None)
        if self.is_silent:
            self._withheld.append(answer)
        else:
            await self._write(answer)
        await self._follow(type_url)
        async with self._changed:
            names = tuple(r.name for r in response.resources)
            removed = tuple(response.removed_resources)
            self.received.append(Received(type_url, names, removed, len(raw)))
            self._changed.notify_all()

    async def _follow(self, type_url: TypeUrl) -> None:
        """Ask for what the resources of a type refer to, and no more for what they don't."""
        if type_url is TypeUrl.CLUSTER:
            await self._want(TypeUrl.ENDPOINT, _wanting_endpoints(self.has[type_url]))
        elif type_url is TypeUrl.LISTENER:
            await self._want(TypeUrl.ROUTE, _routes_of(self.has[type_url]))
        elif type_url is TypeUrl.ROUTE and TypeUrl.VIRTUAL_HOST not in self.asked:
            await self.ask(TypeUrl.VIRTUAL_HOST)

    async def _want(self, type_url: TypeUrl, names: set[str]) -> None:
        asked = self.asked.get(type_url, set())
        if names - asked:
            await self.ask(type_url, *sorted(names - asked))
        if asked - names:
            await self.drop(type_url, *sorted(asked - names))


def _wanting_endpoints(clusters: Mapping[str, Got]) -> set[str]:
    return {
        name for name, got in clusters.items() if Cluster.FromString(got.body).type == Cluster.EDS
    }


def _routes_of(listeners: Mapping[str, Got]) -> set[str]:
    names = set()
    for got in listeners.values():
        listener = Listener.FromString(got.body)
        for chain in (*listener.filter_chains, listener.default_filter_chain):
            for filter_ in chain.filters:
                if filter_.typed_config.type_url.endswith(_HCM):
                    manager = HttpConnectionManager.FromString(filter_.typed_config.value)
                    if manager.HasField("rds"):
                        names.add(manager.rds.route_config_name)
    return names


@asynccontextmanager
async def stream(
    port: int,
    client: AdsClient,
    *,
    token: str = "",
    trust: Trust | None = None,
) -> AsyncIterator[AdsClient]:
    """Connect a client and keep it reading; it asks for clusters and listeners by itself."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    async with open_channel(port, trust) as channel:
        client._call = channel.stream_stream(DELTA_METHOD)(metadata=metadata)
        client.asked = {}
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(client.read())
            await client.ask(TypeUrl.CLUSTER, node=True)
            await client.ask(TypeUrl.LISTENER)
            yield client
            client._call.cancel()
            reading.cancel()


def open_channel(port: int, trust: Trust | None = None) -> grpc.aio.Channel:
    """Return a connection of its own, over TLS where it is said what to trust."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.ssl_target_name_override", "localhost"),
    ]
    address = f"127.0.0.1:{port}"
    if trust is None:
        return grpc.aio.insecure_channel(address, options=options)
    credentials = grpc.ssl_channel_credentials(trust.roots_pem, trust.key_pem, trust.chain_pem)
    return grpc.aio.secure_channel(address, credentials, options=options)


def first_request(type_url: TypeUrl, client: AdsClient, *names: str) -> bytes:
    """Return a stream's first request, of the delta dialect."""
    request = DeltaDiscoveryRequest(type_url=type_url.value, resource_names_subscribe=names)
    client.introduce(request)
    raw: bytes = request.SerializeToString()
    return raw


def state_of_the_world_request(
    type_url: TypeUrl, client: AdsClient, *names: str, nonce: str = ""
) -> bytes:
    """Return a request of the other dialect."""
    request = DiscoveryRequest(type_url=type_url.value, resource_names=names, response_nonce=nonce)
    client.introduce(request)
    raw: bytes = request.SerializeToString()
    return raw


def state_of_the_world_response(raw: bytes) -> tuple[str, str, list[bytes]]:
    """Return nonce, version and bodies of a response of the other dialect."""
    response = DiscoveryResponse.FromString(raw)
    return response.nonce, response.version_info, [r.value for r in response.resources]


class RawCall:
    """A stream of which a test says and hears every message itself."""

    def __init__(self, channel: grpc.aio.Channel, method: str, token: str = "") -> None:
        metadata = [("authorization", f"Bearer {token}")] if token else []
        self._call: Any = channel.stream_stream(method)(metadata=metadata)

    async def say(self, raw: bytes) -> None:
        """Send a request; one that the server no longer wants is lost."""
        with suppress(grpc.aio.AioRpcError):
            await self._call.write(raw)

    async def hear(self) -> bytes:
        """Return the next response."""
        raw = await self._call.read()
        assert isinstance(raw, bytes)
        return raw

    async def finish(self) -> None:
        """Say that there is nothing more to say."""
        await self._call.done_writing()

    async def ending(self) -> tuple[grpc.StatusCode, str]:
        """Wait for the end; return the status and its text. A further response is an error."""
        with suppress(grpc.aio.AioRpcError):
            assert await self._call.read() is grpc.aio.EOF
        return await self._call.code(), await self._call.details() or ""

    def cancel(self) -> None:
        """Give the stream up."""
        self._call.cancel()
