"""A control plane that knows one thing by heart: a delta ADS server of fixed resources for each node.

Run as a program where the proxies can reach it (``static_ads.py FILE HOST:PORT``). It answers every
subscription once, never changes its mind, and prints what a proxy rejects.
"""

from __future__ import annotations

import pickle
import sys
from concurrent import futures
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    Resource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from mizzen.wire import Resource as Rendered

Held = dict[str, list[tuple[str, str, bytes]]]
"""Node id -> type URL, name and encoded ``Resource`` of what that node gets."""

_METHOD: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_ROUTE: Final = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_VIRTUAL_HOST: Final = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
_MAX_STREAMS: Final = 16


def write(file: Path, nodes: Mapping[str, Iterable[Rendered]]) -> None:
    """Write the file that the program reads."""
    held = {
        node: [(resource.type.value, resource.name, resource.wire) for resource in resources]
        for node, resources in nodes.items()
    }
    file.write_bytes(pickle.dumps(held))


class _Stream:
    """One proxy's stream: what it has asked for, and what it gets for a request."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._node = ""
        self._asked: dict[str, set[str]] = {}

    def answers(self, request: DeltaDiscoveryRequest) -> Iterator[DeltaDiscoveryResponse]:
        """Return what a request calls for; nothing for one that only acknowledges."""
        self._node = self._node or request.node.id
        if request.HasField("error_detail"):
            print("rejected", request.type_url, request.error_detail.message, flush=True)
        names = set(request.resource_names_subscribe)
        first = request.type_url not in self._asked
        self._asked.setdefault(request.type_url, set()).update(names)
        if request.type_url == _VIRTUAL_HOST:
            if first:
                yield self._hosts_of(self._asked.get(_ROUTE, set()))
        elif first or names:
            everything = not names or "*" in names
            yield self._response(request.type_url, lambda name: everything or name in names)
        if request.type_url == _ROUTE and names and _VIRTUAL_HOST in self._asked:
            # Envoy asks for virtual hosts once, for all route configurations that it will ever have.
            yield self._hosts_of(names)

    def _hosts_of(self, routes: set[str]) -> DeltaDiscoveryResponse:
        return self._response(_VIRTUAL_HOST, lambda name: name.rpartition("/")[0] in routes)

    def _response(self, kind: str, wanted: Callable[[str], bool]) -> DeltaDiscoveryResponse:
        response = DeltaDiscoveryResponse(type_url=kind, nonce="one")
        for each, name, wire in self._held.get(self._node, []):
            if each == kind and wanted(name):
                response.resources.append(Resource.FromString(wire))
        return response


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, held: Held) -> None:
        self._held = held

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[DeltaDiscoveryRequest, DeltaDiscoveryResponse] | None:
        if details.method != _METHOD:
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=DeltaDiscoveryRequest.FromString,
            response_serializer=DeltaDiscoveryResponse.SerializeToString,
        )

    def _stream(
        self, requests: Iterator[DeltaDiscoveryRequest], _context: grpc.ServicerContext
    ) -> Iterator[DeltaDiscoveryResponse]:
        stream = _Stream(self._held)
        for request in requests:
            yield from stream.answers(request)


def main(file: str, address: str) -> None:
    """Serve until killed."""
    held: Held = pickle.loads(Path(file).read_bytes())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_MAX_STREAMS))
    server.add_generic_rpc_handlers((_Handler(held),))
    server.add_insecure_port(address)
    server.start()
    print("serving", address, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
