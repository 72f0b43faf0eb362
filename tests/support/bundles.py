"""Small bundles made by hand: as much of a mesh as the delivery of it needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from google.protobuf.message import Message

from mizzen.bundle import EMPTY_TABLE, Bundle, Entry, Table
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen.wire import TypeUrl, encode


def origin(name: str, kind: str = "VirtualService") -> ObjectKey:
    """Return an object of namespace ``shop``."""
    return ObjectKey(DEFAULT_REGISTRY, kind, "shop", name)


def entry(
    type_url: TypeUrl,
    name: str,
    message: Message,
    *,
    requires: Iterable[str] = (),
    origins: Iterable[ObjectKey] = (),
) -> Entry:
    """Return an entry of a table."""
    resource = encode(type_url, name, message)
    return Entry(resource, origins=tuple(origins), requires=frozenset(requires))


def cluster(name: str, *, connect_s: int = 1, eds: bool = True) -> Entry:
    """Return a cluster; its connect timeout is what makes versions differ."""
    message = Cluster(name=name)
    message.connect_timeout.FromTimedelta(timedelta(seconds=connect_s))
    if eds:
        message.type = Cluster.EDS
        message.eds_cluster_config.eds_config.ads.SetInParent()
        message.eds_cluster_config.eds_config.resource_api_version = 2
    else:
        message.type = Cluster.STATIC
    return entry(TypeUrl.CLUSTER, name, message, origins=[origin(name, "Service")])


def endpoints(name: str, *ports: int) -> Entry:
    """Return a cluster's endpoints on loopback."""
    message = ClusterLoadAssignment(cluster_name=name)
    group = message.endpoints.add()
    for port in ports:
        address = group.lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return entry(TypeUrl.ENDPOINT, name, message, origins=[origin(name, "EndpointSlice")])


def listener(name: str, port: int, route: str, *, requires: Iterable[str] = ()) -> Entry:
    """Return an HTTP listener on loopback with a route configuration by RDS."""
    message = Listener(name=name)
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = port
    manager = HttpConnectionManager(stat_prefix=name)
    manager.rds.route_config_name = route
    manager.rds.config_source.ads.SetInParent()
    manager.rds.config_source.resource_api_version = 2
    router = manager.http_filters.add(name="envoy.filters.http.router")
    router.typed_config.Pack(Router())
    chain = message.filter_chains.add()
    chain.filters.add(name="hcm").typed_config.Pack(manager)
    return entry(TypeUrl.LISTENER, name, message, requires=requires)


def route_configuration(name: str, *, header: str = "") -> Entry:
    """Return a route configuration whose hosts come by VHDS."""
    message = RouteConfiguration(name=name)
    message.vhds.config_source.ads.SetInParent()
    message.vhds.config_source.resource_api_version = 2
    if header:
        message.internal_only_headers.append(header)
    return entry(TypeUrl.ROUTE, name, message)


def host(
    name: str, cluster_name: str = "", *, domains: Iterable[str] = (), status: int = 200
) -> Entry:
    """Return a virtual host that routes to a cluster, or answers by itself where there is none."""
    message = VirtualHost(name=name, domains=domains or [name.rpartition("/")[2]])
    route = message.routes.add()
    route.match.prefix = "/"
    if cluster_name:
        route.route.cluster = cluster_name
    else:
        route.direct_response.status = status
    return entry(
        TypeUrl.VIRTUAL_HOST,
        name,
        message,
        requires=[cluster_name] if cluster_name else [],
        origins=[origin(name.rpartition("/")[2])],
    )


def table(*entries: Entry) -> Table:
    """Return a table of entries."""
    return Table({one.resource.name: one for one in entries})


def bundle(revision: int, *entries: Entry, layers: Mapping[TypeUrl, Table] | None = None) -> Bundle:
    """Return a bundle with one layer of each type, and further ones where they are given."""
    tables: dict[TypeUrl, tuple[Table, ...]] = {
        of: (table(*(one for one in entries if one.resource.type is of)),) for of in TypeUrl
    }
    for of, layer in (layers or {}).items():
        tables[of] = (*tables[of], layer)
    return Bundle(revision=revision, tables=tables)


def changed(before: Bundle, *entries: Entry, without: Iterable[tuple[TypeUrl, str]] = ()) -> Bundle:
    """Return the next revision of a bundle, grown out of it as the compiler's do."""
    tables = dict(before.tables)
    for one in entries:
        tables[one.resource.type] = _updated(tables, one.resource.type, one.resource.name, one)
    for of, name in without:
        tables[of] = _updated(tables, of, name, None)
    return Bundle(revision=before.revision + 1, tables=tables)


def _updated(
    tables: Mapping[TypeUrl, tuple[Table, ...]], of: TypeUrl, name: str, one: Entry | None
) -> tuple[Table, ...]:
    layers = tables.get(of) or (EMPTY_TABLE,)
    return (layers[0].updated({name: one}), *layers[1:])
