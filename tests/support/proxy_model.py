"""A proxy without a network: takes responses as an Envoy does, and complains of what would hurt one.

Requests and responses lie in two queues, and a test decides when which is delivered. What a proxy
complains of (:attr:`ProxyModel.complaints`) is a broken promise of the control plane: a host before its
route configuration, a route to a cluster that cannot serve yet, a cluster taken away under a route.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from mizzen.identity import SpiffeId
from mizzen.names import route_configuration_of
from mizzen.render.discovery import parse_node
from mizzen.wire import TypeUrl
from mizzen_xds.change import Response
from mizzen_xds.dialect import DELTA
from mizzen_xds.publisher import Connection, Publisher
from tests.support.ads import Got, node_id

T = TypeVar("T")
Fault = Callable[[TypeUrl, str, bytes], str | None]
_SINGLY = (TypeUrl.CLUSTER, TypeUrl.LISTENER)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits")


def no_fault(_type: TypeUrl, _name: str, _body: bytes) -> str | None:
    """Find no fault."""
    return None


@dataclass(slots=True)
class ProxyModel:
    """What one proxy has, asks for and complains of."""

    publisher: Publisher
    node: str = field(default_factory=node_id)
    fault: Fault = no_fault
    has: dict[TypeUrl, dict[str, Got]] = field(default_factory=lambda: {of: {} for of in TypeUrl})
    versions: dict[TypeUrl, dict[str, str]] = field(
        default_factory=lambda: {of: {} for of in TypeUrl}
    )
    warming: set[str] = field(default_factory=set)
    leftovers: set[str] = field(default_factory=set)
    asked: dict[TypeUrl, set[str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    exempt: Callable[[str], bool] = lambda _name: False
    to_server: deque[bytes] = field(default_factory=deque)
    to_proxy: deque[bytes] = field(default_factory=deque)
    sizes: list[int] = field(default_factory=list)
    connection: Connection | None = None

    # The network, in a test's hands

    def connect(self) -> None:
        """Open a stream, as Envoy does after a lost one: with all subscriptions and versions.

        A cluster that was warming then goes on with the endpoints that it had, after a while. What was
        good in a refused response is in use without its version, so that the control plane is not told
        of it: these are ``leftovers``.
        """
        self.disconnect()
        self.warming -= self.has[TypeUrl.ENDPOINT].keys()
        for of in _SINGLY:
            claimed = self.versions[of]
            self.leftovers |= {
                name for name, got in self.has[of].items() if claimed.get(name) != got.version
            }
        asked, self.asked = self.asked, {}
        for of in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE):
            if of in (TypeUrl.CLUSTER, TypeUrl.LISTENER) or asked.get(of):
                self._ask(of, asked.get(of, set()))
        if TypeUrl.VIRTUAL_HOST in asked:
            self._ask(TypeUrl.VIRTUAL_HOST, set())

    def disconnect(self) -> None:
        """Lose the stream and what is on its way."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.to_server.clear()
        self.to_proxy.clear()

    def deliver_request(self) -> bool:
        """Give the control plane the next request; tell whether there was one."""
        if not self.to_server:
            return False
        raw = self.to_server.popleft()
        if self.connection is None:
            self.connection = self._admitted(raw)
        self.connection.receive(raw)
        return True

    def deliver_response(self) -> bool:
        """Give the proxy the next response; tell whether there was one."""
        if not self.to_proxy:
            return False
        self._take(DeltaDiscoveryResponse.FromString(self.to_proxy.popleft()))
        return True

    def drain(self) -> None:
        """Deliver until nothing is on its way."""
        while self.deliver_request() or self.deliver_response():
            pass

    def _admitted(self, raw: bytes) -> Connection:
        node = parse_node(raw)
        identity = SpiffeId.parse(f"spiffe://cluster.local/ns/{node.namespace}/sa/default")
        return at_once(
            self.publisher.connect(node=node, identity=identity, dialect=DELTA, send=self._sent)
        )

    def _sent(self, responses: list[Response]) -> None:
        for response in responses:
            raw = b"".join(response.parts)
            self.sizes.append(len(raw))
            self.to_proxy.append(raw)

    # The proxy

    def _ask(self, of: TypeUrl, names: set[str], dropped: set[str] | None = None) -> None:
        request = DeltaDiscoveryRequest(type_url=of.value)
        request.resource_names_subscribe.extend(sorted(names))
        request.resource_names_unsubscribe.extend(sorted(dropped or ()))
        if not self.asked and self.connection is None and not self.to_server:
            request.node.id = self.node
        if of not in self.asked:
            request.initial_resource_versions.update(self.versions[of])
        self.asked.setdefault(of, set()).update(names)
        self.asked[of] -= dropped or set()
        self.to_server.append(request.SerializeToString())

    def _take(self, response: DeltaDiscoveryResponse) -> None:
        of = TypeUrl(response.type_url)
        faults = self._faults(of, response)
        taken = [r for r in response.resources if r.name not in faults]
        if faults and of not in _SINGLY:
            taken = []
        removed = [] if faults and of not in _SINGLY else list(response.removed_resources)
        self._apply(of, {r.name: Got(r.version, r.resource.value) for r in taken}, removed)
        if not faults:
            self.versions[of].update({r.name: r.version for r in response.resources})
            for name in removed:
                self.versions[of].pop(name, None)
        self._follow(of)
        answer = DeltaDiscoveryRequest(type_url=of.value, response_nonce=response.nonce)
        if faults:
            answer.error_detail.message = "; ".join(faults.values())
        self.to_server.append(answer.SerializeToString())

    def _faults(self, of: TypeUrl, response: DeltaDiscoveryResponse) -> dict[str, str]:
        found = {
            r.name: text
            for r in response.resources
            if (text := self.fault(of, r.name, r.resource.value)) is not None
        }
        if of is TypeUrl.VIRTUAL_HOST and not found:
            text = self._stolen_domain(response)
            found.update({r.name: text for r in response.resources if text})
        return found

    def _stolen_domain(self, response: DeltaDiscoveryResponse) -> str:
        hosts = {name: got.body for name, got in self.has[TypeUrl.VIRTUAL_HOST].items()}
        for name in response.removed_resources:
            hosts.pop(name, None)
        hosts.update({r.name: r.resource.value for r in response.resources})
        owners: dict[tuple[str, str], str] = {}
        for name, body in hosts.items():
            for domain in VirtualHost.FromString(body).domains:
                key = route_configuration_of(name), domain
                if owners.setdefault(key, name) != name:
                    return f"Duplicate entry of domain {domain}"
        return ""

    def _apply(self, of: TypeUrl, new: dict[str, Got], removed: list[str]) -> None:
        held = self.has[of]
        for name in removed:
            if held.pop(name, None) is not None and of is TypeUrl.CLUSTER:
                self._lose(name)
        for name, got in new.items():
            self._examine(of, name, got)
            if of is TypeUrl.VIRTUAL_HOST and route_configuration_of(name) not in self._routes():
                continue
            if of is TypeUrl.CLUSTER and _is_eds(got.body) and held.get(name) != got:
                self.warming.add(name)
            held[name] = got
            if of is TypeUrl.ENDPOINT:
                self.warming.discard(name)
        if of is TypeUrl.ENDPOINT:
            self.warming.difference_update(removed)

    def _lose(self, name: str) -> None:
        self.warming.discard(name)
        users = [
            host
            for host, got in self.has[TypeUrl.VIRTUAL_HOST].items()
            if name in clusters_of(got.body) and not self.exempt(host)
        ]
        if users:
            self.complaints.append(f"cluster {name} was taken away under {users}")

    def _examine(self, of: TypeUrl, name: str, got: Got) -> None:
        if of is not TypeUrl.VIRTUAL_HOST or self.exempt(name):
            return
        route = route_configuration_of(name)
        if route in self.asked.get(TypeUrl.ROUTE, ()) and route not in self.has[TypeUrl.ROUTE]:
            self.complaints.append(f"host {name} before its route configuration")
        clusters = self.has[TypeUrl.CLUSTER]
        for used in clusters_of(got.body):
            if used not in clusters and not self.exempt(used):
                self.complaints.append(f"host {name} before its cluster {used}")
            if used in self.warming and self._is_new(used) and not self.exempt(used):
                self.complaints.append(f"host {name} while its cluster {used} is warming")

    def _is_new(self, name: str) -> bool:
        """Tell whether a warming cluster has no older version that serves meanwhile."""
        return name not in self.has[TypeUrl.ENDPOINT]

    def _routes(self) -> set[str]:
        return set(self.has[TypeUrl.ROUTE]) & self.asked.get(TypeUrl.ROUTE, set())

    def _follow(self, of: TypeUrl) -> None:
        if of is TypeUrl.CLUSTER:
            wanting = {n for n, got in self.has[of].items() if _is_eds(got.body)}
            self._want(TypeUrl.ENDPOINT, wanting)
        elif of is TypeUrl.LISTENER:
            self._want(TypeUrl.ROUTE, {_route(got.body) for got in self.has[of].values()})
            hosts = self.has[TypeUrl.VIRTUAL_HOST]
            for name in [n for n in hosts if route_configuration_of(n) not in self._routes()]:
                del hosts[name]
                self.versions[TypeUrl.VIRTUAL_HOST].pop(name, None)
        elif of is TypeUrl.ROUTE and TypeUrl.VIRTUAL_HOST not in self.asked and self._routes():
            self._ask(TypeUrl.VIRTUAL_HOST, set())

    def _want(self, of: TypeUrl, names: set[str]) -> None:
        asked = self.asked.get(of, set())
        added, dropped = names - asked, asked - names
        if not added and not dropped:
            return
        for name in dropped:
            self.has[of].pop(name, None)
            self.versions[of].pop(name, None)
        self._ask(of, added, dropped)


def clusters_of(body: bytes) -> set[str]:
    """Return the clusters that an encoded virtual host routes to."""
    return {
        route.route.cluster for route in VirtualHost.FromString(body).routes if route.route.cluster
    }


def _is_eds(body: bytes) -> bool:
    return bool(Cluster.FromString(body).type == Cluster.EDS)


def _route(body: bytes) -> str:
    typed = Listener.FromString(body).filter_chains[0].filters[0].typed_config
    name: str = HttpConnectionManager.FromString(typed.value).rds.route_config_name
    return name
