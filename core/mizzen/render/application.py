"""Port 15020: the application's probes, hooks and metrics, answered by Envoy itself.

The kubelet and Prometheus have no certificate, so under strict mutual TLS they cannot reach the
application's own ports. Their requests are rewritten to this listener (Istio: ``/app-health``), which
opens exactly the paths that the pod's spec names and nothing else:

- HTTP and HTTPS are routes to the application, with the status that it gives;
- TCP and gRPC are Envoy's own health checks of a cluster, and the answer says what they found;
- metrics are the application's behind Envoy's own, as Istio's agent merges them.

Envoy calls from 127.0.0.6, which is how capture knows its calls to the application from all others. All
is static: a pod's health never waits for a control plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2 as health_filter_pb2
from envoy.extensions.filters.http.lua.v3 import lua_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2

from mizzen.render.control_plane import Endpoint, address, static_cluster
from mizzen.render.proto import duration, pack, zero

if TYPE_CHECKING:
    from google.protobuf.message import Message

STATUS_PORT: Final = 15020
LISTENER: Final = "application"
METRICS_PATH: Final = "/stats/prometheus"
LINGER_PATH: Final = "/linger"
QUIT_PATH: Final = "/quitquitquit"

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HEALTH_FILTER: Final = "envoy.filters.http.health_check"
_FAULT_FILTER: Final = "envoy.filters.http.fault"
_LUA_FILTER: Final = "envoy.filters.http.lua"
_CONNECT_TIMEOUT: Final = timedelta(seconds=5)
# A check that failed is repeated at this interval, so that an application that starts is soon noticed.
_RETRY_INTERVAL: Final = timedelta(seconds=1)
# Lua holds both halves in memory to join them; a larger page is answered with an error, not cut.
_MAX_METRICS_BYTES: Final = 64 * 1024 * 1024
_METRICS_TIMEOUT_MS: Final = 10_000

# Envoy's own page is waited for first, for while the application is asked it would pass by; it is taken hold
# of anew after that, for no object of Lua's outlives a wait.
_MERGE: Final = """\
function envoy_on_response(handle)
  handle:body(true)
  local headers, body = handle:httpCall("{cluster}", {{
    [":method"] = "GET", [":path"] = {path}, [":authority"] = "{authority}",
  }}, nil, {timeout})
  if headers[":status"] ~= "200" or body == nil then return end
  local own = handle:body(true)
  own:setBytes(own:getBytes(0, own:length()) .. body)
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """A request that is handed to the application, whose status is the answer.

    Attributes:
        path: Where the kubelet asks (on 15020).
        target: What the application is asked for: path, and query if there is one.
        tls: Whether the application is called over TLS, unverified, as the kubelet does it.
        keeps_host: True where the asker sends a Host header of its own, which is handed on.
        timeout: How long the application may take; None for as long as the asker waits.
    """

    path: str
    port: int
    target: str = "/"
    tls: bool = False
    keeps_host: bool = False
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCheck:
    """Whether a port takes connections.

    Attributes:
        interval: How often Envoy looks.
        timeout: How long a connection may take.
    """

    path: str
    port: int
    interval: timedelta
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcCheck:
    """What the application's ``grpc.health.v1.Health`` says of a service; empty is the whole server."""

    path: str
    port: int
    service: str
    interval: timedelta
    timeout: timedelta


Check = HttpCheck | TcpCheck | GrpcCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where the application has its metrics."""

    port: int
    path: str = "/metrics"
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What is open on 15020.

    Attributes:
        host: The pod's own address, at which the kubelet would have called the application; a text
            that nothing in it can end.
        source: From where Envoy calls; ``::6`` in a pod whose address is IPv6.
        linger: After how long ``/linger`` is answered, which a preStop hook waits for; None for no such
            path.
        quits: Whether a process of the pod may end Envoy (``POST /quitquitquit``), which a Job with an
            ordinary sidecar does when it is done.
    """

    host: str
    source: str = "127.0.0.6"
    checks: tuple[Check, ...] = ()
    metrics: Metrics | None = None
    linger: timedelta | None = None
    quits: bool = False

    def authority(self, port: int) -> str:
        """Return the Host of a request to a port; the host itself may be a variable yet to be filled in."""
        host = f"[{self.host}]" if ":" in self.source else self.host
        return f"{host}:{port}"


def application_listener(
    application: Application, bind: str, admin_cluster: str
) -> listener_pb2.Listener:
    """Return the listener on 15020."""
    chains = [_chain(application, admin_cluster, local=False)]
    if application.quits:
        # the more specific match wins: calls from inside the pod
        chains.append(_chain(application, admin_cluster, local=True))
    listener = listener_pb2.Listener(
        name=LISTENER, address=address(bind, STATUS_PORT), filter_chains=chains
    )
    if application.metrics is not None:
        listener.per_connection_buffer_limit_bytes.value = _MAX_METRICS_BYTES
    return listener


def application_clusters(application: Application) -> list[cluster_pb2.Cluster]:
    """Return the clusters behind the listener: one for each port, and one for each health check."""
    clusters: dict[str, cluster_pb2.Cluster] = {}
    for check in application.checks:
        match check:
            case HttpCheck(port=port, tls=tls):
                name = _http_name(port, tls=tls)
                clusters.setdefault(name, _http_cluster(application, port, tls=tls))
            case TcpCheck() | GrpcCheck():
                clusters[check.path] = _checked_cluster(application, check)
    if (metrics := application.metrics) is not None:
        name = _http_name(metrics.port, tls=metrics.tls)
        cluster = clusters.setdefault(
            name, _http_cluster(application, metrics.port, tls=metrics.tls)
        )
        cluster.per_connection_buffer_limit_bytes.value = _MAX_METRICS_BYTES
    return [clusters[name] for name in sorted(clusters)]


def _chain(
    application: Application, admin_cluster: str, *, local: bool
) -> listener_components_pb2.FilterChain:
    chain = listener_components_pb2.FilterChain(name="local" if local else "everyone")
    if local:
        match = listener_components_pb2.FilterChainMatch
        chain.filter_chain_match.source_type = match.SAME_IP_OR_LOOPBACK
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=LISTENER,
        skip_xff_append=True,
        server_header_transformation=hcm_pb2.HttpConnectionManager.PASS_THROUGH,
        http_filters=_filters(application),
    )
    manager.generate_request_id.value = False
    manager.stream_idle_timeout.CopyFrom(zero())
    manager.route_config.name = LISTENER
    host = manager.route_config.virtual_hosts.add(name=LISTENER, domains=["*"])
    host.routes.extend(_routes(application, admin_cluster))
    if local:
        _add_quit(host.routes.add(), admin_cluster)
    chain.filters.add(
        name="envoy.filters.network.http_connection_manager", typed_config=pack(manager)
    )
    return chain


def _filters(application: Application) -> list[hcm_pb2.HttpFilter]:
    """Return the filters: each checked cluster answers its own path, all else goes on to the routes."""
    filters = [
        _filter(_HEALTH_FILTER, _health_answer(check.path))
        for check in application.checks
        if not isinstance(check, HttpCheck)
    ]
    if application.linger is not None:
        filters.append(_filter(_FAULT_FILTER, fault_pb2.HTTPFault()))
    if application.metrics is not None:
        filters.append(_filter(_LUA_FILTER, lua_pb2.Lua()))
    filters.append(
        _filter("envoy.filters.http.router", router_pb2.Router(suppress_envoy_headers=True))
    )
    return filters


def _filter(name: str, config: Message) -> hcm_pb2.HttpFilter:
    return hcm_pb2.HttpFilter(name=name, typed_config=pack(config))


def _health_answer(path: str) -> health_filter_pb2.HealthCheck:
    answer = health_filter_pb2.HealthCheck()
    answer.pass_through_mode.value = False
    answer.headers.add(name=":path").string_match.exact = path
    answer.cluster_min_healthy_percentages[path].value = 100
    return answer


def _routes(application: Application, admin_cluster: str) -> list[route_components_pb2.Route]:
    routes = [
        _http_route(application, check)
        for check in application.checks
        if isinstance(check, HttpCheck)
    ]
    routes.append(_metrics_route(application, admin_cluster))
    if application.linger is not None:
        routes.append(_linger_route(application.linger))
    return routes


def _http_route(application: Application, check: HttpCheck) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=check.path)
    route.match.path = check.path
    action = route.route
    action.cluster = _http_name(check.port, tls=check.tls)
    action.prefix_rewrite = check.target
    action.timeout.CopyFrom(duration(check.timeout) if check.timeout is not None else zero())
    if not check.keeps_host:
        action.host_rewrite_literal = application.authority(check.port)
    # To the kubelet a redirect is a success. Followed, it would lead to a path that is not open here.
    route.response_headers_to_remove.append("location")
    return route


def _metrics_route(application: Application, admin_cluster: str) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=METRICS_PATH)
    route.match.path = METRICS_PATH
    route.route.cluster = admin_cluster
    if (metrics := application.metrics) is None:
        return route
    # what is joined has to be text, and not compressed
    route.request_headers_to_remove.extend(["accept", "accept-encoding"])
    script = _MERGE.format(
        cluster=_http_name(metrics.port, tls=metrics.tls),
        path=_lua_string(metrics.path),
        authority=application.authority(metrics.port),
        timeout=_METRICS_TIMEOUT_MS,
    )
    per_route = lua_pb2.LuaPerRoute()
    per_route.source_code.inline_string = script
    route.typed_per_filter_config[_LUA_FILTER].CopyFrom(pack(per_route))
    return route


def _lua_string(text: str) -> str:
    """Return a Lua literal in which nothing can end the string: each byte by its number."""
    return '"' + "".join(f"\\{byte:03d}" for byte in text.encode()) + '"'


def _linger_route(linger: timedelta) -> route_components_pb2.Route:
    route = route_components_pb2.Route(name=LINGER_PATH)
    route.match.path = LINGER_PATH
    route.direct_response.status = 200
    fault = fault_pb2.HTTPFault()
    fault.delay.fixed_delay.CopyFrom(duration(linger))
    fault.delay.percentage.numerator = 100
    route.typed_per_filter_config[_FAULT_FILTER].CopyFrom(pack(fault))
    return route


def _add_quit(route: route_components_pb2.Route, admin_cluster: str) -> None:
    route.name = QUIT_PATH
    route.match.path = QUIT_PATH
    route.match.headers.add(name=":method").string_match.exact = "POST"
    route.route.cluster = admin_cluster


def _http_name(port: int, *, tls: bool) -> str:
    return f"{LISTENER}|{'https' if tls else 'http'}|{port}"


def _http_cluster(application: Application, port: int, *, tls: bool) -> cluster_pb2.Cluster:
    cluster = _cluster(application, _http_name(port, tls=tls), port)
    options = http_protocol_options_pb2.HttpProtocolOptions()
    options.explicit_http_config.http_protocol_options.SetInParent()
    # as the kubelet does: a connection kept may be closed under a probe, which would then fail
    options.common_http_protocol_options.max_requests_per_connection.value = 1
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    if tls:
        cluster.transport_socket.name = "envoy.transport_sockets.tls"
        cluster.transport_socket.typed_config.CopyFrom(pack(tls_pb2.UpstreamTlsContext()))
    return cluster


def _checked_cluster(application: Application, check: TcpCheck | GrpcCheck) -> cluster_pb2.Cluster:
    cluster = _cluster(application, check.path, check.port)
    health = cluster.health_checks.add(
        timeout=duration(check.timeout),
        interval=duration(check.interval),
        no_traffic_interval=duration(check.interval),
        unhealthy_interval=duration(_RETRY_INTERVAL),
    )
    health.no_traffic_healthy_interval.CopyFrom(duration(check.interval))
    # how many answers count is for the kubelet to say
    health.healthy_threshold.value = 1
    health.unhealthy_threshold.value = 1
    health.reuse_connection.value = False
    match check:
        case TcpCheck():
            health.tcp_health_check.SetInParent()
        case GrpcCheck(service=service):
            health.grpc_health_check.service_name = service
            options = http_protocol_options_pb2.HttpProtocolOptions()
            options.explicit_http_config.http2_protocol_options.SetInParent()
            cluster.typed_extension_protocol_options[_HTTP_OPTIONS].CopyFrom(pack(options))
    return cluster


def _cluster(application: Application, name: str, port: int) -> cluster_pb2.Cluster:
    cluster = static_cluster(name, Endpoint(host=application.host, port=port))
    cluster.connect_timeout.CopyFrom(duration(_CONNECT_TIMEOUT))
    cluster.upstream_bind_config.CopyFrom(
        address_pb2.BindConfig(
            source_address=address_pb2.SocketAddress(address=application.source, port_value=0)
        )
    )
    return cluster
