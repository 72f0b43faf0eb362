"""How an Envoy reaches its control plane: the authenticated delta ADS stream of a bootstrap.

A stream with a token is made in one of two ways. A pod's uses Envoy's own client, whose roots and token come
by SDS from files and are read anew when the files change: what runs for years outlives roots. It takes two
more files, which say where the others are. Where there are none, ``google_grpc`` reads the token's file
anew for each stream (``envoy.grpc_credentials.file_based_metadata``), and the roots once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from envoy.config.bootstrap.v3 import bootstrap_pb2
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import (
    address_pb2,
    base_pb2,
    config_source_pb2,
    grpc_service_pb2,
)
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2
from envoy.config.grpc_credential.v3 import file_based_metadata_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2
from envoy.extensions.filters.http.credential_injector.v3 import credential_injector_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf import duration_pb2, json_format
from google.protobuf.any_pb2 import Any as AnyMessage
from xds.type.v3 import typed_struct_pb2

from mizzen.names import LOCAL_CLUSTER

if TYPE_CHECKING:
    from google.protobuf.message import Message

_XDS_CLUSTER: Final = "xds-grpc"
_ROOTS: Final = "control-plane-roots"
_TOKEN: Final = "control-plane-token"  # noqa: S105  # what it is called
_SECRET_TYPE: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

# A control plane that vanished without a word is noticed within this time (gRPC keepalive).
_KEEPALIVE_MS: Final = 30_000
# A restarted control plane has its proxies back within seconds; both clients add jitter, so no stampede.
_RECONNECT_BASE_MS: Final = 500
_LOCAL_CLUSTER_WAIT_S: Final = 1
_RECONNECT_MAX_SECONDS: Final = 5
_RESOLVE_SECONDS: Final = 60
# gRPC's own client lets a stream wait for its connection (gRFC A6). Otherwise each attempt without one
# fails at once, and Envoy, which knows no limit for this client but its own, soon waits up to 30 s.
_WAIT_FOR_READY: Final = '{"methodConfig": [{"name": [{}], "waitForReady": true}]}'

_GENERIC_TYPE: Final = (
    "type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOverTls:
    """TLS that verifies the server, and a bearer token from a file that is read for each stream.

    Attributes:
        server_name: The name that the server's certificate must have.
        root_file: Where Envoy finds the PEM roots for it.
        token_file: Where Envoy finds the projected service-account token.
    """

    endpoint: Endpoint
    server_name: str
    root_file: str
    token_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedToken:
    """TLS that verifies the server, and a bearer token, both from files that Envoy watches.

    Attributes:
        server_name: The name that the server's certificate must have.
        roots_document: The file with what :func:`roots_document` returns.
        token_document: The file with what :func:`token_document` returns.
    """

    endpoint: Endpoint
    server_name: str
    roots_document: str
    token_document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SvidOverTls:
    """Mutual TLS with a certificate from files, which Envoy reads again when they change."""

    endpoint: Endpoint
    server_name: str
    root_file: str
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintext:
    """No protection at all: development on one machine; the server refuses all but loopback."""

    endpoint: Endpoint


ControlPlane = TokenOverTls | WatchedToken | SvidOverTls | Plaintext


def roots_document(root_file: str, server_name: str) -> str:
    """Return the text of a file that tells Envoy, over SDS, whom to trust as the control plane."""
    name = {"san_type": "DNS", "matcher": {"exact": server_name}}
    context = {"trusted_ca": {"filename": root_file}, "match_typed_subject_alt_names": [name]}
    return _secret_document(_ROOTS, {"validation_context": context})


def token_document(token_file: str) -> str:
    """Return the text of a file that tells Envoy, over SDS, where its token is."""
    return _secret_document(_TOKEN, {"generic_secret": {"secret": {"filename": token_file}}})


def _secret_document(name: str, secret: dict[str, object]) -> str:
    resource = {"@type": _SECRET_TYPE, "name": name} | secret
    return json.dumps({"resources": [resource]}, separators=(",", ":"), sort_keys=True)


def dynamic_resources(control_plane: ControlPlane) -> bootstrap_pb2.Bootstrap.DynamicResources:
    """Return delta ADS for everything; nothing is given up on, so no start with half a configuration."""
    over_ads = _over_ads(wait_s=0)
    return bootstrap_pb2.Bootstrap.DynamicResources(
        lds_config=over_ads,
        cds_config=over_ads,
        ads_config=config_source_pb2.ApiConfigSource(
            api_type=config_source_pb2.ApiConfigSource.DELTA_GRPC,
            transport_api_version=config_source_pb2.ApiVersion.V3,
            set_node_on_first_message_only=True,
            grpc_services=[_grpc_service(control_plane)],
        ),
    )


def local_cluster() -> cluster_pb2.Cluster:
    """Return the cluster of the proxy's own workload, whose endpoints come with everything else.

    Nobody calls it. Envoy asks for it ahead of all other clusters, and goes on without it where nobody
    answers: a control plane that knows nothing of it holds no start up.
    """
    return cluster_pb2.Cluster(
        name=LOCAL_CLUSTER,
        type=cluster_pb2.Cluster.EDS,
        connect_timeout=duration_pb2.Duration(seconds=1),
        eds_cluster_config=cluster_pb2.Cluster.EdsClusterConfig(
            eds_config=_over_ads(wait_s=_LOCAL_CLUSTER_WAIT_S)
        ),
    )


def _over_ads(*, wait_s: int) -> config_source_pb2.ConfigSource:
    """Return "by the stream", waited for this long; 0 is for ever."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        initial_fetch_timeout=duration_pb2.Duration(seconds=wait_s),
        resource_api_version=config_source_pb2.ApiVersion.V3,
    )


def _grpc_service(control_plane: ControlPlane) -> grpc_service_pb2.GrpcService:
    service = grpc_service_pb2.GrpcService()
    match control_plane:
        case TokenOverTls():
            service.google_grpc.CopyFrom(_google_grpc(control_plane))
        case WatchedToken() | SvidOverTls() | Plaintext():
            service.envoy_grpc.cluster_name = _XDS_CLUSTER
            # for streams Envoy reads it here and nowhere else
            backoff = service.envoy_grpc.retry_policy.retry_back_off
            backoff.base_interval.FromMilliseconds(_RECONNECT_BASE_MS)
            backoff.max_interval.FromSeconds(_RECONNECT_MAX_SECONDS)
    return service


def _google_grpc(control_plane: TokenOverTls) -> grpc_service_pb2.GrpcService.GoogleGrpc:
    google = grpc_service_pb2.GrpcService.GoogleGrpc
    plugin = google.CallCredentials.MetadataCredentialsFromPlugin(
        name="envoy.grpc_credentials.file_based_metadata",
        typed_config=packed(
            file_based_metadata_pb2.FileBasedMetadataConfig(
                secret_data=base_pb2.DataSource(filename=control_plane.token_file),
                header_key="authorization",
                header_prefix="Bearer ",
            )
        ),
    )
    return google(
        target_uri=str(control_plane.endpoint),
        stat_prefix=_XDS_CLUSTER,
        credentials_factory_name="envoy.grpc_credentials.file_based_metadata",
        channel_credentials=google.ChannelCredentials(
            ssl_credentials=google.SslCredentials(
                root_certs=base_pb2.DataSource(filename=control_plane.root_file)
            )
        ),
        call_credentials=[google.CallCredentials(from_plugin=plugin)],
        channel_args=_channel_args(control_plane.server_name),
    )


def _channel_args(server_name: str) -> grpc_service_pb2.GrpcService.GoogleGrpc.ChannelArgs:
    """Return gRPC's settings: without the first, a large response ends the stream for ever."""
    arguments = grpc_service_pb2.GrpcService.GoogleGrpc.ChannelArgs()
    numbers = {
        "grpc.max_receive_message_length": -1,
        "grpc.keepalive_time_ms": _KEEPALIVE_MS,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.initial_reconnect_backoff_ms": _RECONNECT_BASE_MS,
        "grpc.max_reconnect_backoff_ms": _RECONNECT_MAX_SECONDS * 1000,
    }
    for name, value in numbers.items():
        arguments.args[name].int_value = value
    arguments.args["grpc.service_config"].string_value = _WAIT_FOR_READY
    arguments.args["grpc.ssl_target_name_override"].string_value = server_name
    return arguments


def control_plane_clusters(control_plane: ControlPlane) -> list[cluster_pb2.Cluster]:
    """Return the static cluster of Envoy's own gRPC client, where that is the one used."""
    match control_plane:
        case TokenOverTls():
            return []
        case Plaintext(endpoint=endpoint):
            return [_http2_cluster(endpoint)]
        case WatchedToken() as watched:
            return [_watched_cluster(watched)]
        case SvidOverTls(endpoint=endpoint) as svid:
            cluster = _http2_cluster(endpoint)
            cluster.transport_socket.name = "envoy.transport_sockets.tls"
            cluster.transport_socket.typed_config.Pack(_svid_context(svid))
            return [cluster]


def _watched_cluster(watched: WatchedToken) -> cluster_pb2.Cluster:
    cluster = _http2_cluster(watched.endpoint, *_with_token(watched.token_document))
    context = tls_pb2.UpstreamTlsContext(sni=watched.server_name)
    context.common_tls_context.alpn_protocols.append("h2")
    context.common_tls_context.validation_context_sds_secret_config.CopyFrom(
        _from_file(_ROOTS, watched.roots_document)
    )
    cluster.transport_socket.name = "envoy.transport_sockets.tls"
    cluster.transport_socket.typed_config.Pack(context)
    return cluster


def _with_token(document: str) -> tuple[hcm_pb2.HttpFilter, ...]:
    """Return the filters of the cluster itself: requests leave it with the token as it is by then."""
    # as a struct, for the generated class is older than the prefix
    token = typed_struct_pb2.TypedStruct(type_url=_GENERIC_TYPE)
    credential = json_format.MessageToDict(
        _from_file(_TOKEN, document), preserving_proto_field_name=True
    )
    token.value.update(
        {"credential": credential, "header": "authorization", "header_value_prefix": "Bearer "}
    )
    injector = credential_injector_pb2.CredentialInjector(overwrite=True)
    injector.credential.name = "envoy.http.injected_credentials.generic"
    injector.credential.typed_config.Pack(token)
    return (
        hcm_pb2.HttpFilter(
            name="envoy.filters.http.credential_injector", typed_config=packed(injector)
        ),
        hcm_pb2.HttpFilter(
            name="envoy.filters.http.upstream_codec",
            typed_config=packed(upstream_codec_pb2.UpstreamCodec()),
        ),
    )


def _from_file(name: str, document: str) -> secret_pb2.SdsSecretConfig:
    source = config_source_pb2.ConfigSource(
        path_config_source=config_source_pb2.PathConfigSource(path=document),
        resource_api_version=config_source_pb2.ApiVersion.V3,
    )
    return secret_pb2.SdsSecretConfig(name=name, sds_config=source)


def _http2_cluster(endpoint: Endpoint, *filters: hcm_pb2.HttpFilter) -> cluster_pb2.Cluster:
    options = http_protocol_options_pb2.HttpProtocolOptions(http_filters=filters)
    keepalive = options.explicit_http_config.http2_protocol_options.connection_keepalive
    keepalive.interval.FromMilliseconds(_KEEPALIVE_MS)
    keepalive.timeout.FromSeconds(10)
    cluster = static_cluster(_XDS_CLUSTER, endpoint)
    if not _is_address(endpoint.host):
        cluster.cluster_type.name = "envoy.cluster.dns"
        cluster.cluster_type.typed_config.Pack(_by_name())
    cluster.typed_extension_protocol_options[_HTTP_OPTIONS].Pack(options)
    return cluster


def _by_name() -> dns_cluster_pb2.DnsCluster:
    """Return how a Service is resolved: its address does not change, but may not be known at first."""
    names = dns_cluster_pb2.DnsCluster()
    names.dns_refresh_rate.FromSeconds(_RESOLVE_SECONDS)
    names.dns_failure_refresh_rate.base_interval.FromSeconds(1)
    names.dns_failure_refresh_rate.max_interval.FromSeconds(_RECONNECT_MAX_SECONDS)
    return names


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _svid_context(svid: SvidOverTls) -> tls_pb2.UpstreamTlsContext:
    files = common_pb2.TlsCertificate(
        certificate_chain=base_pb2.DataSource(filename=svid.certificate_file),
        private_key=base_pb2.DataSource(filename=svid.key_file),
    )
    root = common_pb2.CertificateValidationContext(
        trusted_ca=base_pb2.DataSource(filename=svid.root_file)
    )
    san = root.match_typed_subject_alt_names.add()
    san.san_type = common_pb2.SubjectAltNameMatcher.DNS
    san.matcher.exact = svid.server_name
    return tls_pb2.UpstreamTlsContext(
        sni=svid.server_name,
        common_tls_context=tls_pb2.CommonTlsContext(
            tls_certificates=[files], validation_context=root, alpn_protocols=["h2"]
        ),
    )


def static_cluster(name: str, endpoint: Endpoint) -> cluster_pb2.Cluster:
    """Return a cluster of one fixed address."""
    host = endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(address=address(endpoint.host, endpoint.port))
    )
    return cluster_pb2.Cluster(
        name=name,
        type=cluster_pb2.Cluster.STATIC,
        connect_timeout=duration_pb2.Duration(seconds=1),
        load_assignment=endpoint_pb2.ClusterLoadAssignment(
            cluster_name=name,
            endpoints=[endpoint_components_pb2.LocalityLbEndpoints(lb_endpoints=[host])],
        ),
    )


def address(host: str, port: int) -> address_pb2.Address:
    """Return a socket address of Envoy's."""
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(address=host, port_value=port)
    )


def packed(message: Message) -> AnyMessage:
    """Return a message inside ``Any``, with maps in sorted order."""
    wrapped = AnyMessage()
    wrapped.Pack(message, deterministic=True)
    return wrapped
