"""What the real Envoy says to resources: a bootstrap around them, given to ``envoy --mode validate``.

Nothing is served: what would come by name is put where it is named, or left to an ADS cluster that is
never connected to. Deprecated fields are errors, so only forms that this Envoy still wants pass.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import V3, ApiConfigSource
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET, route_configuration_of
from mizzen.wire import Resource, TypeUrl
from mizzen_certs.authority import Authority
from mizzen_certs.store import MemoryStore
from tests.support.clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Iterable

ENVOY: Final = Path(sys.executable).with_name("envoy")

_START_S: Final = 60
_ADS_CLUSTER: Final = "xds"
_FIRST_PORT: Final = 20_000


def rejection(resources: Iterable[Resource], folder: Path) -> str:
    """Return Envoy's complaint about resources; empty when it accepts them all."""
    path = folder / "bootstrap.pb"
    path.write_bytes(bootstrap(resources).SerializeToString(deterministic=True))
    result = subprocess.run(
        [ENVOY, "--mode", "validate", "-c", path, "-l", "error"],
        capture_output=True,
        text=True,
        timeout=_START_S,
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


def bootstrap(resources: Iterable[Resource]) -> Bootstrap:
    """Return a bootstrap that holds all the resources statically."""
    message = Bootstrap()
    message.node.id, message.node.cluster = "validated", "validated"
    _fail_on_deprecated(message)
    _add_ads(message)
    by_type: dict[TypeUrl, list[Resource]] = {}
    for resource in resources:
        by_type.setdefault(resource.type, []).append(resource)
    static = message.static_resources
    for resource in by_type.get(TypeUrl.CLUSTER, ()):
        cluster = static.clusters.add()
        cluster.ParseFromString(resource.body)
        _localise_secrets(cluster)
    static.secrets.extend(_secrets())
    for resource in by_type.get(TypeUrl.SECRET, ()):
        static.secrets.add().ParseFromString(resource.body)
    for number, resource in enumerate(by_type.get(TypeUrl.ENDPOINT, ())):
        _add_endpoints(static.clusters.add(), number, resource)
    for resource in by_type.get(TypeUrl.LISTENER, ()):
        static.listeners.add().ParseFromString(resource.body)
    for number, routes in enumerate(_route_configurations(by_type)):
        _add_routes(static.listeners.add(), number, routes)
    return message


def _fail_on_deprecated(message: Bootstrap) -> None:
    layer = message.layered_runtime.layers.add(name="strict")
    layer.static_layer["envoy.features.fail_on_any_deprecated_feature"] = True


def _add_ads(message: Bootstrap) -> None:
    """Name an ADS server, which everything that comes by name refers to."""
    ads = message.dynamic_resources.ads_config
    ads.api_type = ApiConfigSource.DELTA_GRPC
    ads.transport_api_version = V3
    ads.grpc_services.add().envoy_grpc.cluster_name = _ADS_CLUSTER
    cluster = message.static_resources.clusters.add(name=_ADS_CLUSTER, type=Cluster.STATIC)
    cluster.connect_timeout.seconds = 1
    cluster.load_assignment.cluster_name = _ADS_CLUSTER


def _localise_secrets(cluster: Cluster) -> None:
    """Let a cluster that is not EDS find its secrets in the bootstrap.

    Static clusters of other types are made before ADS is there, and this Envoy's validation mode
    crashes on their SDS; by CDS they come after it.
    """
    if cluster.type == Cluster.EDS or not cluster.transport_socket.HasField("typed_config"):
        return
    packed = cluster.transport_socket.typed_config
    tls = UpstreamTlsContext()
    if packed.Unpack(tls):
        common = tls.common_tls_context
        for secret in common.tls_certificate_sds_secret_configs:
            secret.ClearField("sds_config")
        if common.HasField("combined_validation_context"):
            validation = common.combined_validation_context
            validation.validation_context_sds_secret_config.ClearField("sds_config")
        packed.Pack(tls)


@cache
def _secrets() -> tuple[Secret, ...]:
    """Return a workload's secrets, as a CA of this moment makes them."""
    clock = ManualClock(datetime.now(UTC))
    authority = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, clock)
    identity = SpiffeId(
        trust_domain=DEFAULT_TRUST_DOMAIN, namespace="validated", service_account="default"
    )
    svid = authority.issue(identity)
    certificate = Secret(name=WORKLOAD_SECRET)
    certificate.tls_certificate.certificate_chain.inline_bytes = svid.chain_pem
    certificate.tls_certificate.private_key.inline_bytes = svid.key.reveal()
    roots = Secret(name=ROOTS_SECRET)
    roots.validation_context.trusted_ca.inline_bytes = authority.bundle().roots_pem
    return certificate, roots


def _add_endpoints(cluster: Cluster, number: int, resource: Resource) -> None:
    """Give endpoints to a cluster of their own."""
    cluster.name = f"endpoints-{number}"
    cluster.type = Cluster.STATIC
    cluster.connect_timeout.seconds = 1
    cluster.load_assignment.ParseFromString(resource.body)


def _route_configurations(by_type: dict[TypeUrl, list[Resource]]) -> list[RouteConfiguration]:
    """Return heads with their virtual hosts in them, as Envoy has them in the end."""
    found: dict[str, RouteConfiguration] = {}
    for resource in by_type.get(TypeUrl.ROUTE, ()):
        head = RouteConfiguration.FromString(resource.body)
        head.ClearField("vhds")
        found[head.name] = head
    for resource in by_type.get(TypeUrl.VIRTUAL_HOST, ()):
        name = route_configuration_of(resource.name)
        routes = found.setdefault(name, RouteConfiguration(name=name))
        routes.virtual_hosts.append(VirtualHost.FromString(resource.body))
    return list(found.values())


def _add_routes(listener: Listener, number: int, routes: RouteConfiguration) -> None:
    """Give a route configuration to a listener of its own."""
    listener.name = f"routes-{number}"
    listener.address.socket_address.address = "127.0.0.1"
    listener.address.socket_address.port_value = _FIRST_PORT + number
    manager = HttpConnectionManager(stat_prefix=listener.name, route_config=routes)
    router = manager.http_filters.add(name="envoy.filters.http.router")
    router.typed_config.Pack(Router())
    chain = listener.filter_chains.add()
    chain.filters.add(name="hcm").typed_config.Pack(manager)
