"""The file an Envoy starts with: who it is, where its control plane is, and two static listeners.

No agent stands beside Envoy, so the bootstrap holds what Istio's agent does otherwise: the node's
identity and metadata, the authenticated stream (:mod:`mizzen.render.control_plane`), and readiness
(15021) and Prometheus (15090) in front of the admin interface, which itself stays on loopback.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, socket_option_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.metrics.v3 import stats_pb2
from envoy.config.overload.v3 import overload_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,
)
from google.protobuf import json_format

from mizzen.model.meta import NO_LABELS, Labels, label
from mizzen.names import DEFAULT_DOMAIN, DEFAULT_REGISTRY, LOCAL_CLUSTER
from mizzen.render.application import (
    Application,
    application_clusters,
    application_listener,
)
from mizzen.render.control_plane import (
    ControlPlane,
    Endpoint,
    address,
    control_plane_clusters,
    dynamic_resources,
    local_cluster,
    packed,
    static_cluster,
)

if TYPE_CHECKING:
    from mizzen.model.proxy import ProxyKind

ADMIN_PORT: Final = 15000
READINESS_PORT: Final = 15021
PROMETHEUS_PORT: Final = 15090

_LOOPBACK: Final = "127.0.0.1"
_ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104  # the kubelet and Prometheus come from outside the pod
_ADMIN_CLUSTER: Final = "prometheus_stats"

# Linux's numbers, as they stand in Envoy's SocketOption.
_SOL_SOCKET: Final = 1
_SO_MARK: Final = 36

# Envoy warns where no limit is set; this one is "none" said aloud.
NO_LIMIT: Final = 2**31 - 1
# Istio allows regexes up to this size; Envoy's own limit, 100, refuses ordinary ones.
_MAX_REGEX_PROGRAM: Final = 32_768


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """Where a proxy runs; empty parts are unknown."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Who a proxy says it is; the names in the metadata are Istio's.

    Attributes:
        ips: The addresses of the pod, the first of them the one in the node id.
        cluster_id: The registry that the pod belongs to.
    """

    kind: ProxyKind
    pod: str
    namespace: str
    ips: tuple[str, ...]
    service_account: str = "default"
    labels: Labels = NO_LABELS
    workload: str = ""
    domain: str = DEFAULT_DOMAIN
    cluster_id: str = DEFAULT_REGISTRY
    node_name: str = ""
    mesh_id: str = DEFAULT_DOMAIN
    locality: Locality = field(default_factory=Locality)

    @property
    def id(self) -> str:
        """The node id, ``<kind>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>``."""
        own_domain = f"{self.namespace}.svc.{self.domain}"
        return f"{self.kind}~{self.ips[0]}~{self.pod}.{self.namespace}~{own_domain}"

    @property
    def cluster(self) -> str:
        """The canonical service's name and the namespace (``service-cluster`` in Istio)."""
        return f"{label(self.labels, 'app', self.workload or self.pod)}.{self.namespace}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapConfig:
    """All that a bootstrap depends on.

    Attributes:
        mark: A firewall mark on everything that Envoy opens, for where capture cannot tell it by its
            uid; 0 for none.
        application: What is open on 15020 of the application that Envoy stands before; None for a proxy
            that has none.
        bind: Where the static listeners are; ``::`` in a pod whose address is IPv6.
        max_connections: How many clients may be connected at a time, those of the static listeners aside.
    """

    node: Node
    control_plane: ControlPlane
    mark: int = 0
    application: Application | None = None
    bind: str = _ANY_ADDRESS
    admin_port: int = ADMIN_PORT
    readiness_port: int = READINESS_PORT
    prometheus_port: int = PROMETHEUS_PORT
    max_connections: int = NO_LIMIT


def bootstrap_text(config: BootstrapConfig) -> str:
    """Return the bootstrap as JSON (which is YAML too), the same text for equal values."""
    return json.dumps(_as_json(config), indent=2, sort_keys=True) + "\n"


def bootstrap_line(config: BootstrapConfig) -> str:
    """Return the same on one line, as an argument of Envoy's."""
    return json.dumps(_as_json(config), separators=(",", ":"), sort_keys=True)


def _as_json(config: BootstrapConfig) -> object:
    return json_format.MessageToDict(bootstrap(config), preserving_proto_field_name=True)


def bootstrap(config: BootstrapConfig) -> bootstrap_pb2.Bootstrap:
    """Return the ``envoy.config.bootstrap.v3.Bootstrap`` of a proxy."""
    return bootstrap_pb2.Bootstrap(
        node=_node(config.node),
        admin=bootstrap_pb2.Admin(address=address(_LOOPBACK, config.admin_port)),
        dynamic_resources=dynamic_resources(config.control_plane),
        static_resources=bootstrap_pb2.Bootstrap.StaticResources(
            listeners=_listeners(config),
            clusters=_clusters(config),
        ),
        cluster_manager=_cluster_manager(config.mark),
        stats_config=_stats_config(),
        deferred_stat_options=bootstrap_pb2.Bootstrap.DeferredStatOptions(
            enable_deferred_creation_stats=True
        ),
        layered_runtime=_runtime(),
        overload_manager=_overload_manager(config.max_connections),
    )


def _listeners(config: BootstrapConfig) -> list[listener_pb2.Listener]:
    ready = Endpoint(host=config.bind, port=config.readiness_port)
    statistics = Endpoint(host=config.bind, port=config.prometheus_port)
    own = [
        _forward("readiness", ready, "/healthz/ready", "/ready"),
        _forward("prometheus", statistics, *["/stats/prometheus"] * 2),
    ]
    if config.application is not None:
        own.append(application_listener(config.application, config.bind, _ADMIN_CLUSTER))
    for listener in own if config.max_connections < NO_LIMIT else ():
        # A proxy that has all the clients that it may have is healthy, and is looked at.
        listener.ignore_global_conn_limit = True
    return own


def _clusters(config: BootstrapConfig) -> list[cluster_pb2.Cluster]:
    own = [
        static_cluster(_ADMIN_CLUSTER, Endpoint(host=_LOOPBACK, port=config.admin_port)),
        *control_plane_clusters(config.control_plane),
        local_cluster(),
    ]
    return own if config.application is None else [*own, *application_clusters(config.application)]


def _node(node: Node) -> base_pb2.Node:
    message = base_pb2.Node(
        id=node.id,
        cluster=node.cluster,
        locality=base_pb2.Locality(
            region=node.locality.region, zone=node.locality.zone, sub_zone=node.locality.sub_zone
        ),
    )
    metadata = {
        "CLUSTER_ID": node.cluster_id,
        # Istio's word for a proxy that has a local cluster.
        "ENABLE_SELF_DISCOVERY": "true",
        "INSTANCE_IPS": ",".join(node.ips),
        "LABELS": dict(node.labels),
        "MESH_ID": node.mesh_id,
        "NAME": node.pod,
        "NAMESPACE": node.namespace,
        "NODE_NAME": node.node_name,
        "SERVICE_ACCOUNT": node.service_account,
        "WORKLOAD_NAME": node.workload,
    }
    message.metadata.update({name: value for name, value in metadata.items() if value})
    return message


def _forward(name: str, where: Endpoint, path: str, admin_path: str) -> listener_pb2.Listener:
    """Return a listener that answers one path out of the admin interface, and nothing else of it."""
    route = route_components_pb2.Route(
        match=route_components_pb2.RouteMatch(path=path),
        route=route_components_pb2.RouteAction(
            cluster=_ADMIN_CLUSTER, prefix_rewrite=admin_path if admin_path != path else ""
        ),
    )
    everyone = route_components_pb2.VirtualHost(name=name, domains=["*"], routes=[route])
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=name,
        route_config=route_pb2.RouteConfiguration(name=name, virtual_hosts=[everyone]),
        http_filters=[
            hcm_pb2.HttpFilter(
                name="envoy.filters.http.router", typed_config=packed(router_pb2.Router())
            )
        ],
    )
    network_filter = listener_components_pb2.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=packed(manager)
    )
    return listener_pb2.Listener(
        name=name,
        address=address(where.host, where.port),
        filter_chains=[listener_components_pb2.FilterChain(filters=[network_filter])],
    )


def _cluster_manager(mark: int) -> bootstrap_pb2.ClusterManager:
    if not mark:
        return bootstrap_pb2.ClusterManager(local_cluster_name=LOCAL_CLUSTER)
    option = socket_option_pb2.SocketOption(
        description="told from the application by capture",
        level=_SOL_SOCKET,
        name=_SO_MARK,
        int_value=mark,
        state=socket_option_pb2.SocketOption.STATE_PREBIND,
    )
    return bootstrap_pb2.ClusterManager(
        local_cluster_name=LOCAL_CLUSTER,
        upstream_bind_config=address_pb2.BindConfig(
            source_address=address_pb2.SocketAddress(address=_ANY_ADDRESS, port_value=0),
            socket_options=[option],
        ),
    )


def _stats_config() -> stats_pb2.StatsConfig:
    """Return the tags; a service's cluster ends in ``;`` in statistics, so that its dots do no harm."""
    return stats_pb2.StatsConfig(
        stats_tags=[stats_pb2.TagSpecifier(tag_name="cluster_name", regex=r"^cluster\.((.+?);\.)")]
    )


def _runtime() -> bootstrap_pb2.LayeredRuntime:
    layer = bootstrap_pb2.RuntimeLayer(name="defaults")
    layer.static_layer.update(
        {
            "envoy.reloadable_features.http_reject_path_with_fragment": False,
            "re2.max_program_size.error_level": _MAX_REGEX_PROGRAM,
        }
    )
    admin = bootstrap_pb2.RuntimeLayer(
        name="admin", admin_layer=bootstrap_pb2.RuntimeLayer.AdminLayer()
    )
    return bootstrap_pb2.LayeredRuntime(layers=[layer, admin])


def _overload_manager(max_connections: int) -> overload_pb2.OverloadManager:
    limit = downstream_connections_pb2.DownstreamConnectionsConfig(
        max_active_downstream_connections=max_connections
    )
    monitor = overload_pb2.ResourceMonitor(
        name="envoy.resource_monitors.global_downstream_max_connections", typed_config=packed(limit)
    )
    return overload_pb2.OverloadManager(resource_monitors=[monitor])
