"""EnvoyFilter (networking.istio.io): patches of what is made for Envoy (Istio: envoy_filter.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, Int32, NotTranslated, UInt32
from mizzen.api.expressions import expression_error
from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    deprecated,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.hosts import check_selector
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import PolicyTargetReference, check_reach
from mizzen.api.workloads import EntrySelector
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

_MANAGERS: Final = (
    "envoy.filters.network.http_connection_manager",
    "envoy.http_connection_manager",
)
_TYPED: Final = ("typed_config", "typedConfig")
_HTTP: Final = "envoy.filters.http"
_NETWORK: Final = "envoy.filters.network"
# Names of before Envoy 1.9, which Envoy itself has forgotten since.
_OLD_NAMES: Final = {
    **{
        f"envoy.{name}": f"{_HTTP}.{name}"
        for name in (
            *("buffer", "cors", "csrf", "fault", "grpc_http1_bridge", "grpc_json_transcoder"),
            *("grpc_web", "health_check", "ip_tagging", "lua", "rate_limit", "router"),
        )
    },
    **{
        f"envoy.{name}": f"{_NETWORK}.{name}"
        for name in (
            *("client_ssl_auth", "ext_authz", "http_connection_manager", "mongo_proxy"),
            *("ratelimit", "redis_proxy", "tcp_proxy"),
        )
    },
}
_OF_LISTENERS: Final = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER")
_OF_ROUTES: Final = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
# The matches that go with a class of objects; those of waypoints go with every one.
_MATCHES: Final = {
    **dict.fromkeys(_OF_LISTENERS, "listener"),
    **dict.fromkeys(_OF_ROUTES, "route_configuration"),
    "CLUSTER": "cluster",
}
_ALIASES: Final = {
    "listener": "listener",
    "route_configuration": "routeConfiguration",
    "cluster": "cluster",
}


class ProxyMatch(ApiModel):
    """Which proxies a patch is for (Istio: EnvoyFilter.ProxyMatch)."""

    proxy_version: str = Field(default="", description="An RE2 expression for ISTIO_VERSION.")
    metadata: dict[str, str] = Field(default_factory=dict, description="Metadata of the node.")


class SubFilterMatch(ApiModel):
    """A filter inside the connection manager (Istio: ListenerMatch.SubFilterMatch)."""

    name: str = Field(default="", description="Its name.")


class FilterMatch(ApiModel):
    """A network filter (Istio: ListenerMatch.FilterMatch)."""

    name: str = Field(default="", description="Its name.")
    sub_filter: SubFilterMatch | None = Field(default=None, description="One inside it.")


class FilterChainMatch(ApiModel):
    """A filter chain (Istio: ListenerMatch.FilterChainMatch)."""

    name: str = Field(default="", description="Its name.")
    sni: str = Field(default="", description="A server name that it matches.")
    transport_protocol: str = Field(default="", description="tls or raw_buffer.")
    application_protocols: str = Field(default="", description="Protocols, with commas between.")
    filter: FilterMatch | None = Field(default=None, description="A filter in it.")
    destination_port: UInt32 = Field(default=0, description="A port that it matches.")


class ListenerMatch(ApiModel):
    """A listener (Istio: EnvoyFilter.ListenerMatch)."""

    port_number: UInt32 = Field(default=0, description="Its port.")
    port_name: str = Field(default="", description="The name of its port.")
    filter_chain: FilterChainMatch | None = Field(default=None, description="A chain of it.")
    listener_filter: str = Field(default="", description="A listener filter.")
    name: str = Field(default="", description="Its name.")


class RouteMatch(ApiModel):
    """A route (Istio: RouteConfigurationMatch.RouteMatch)."""

    name: str = Field(default="", description="Its name.")
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = Field(
        default="ANY", description="What it does."
    )


class VirtualHostMatch(ApiModel):
    """A virtual host (Istio: RouteConfigurationMatch.VirtualHostMatch)."""

    name: str = Field(default="", description="host:port, as Istio names it.")
    domain_name: str = Field(default="", description="One of its domains.")
    route: RouteMatch | None = Field(default=None, description="A route of it.")


class RouteConfigurationMatch(ApiModel):
    """A route configuration (Istio: EnvoyFilter.RouteConfigurationMatch)."""

    port_number: UInt32 = Field(default=0, description="The port that it is for.")
    port_name: str = Field(default="", description="The name of the Gateway's port.")
    gateway: str = Field(default="", description="namespace/name of a Gateway.")
    vhost: VirtualHostMatch | None = Field(default=None, description="A virtual host of it.")
    name: str = Field(default="", description="Its name.")


class ClusterMatch(ApiModel):
    """A cluster (Istio: EnvoyFilter.ClusterMatch)."""

    port_number: UInt32 = Field(default=0, description="The service's port.")
    service: str = Field(default="", description="The service's host.")
    subset: str = Field(default="", description="The subset.")
    name: str = Field(default="", description="Its name.")


class WaypointMatch(ApiModel):
    """What a waypoint has (Istio: EnvoyFilter.WaypointMatch)."""

    port_number: UInt32 = Field(default=0, description="The service's port.")
    filter: FilterMatch | None = Field(default=None, description="A filter.")
    route: RouteMatch | None = Field(default=None, description="A route.")


class ObjectMatch(ApiModel):
    """Where a patch applies (Istio: EnvoyFilter.EnvoyConfigObjectMatch)."""

    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] = Field(
        default="ANY", description="Whose traffic."
    )
    proxy: ProxyMatch | None = Field(default=None, description="Which proxies.")
    listener: ListenerMatch | None = Field(default=None, description="A listener.")
    route_configuration: RouteConfigurationMatch | None = Field(
        default=None, description="A route configuration."
    )
    cluster: ClusterMatch | None = Field(default=None, description="A cluster.")
    waypoint: WaypointMatch | None = Field(default=None, description="A part of a waypoint.")


class Patch(ApiModel):
    """What is done (Istio: EnvoyFilter.Patch)."""

    operation: Literal[
        "MERGE",
        "ADD",
        "REMOVE",
        "INSERT_BEFORE",
        "INSERT_AFTER",
        "INSERT_FIRST",
        "REPLACE",
        "MERGE_AND_REPLACE_LIST",
    ] = Field(description="How.")
    value: dict[str, Any] | None = Field(default=None, description="Envoy's message, as JSON.")
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = Field(
        default="UNSPECIFIED", description="Where a filter is put."
    )


class ConfigPatch(ApiModel):
    """A patch (Istio: EnvoyFilter.EnvoyConfigObjectPatch)."""

    apply_to: Literal[
        "LISTENER",
        "FILTER_CHAIN",
        "NETWORK_FILTER",
        "HTTP_FILTER",
        "ROUTE_CONFIGURATION",
        "VIRTUAL_HOST",
        "HTTP_ROUTE",
        "CLUSTER",
        "EXTENSION_CONFIG",
        "BOOTSTRAP",
        "LISTENER_FILTER",
    ] = Field(description="What kind of thing is patched.")
    match: ObjectMatch | None = Field(default=None, description="Which ones; all by default.")
    patch: Patch = Field(description="What is done.")


class EnvoyFilterSpec(ApiModel):
    """An EnvoyFilter's spec (Istio: EnvoyFilter)."""

    workload_selector: EntrySelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_refs: list[PolicyTargetReference] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    config_patches: list[ConfigPatch] = Field(default_factory=list, description="The patches.")
    priority: Int32 = Field(default=0, description="Lower ones go first.")


class EnvoyFilterManifest(Manifest):
    """An EnvoyFilter."""

    spec: Annotated[
        EnvoyFilterSpec,
        NotTranslated("patches come with a later version; the object has no effect"),
    ] = Field(default_factory=EnvoyFilterSpec, description="Its spec (Istio: EnvoyFilter).")


def read_envoy_filter(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the EnvoyFilter that a manifest means."""
    return read(raw, key, EnvoyFilterManifest, _convert, _check)


def _convert(_manifest: EnvoyFilterManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: EnvoyFilterManifest) -> Iterator[Finding]:
    yield from at(("spec",), _spec(manifest.spec))


def _spec(spec: EnvoyFilterSpec) -> Iterator[Finding]:
    if spec.workload_selector is not None:
        yield from check_selector(("workloadSelector", "labels"), spec.workload_selector.labels)
        if spec.target_refs:
            yield conflict(("targetRefs",), "workloadSelector and targetRefs exclude each other")
    yield from check_reach(None, None, spec.target_refs)
    for index, patch in enumerate(spec.config_patches):
        yield from at(("configPatches", index), _patch(patch))


def _patch(patch: ConfigPatch) -> Iterator[Finding]:
    if patch.patch.operation != "REMOVE" and patch.patch.value is None:
        yield missing(("patch", "value"), f"{patch.patch.operation} needs a value")
    elif patch.patch.value is not None:
        yield from _types(("patch", "value"), patch.patch.value)
    if patch.match is not None:
        yield from at(("match",), _match(patch.match, patch.apply_to))


def _match(match: ObjectMatch, apply_to: str) -> Iterator[Finding]:
    written = [name for name in _ALIASES if getattr(match, name) is not None]
    wanted = _MATCHES.get(apply_to)
    if len(written) > 1:
        first, second = (_ALIASES[name] for name in written[:2])
        yield conflict((second,), f"{first} and {second} exclude each other")
    elif wanted and written and written[0] != wanted:
        message = f"applyTo {apply_to} goes with {_ALIASES[wanted]}, not {_ALIASES[written[0]]}"
        yield conflict((_ALIASES[written[0]],), message)
    version = match.proxy.proxy_version if match.proxy is not None else ""
    if version and (error := expression_error(version)):
        yield invalid(("proxy", "proxyVersion"), error)
    chain = match.listener.filter_chain if match.listener is not None else None
    if chain is not None and chain.filter is not None:
        path: Path = ("listener", "filterChain", "filter")
        yield from at(path, _filter(chain.filter, apply_to))
        if apply_to in ("LISTENER", "FILTER_CHAIN"):
            yield without_effect(path, f"applyTo {apply_to} is not told by filters")


def _types(path: Path, value: object) -> Iterator[Finding]:
    """Check the types of Envoy's messages that a patch holds: a URL each, of Envoy's third API."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _types((*path, index), part)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name in _TYPED:
                yield from _type_of((*path, name), part)
            yield from _types((*path, name), part)


def _type_of(path: Path, config: object) -> Iterator[Finding]:
    url = config.get("@type") if isinstance(config, dict) else None
    if not isinstance(url, str):
        yield missing((*path, "@type"), "a typed config says its type by @type")
    elif "/" not in url:
        remedy = f"Write type.googleapis.com/{url}."
        yield invalid((*path, "@type"), f"{url!r} is not the URL of a type", remedy)
    elif ".v2." in url or ".v2alpha" in url:
        message = f"{url!r} is of Envoy's second API, which is gone"
        yield invalid((*path, "@type"), message, "Write the type of v3.")


def _filter(found: FilterMatch, apply_to: str) -> Iterator[Finding]:
    names = {"name": found.name}
    if found.sub_filter is not None:
        names["subFilter"] = found.sub_filter.name
    for field, name in names.items():
        if name in _OLD_NAMES:
            path = ("name",) if field == "name" else ("subFilter", "name")
            yield deprecated(path, f"{name} is now {_OLD_NAMES[name]}")
    if not found.name:
        yield missing(("name",), "a match of a filter needs its name")
    elif found.sub_filter is not None:
        if apply_to != "HTTP_FILTER":
            yield conflict(("subFilter",), "subFilter goes with applyTo HTTP_FILTER only")
        elif found.name not in _MANAGERS:
            yield conflict(("subFilter",), f"subFilter goes with a filter named {_MANAGERS[0]}")
        elif not found.sub_filter.name:
            yield missing(("subFilter", "name"), "a match of a filter needs its name")
