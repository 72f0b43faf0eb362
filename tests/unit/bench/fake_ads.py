"""A small delta ADS server over real gRPC, to try the load generator against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

PREFIX = "type.googleapis.com/envoy."
CLUSTER = PREFIX + "config.cluster.v3.Cluster"
ENDPOINT = PREFIX + "config.endpoint.v3.ClusterLoadAssignment"
SECRET = PREFIX + "extensions.transport_sockets.tls.v3.Secret"
LISTENER = PREFIX + "config.listener.v3.Listener"
ROUTE = PREFIX + "config.route.v3.RouteConfiguration"
VIRTUAL_HOST = PREFIX + "config.route.v3.VirtualHost"

_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


@dataclass(eq=False)
class FakeStream:
    """What one client has asked for, and the queue of what it is sent."""

    node_id: str = ""
    requests: list[Any] = field(default_factory=list)
    outgoing: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)


class FakeAds:
    """Answers the first request of each type with everything, by name where names are given."""

    def __init__(self, resources: dict[str, dict[str, Message]]) -> None:
        self.resources = resources
        self.streams: list[FakeStream] = []
        self.port = 0
        self._nonce = 0
        self._versions: dict[tuple[str, str], int] = {}
        self._server = grpc.aio.server()

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._serve
        )
        handlers = {"DeltaAggregatedResources": handler}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, handlers),)
        )
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """End all streams."""
        await self._server.stop(None)

    def push(self, type_url: str, name: str, message: Message) -> None:
        """Give every stream a new version of a resource."""
        self.resources[type_url][name] = message
        self._versions[type_url, name] = self._versions.get((type_url, name), 0) + 1
        for stream in self.streams:
            self._send(stream, type_url, [name])

    async def _serve(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        stream = FakeStream()
        self.streams.append(stream)
        reader = asyncio.create_task(self._read(stream, requests))
        try:
            while True:
                yield await stream.outgoing.get()
        finally:
            reader.cancel()
            self.streams.remove(stream)

    async def _read(self, stream: FakeStream, requests: AsyncIterator[bytes]) -> None:
        async for raw in requests:
            request = discovery_pb2.DeltaDiscoveryRequest.FromString(raw)
            stream.node_id = request.node.id or stream.node_id
            stream.requests.append(request)
            if not request.response_nonce:
                self._answer(stream, request)

    def _answer(self, stream: FakeStream, request: discovery_pb2.DeltaDiscoveryRequest) -> None:
        offered = self.resources[request.type_url]
        names = [name for name in request.resource_names_subscribe if name in offered] or list(
            offered
        )
        if request.resource_names_unsubscribe and not request.resource_names_subscribe:
            return
        had = request.initial_resource_versions
        stale = [name for name in names if had.get(name) != self._version(request.type_url, name)]
        if stale or not had:
            self._send(stream, request.type_url, stale)

    def _version(self, type_url: str, name: str) -> str:
        return f"v{self._versions.get((type_url, name), 0)}"

    def _send(self, stream: FakeStream, type_url: str, names: list[str]) -> None:
        self._nonce += 1
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url, nonce=f"{self._nonce:08x}"
        )
        for name in names:
            resource = response.resources.add(name=name, version=self._version(type_url, name))
            resource.resource.Pack(self.resources[type_url][name])
        stream.outgoing.put_nowait(response.SerializeToString())


def small_mesh(services: int) -> dict[str, dict[str, Message]]:
    """Return the resources of a mesh of HTTP services as a sidecar sees it."""
    hosts = [f"svc-{number:04d}.shop.svc.cluster.local" for number in range(services)]
    clusters = {f"outbound|80||{host}": cluster(f"outbound|80||{host}") for host in hosts}
    endpoints = {name: endpoint_pb2.ClusterLoadAssignment(cluster_name=name) for name in clusters}
    return {
        CLUSTER: dict(clusters),
        ENDPOINT: dict(endpoints),
        SECRET: {name: secret_pb2.Secret(name=name) for name in ("default", "ROOTCA")},
        LISTENER: {"0.0.0.0_80": _listener()},
        ROUTE: {"80": route_pb2.RouteConfiguration(name="80", vhds=route_pb2.Vhds())},
        VIRTUAL_HOST: {f"80/{host}:80": virtual_host(f"80/{host}:80") for host in hosts},
    }


def cluster(name: str) -> cluster_pb2.Cluster:
    """Return an EDS cluster with mutual TLS by SDS."""
    tls = tls_pb2.UpstreamTlsContext()
    tls.common_tls_context.tls_certificate_sds_secret_configs.add(name="default")
    combined = tls.common_tls_context.combined_validation_context
    combined.validation_context_sds_secret_config.name = "ROOTCA"
    made = cluster_pb2.Cluster(name=name, type=cluster_pb2.Cluster.EDS)
    match = made.transport_socket_matches.add(name="tlsMode-istio")
    match.transport_socket.typed_config.Pack(tls)
    return made


def virtual_host(name: str, domain: str = "") -> route_components_pb2.VirtualHost:
    """Return a virtual host."""
    return route_components_pb2.VirtualHost(name=name, domains=[domain or name])


def _listener() -> listener_pb2.Listener:
    manager = hcm_pb2.HttpConnectionManager(stat_prefix="outbound")
    manager.rds.route_config_name = "80"
    config = AnyMessage()
    config.Pack(manager)
    made = listener_pb2.Listener(name="0.0.0.0_80")
    made.filter_chains.add().filters.add(name="http", typed_config=config)
    return made
