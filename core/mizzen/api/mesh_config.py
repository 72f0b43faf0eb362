"""MeshConfig: settings of the whole mesh, in a ConfigMap's ``mesh`` (Istio: mesh/v1alpha1/config.proto).

It is text inside of a manifest, so that a mistake in it is told of at the ConfigMap's ``data.mesh``, with the
field's path behind.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Port
from mizzen.api.destination_rule_checks import check_connection_pool, check_outliers
from mizzen.api.destination_rule_values import (
    connection_pool,
    locality_lb,
    outlier_detection,
    tcp_keepalive,
    zone_lb,
)
from mizzen.api.durations import Duration, PositiveDuration
from mizzen.api.edge import ProxyDefaults, check_default_edge, default_edge
from mizzen.api.extension_providers import ExtensionProvider, authorizers, check_providers
from mizzen.api.findings import Finding, at, fatal, invalid
from mizzen.api.hosts import is_name
from mizzen.api.http_action import HttpRetry
from mizzen.api.http_checks import check_retries
from mizzen.api.load_balancing import LocalityLbSetting, ZoneAwareLbSetting
from mizzen.api.locality_checks import check_locality, check_zones
from mizzen.api.mesh_defaults import MeshTls, PathNormalization, check_tls, paths, tls_limits
from mizzen.api.mesh_visibility import (
    NamespaceSelector,
    check_default_export,
    check_selectors,
    default_export,
    namespace_selectors,
)
from mizzen.api.reading import validated
from mizzen.api.traffic_policy import ConnectionPoolSettings, OutlierDetection, TcpKeepalive
from mizzen.api.virtual_service_values import retries
from mizzen.api.yaml_tree import TreeError, read_tree
from mizzen.model.mesh import MeshConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.model.routing import Retries

KEY: Final = "mesh"
_LONGEST_CONNECT: Final = timedelta(hours=1)

_STARTED_WITH: Final = "the control plane is started with it"
_LATER: Final = NotTranslated("it comes with a later version")
_TELEMETRY: Final = NotTranslated("telemetry comes with a later version")
_DEFAULTS: Final = NotTranslated("defaults for the whole mesh come later; write it on the objects")
_INGRESS: Final = NotTranslated("Ingress comes with a later version")
_PROXIES: Final = NotTranslated("proxies are set by the injector's settings")
_Anything = dict[str, Any]


class MeshOutboundPolicy(ApiModel):
    """What becomes of unknown destinations (Istio: MeshConfig.OutboundTrafficPolicy)."""

    mode: Annotated[
        Literal["REGISTRY_ONLY", "ALLOW_ANY", "ALLOW_ANY_DYNAMIC_DNS"],
        NotTranslated("it is as ALLOW_ANY", only=("ALLOW_ANY_DYNAMIC_DNS",)),
    ] = Field(default="REGISTRY_ONLY", description="Whether they may be reached.")


class MeshInboundPolicy(ApiModel):
    """Where inbound connections go (Istio: MeshConfig.InboundTrafficPolicy)."""

    mode: Literal["PASSTHROUGH", "LOCALHOST"] = Field(
        default="PASSTHROUGH", description="The workload's own address, or loopback."
    )


class DefaultTrafficPolicy(ApiModel):
    """What holds where a DestinationRule has no such block (Istio: MeshConfig.DefaultTrafficPolicy)."""

    connection_pool: ConnectionPoolSettings | None = Field(default=None, description="Limits.")
    outlier_detection: OutlierDetection | None = Field(default=None, description="Ejection.")


class MeshConfigSpec(ApiModel):
    """The settings (Istio: MeshConfig)."""

    connect_timeout: PositiveDuration | None = Field(
        default=None, description="Of connections to upstreams; 10s by default."
    )
    outbound_traffic_policy: MeshOutboundPolicy | None = Field(
        default=None, description="Unknown destinations; ALLOW_ANY by default."
    )
    trust_domain_aliases: list[str] | None = Field(
        default=None, description="Other trust domains that count as ours."
    )
    inbound_traffic_policy: MeshInboundPolicy | None = Field(
        default=None, description="Where inbound connections go."
    )
    trust_domain: Annotated[str | None, NotTranslated(_STARTED_WITH, unless=("cluster.local",))] = (
        Field(default=None, description="The first part of identities.")
    )
    root_namespace: Annotated[
        str | None, NotTranslated(_STARTED_WITH, unless=("istio-system",))
    ] = Field(default=None, description="Where policies hold for the mesh.")
    proxy_listen_port: Annotated[Port | None, NotTranslated("it is 15001", unless=(15001,))] = (
        Field(default=None, description="Of captured outbound connections.")
    )
    proxy_inbound_listen_port: Annotated[
        Port | None, NotTranslated("it is 15006", unless=(15006,))
    ] = Field(default=None, description="Of captured inbound connections.")
    proxy_http_port: Annotated[int, _LATER] = Field(default=0, description="Of an HTTP proxy.")
    protocol_detection_timeout: Duration | None = Field(
        default=None, description="How long bytes are waited for; 0s is for ever, and the default."
    )
    dns_refresh_rate: PositiveDuration | None = Field(
        default=None, description="How often names are resolved."
    )
    hbone_idle_timeout: Annotated[Duration | None, _LATER] = Field(
        default=None, description="Of tunnels."
    )
    tcp_keepalive: TcpKeepalive | None = Field(
        default=None, description="SO_KEEPALIVE of connections to upstreams."
    )
    default_service_export_to: list[str] = Field(
        default_factory=list, description="exportTo of Services and ServiceEntries that have none."
    )
    default_virtual_service_export_to: list[str] = Field(
        default_factory=list, description="exportTo of VirtualServices that have none."
    )
    default_destination_rule_export_to: list[str] = Field(
        default_factory=list, description="exportTo of DestinationRules that have none."
    )
    enable_auto_mtls: bool | None = Field(default=None, description="Automatic mutual TLS.")
    path_normalization: PathNormalization | None = Field(
        default=None, description="How paths are made alike."
    )
    mesh_mtls: MeshTls | None = Field(
        default=None, alias="meshMTLS", description="Versions and ciphers in the mesh."
    )
    tls_defaults: MeshTls | None = Field(
        default=None, description="Versions and ciphers at gateways."
    )
    ca: Annotated[_Anything | None, _LATER] = Field(default=None, description="Another CA.")
    ca_certificates: Annotated[list[Any], _LATER] = Field(
        default_factory=list, description="Further roots."
    )
    default_traffic_policy: DefaultTrafficPolicy | None = Field(
        default=None, description="Below every DestinationRule."
    )
    default_http_retry_policy: HttpRetry | None = Field(
        default=None, description="Retries of routes that say nothing."
    )
    default_inbound_http_retry_policy: HttpRetry | None = Field(
        default=None, description="Retries towards the application."
    )
    locality_lb_setting: LocalityLbSetting | None = Field(
        default=None, description="Localities, where no DestinationRule speaks of them."
    )
    zone_aware_lb_setting: ZoneAwareLbSetting | None = Field(
        default=None, description="Zones, where no DestinationRule speaks of places."
    )
    h2_upgrade_policy: Literal["DO_NOT_UPGRADE", "UPGRADE"] | None = Field(
        default=None, description="Whether HTTP/1.1 becomes HTTP/2."
    )
    verify_certificate_at_client: Annotated[bool | None, _DEFAULTS] = Field(
        default=None, description="Check servers against the system's roots."
    )
    service_settings: Annotated[list[Any], _LATER] = Field(
        default_factory=list, description="Services of one cluster only."
    )
    service_entry_visibility: Annotated[_Anything | None, _LATER] = Field(
        default=None, description="Who sees ServiceEntries."
    )
    discovery_selectors: list[NamespaceSelector] = Field(
        default_factory=list, description="Namespaces that are looked at; all by default."
    )
    config_sources: Annotated[list[Any], _LATER] = Field(
        default_factory=list, description="Where objects come from."
    )
    extension_providers: list[ExtensionProvider] = Field(
        default_factory=list, description="Telemetry, authorization and the like."
    )
    default_providers: Annotated[_Anything | None, _TELEMETRY] = Field(
        default=None, description="Where telemetry goes."
    )
    default_config: ProxyDefaults | None = Field(
        default=None, description="Settings of proxies that say nothing themselves."
    )
    enable_prometheus_merge: Annotated[bool | None, _PROXIES] = Field(
        default=None, description="Whether the application's metrics are joined."
    )
    enable_tracing: Annotated[bool, _TELEMETRY] = Field(default=False, description="Traces.")
    access_log_file: Annotated[str, _TELEMETRY] = Field(default="", description="Access logs.")
    access_log_format: Annotated[str, _TELEMETRY] = Field(default="", description="Their form.")
    access_log_encoding: Annotated[str | None, _TELEMETRY] = Field(
        default=None, description="TEXT or JSON."
    )
    enable_envoy_access_log_service: Annotated[bool, _TELEMETRY] = Field(
        default=False, description="Logs by gRPC."
    )
    disable_envoy_listener_log: Annotated[bool, _TELEMETRY] = Field(
        default=False, description="No logs of connections."
    )
    inbound_cluster_stat_name: Annotated[str, _TELEMETRY] = Field(
        default="", description="Names in statistics."
    )
    outbound_cluster_stat_name: Annotated[str, _TELEMETRY] = Field(
        default="", description="Names in statistics."
    )
    ingress_class: Annotated[str, _INGRESS] = Field(default="", description="Of Ingresses.")
    ingress_service: Annotated[str, _INGRESS] = Field(default="", description="Of Ingresses.")
    ingress_selector: Annotated[str, _INGRESS] = Field(default="", description="Of Ingresses.")
    ingress_controller_mode: Annotated[str | None, _INGRESS] = Field(
        default=None, description="Which Ingresses."
    )


def mesh_findings(text: str) -> list[Finding]:
    """Return everything that is to be said of a MeshConfig's text."""
    return _read(text)[1]


def mesh_config(text: str) -> MeshConfig | None:
    """Return what a MeshConfig's text means; None where it is wrong."""
    spec, findings = _read(text)
    if spec is None or fatal(findings):
        return None
    policy, aliases = spec.outbound_traffic_policy, spec.trust_domain_aliases
    inbound = spec.inbound_traffic_policy
    upstreams = spec.default_traffic_policy or DefaultTrafficPolicy()
    return MeshConfig(
        connect_timeout=spec.connect_timeout,
        registry_only=policy.mode == "REGISTRY_ONLY" if policy is not None else None,
        trust_domain_aliases=tuple(aliases) if aliases is not None else None,
        authorizers=authorizers(spec.extension_providers),
        locality=locality_lb(spec.locality_lb_setting),
        zones=zone_lb(spec.zone_aware_lb_setting),
        connection_pool=connection_pool(upstreams.connection_pool),
        outlier_detection=outlier_detection(upstreams.outlier_detection),
        keepalive=tcp_keepalive(spec.tcp_keepalive),
        upgrades=spec.h2_upgrade_policy == "UPGRADE" if spec.h2_upgrade_policy else None,
        automatic_mtls=spec.enable_auto_mtls,
        retries=_retries(spec.default_http_retry_policy),
        inbound_retries=_retries(spec.default_inbound_http_retry_policy),
        dns_refresh=spec.dns_refresh_rate,
        loopback=inbound.mode == "LOCALHOST" if inbound is not None else None,
        detection=spec.protocol_detection_timeout,
        paths=paths(spec.path_normalization),
        server_tls=tls_limits(spec.mesh_mtls),
        gateway_tls=tls_limits(spec.tls_defaults),
        edge=default_edge(spec.default_config),
        discovery=namespace_selectors(spec.discovery_selectors),
        service_export=default_export(spec.default_service_export_to),
        route_export=default_export(spec.default_virtual_service_export_to),
        rule_export=default_export(spec.default_destination_rule_export_to),
    )


def _retries(written: HttpRetry | None) -> Retries | None:
    return None if written is None else retries(written)


def _read(text: str) -> tuple[MeshConfigSpec | None, list[Finding]]:
    path = ("data", KEY)
    try:
        tree = read_tree(text)
    except TreeError as error:
        return None, [invalid(path, f"is not YAML: {error}")]
    value = tree.value if tree is not None else {}
    if not isinstance(value, dict):
        return None, [invalid(path, "must be a mapping")]
    spec, findings = validated(value, MeshConfigSpec)
    if spec is not None:
        findings += _check(spec)
    return spec, list(at(path, findings))


def _check(spec: MeshConfigSpec) -> Iterator[Finding]:
    if spec.connect_timeout is not None and spec.connect_timeout > _LONGEST_CONNECT:
        yield invalid(("connectTimeout",), "must be an hour at most")
    if spec.trust_domain is not None and not is_name(spec.trust_domain):
        yield invalid(("trustDomain",), f"{spec.trust_domain!r} is not a trust domain")
    for index, alias in enumerate(spec.trust_domain_aliases or ()):
        if not is_name(alias):
            yield invalid(("trustDomainAliases", index), f"{alias!r} is not a trust domain")
    yield from _check_defaults(spec)
    yield from _check_visibility(spec)
    if spec.default_config is not None:
        yield from at(("defaultConfig",), check_default_edge(spec.default_config))
    yield from at(("extensionProviders",), check_providers(spec.extension_providers))
    policy = spec.default_traffic_policy
    if policy is not None and policy.connection_pool is not None:
        path = ("defaultTrafficPolicy", "connectionPool")
        yield from at(path, check_connection_pool(policy.connection_pool))
    if policy is not None and policy.outlier_detection is not None:
        path = ("defaultTrafficPolicy", "outlierDetection")
        yield from at(path, check_outliers(policy.outlier_detection))


def _check_visibility(spec: MeshConfigSpec) -> Iterator[Finding]:
    yield from at(("discoverySelectors",), check_selectors(spec.discovery_selectors))
    for name, written in (
        ("defaultServiceExportTo", spec.default_service_export_to),
        ("defaultVirtualServiceExportTo", spec.default_virtual_service_export_to),
        ("defaultDestinationRuleExportTo", spec.default_destination_rule_export_to),
    ):
        yield from check_default_export((name,), written)


def _check_defaults(spec: MeshConfigSpec) -> Iterator[Finding]:
    for name, limits in (("meshMTLS", spec.mesh_mtls), ("tlsDefaults", spec.tls_defaults)):
        if limits is not None:
            yield from at((name,), check_tls(limits))
    if spec.locality_lb_setting is not None:
        # Without outlier detection it waits for a rule that has some.
        found = check_locality(spec.locality_lb_setting, ejects=True)
        yield from at(("localityLbSetting",), found)
    if spec.zone_aware_lb_setting is not None:
        yield from at(("zoneAwareLbSetting",), check_zones(spec.zone_aware_lb_setting))
    for name, written in (
        ("defaultHttpRetryPolicy", spec.default_http_retry_policy),
        ("defaultInboundHttpRetryPolicy", spec.default_inbound_http_retry_policy),
    ):
        if written is not None:
            yield from at((name,), check_retries(written))
