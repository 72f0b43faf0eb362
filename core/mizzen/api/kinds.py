"""The kinds that are handled, with the versions of each that are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mizzen.api.authorization_policy import read_authorization_policy
from mizzen.api.cluster import read_namespace, read_node, read_service_account
from mizzen.api.config import read_config_map, read_secret
from mizzen.api.destination_rule_values import read_destination_rule
from mizzen.api.endpoint_slice import read_endpoint_slice
from mizzen.api.envoy_filter import read_envoy_filter
from mizzen.api.gateway_values import read_gateway
from mizzen.api.ingress import read_ingress
from mizzen.api.peer_authentication import read_peer_authentication
from mizzen.api.pod import read_pod
from mizzen.api.proxy_config import read_proxy_config
from mizzen.api.reading import Reading
from mizzen.api.request_authentication import read_request_authentication
from mizzen.api.service import read_service
from mizzen.api.sidecar_values import read_sidecar
from mizzen.api.telemetry import read_telemetry
from mizzen.api.virtual_service_values import read_virtual_service
from mizzen.api.wasm_plugin import read_wasm_plugin
from mizzen.api.workload_group import read_workload_group
from mizzen.api.workloads import read_service_entry, read_workload_entry
from mizzen.names import ObjectKey


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind: how it is addressed, and the function that reads it."""

    name: str
    group: str
    versions: tuple[str, ...]
    read: Callable[[Mapping[str, object], ObjectKey], Reading]
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The preferred ``apiVersion``."""
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]


_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"
_V1: Final = ("v1",)
_TRAFFIC_VERSIONS: Final = ("v1", "v1beta1", "v1alpha3")
_POLICY_VERSIONS: Final = ("v1", "v1beta1")

KINDS: Final = (
    Kind("Service", "", _V1, read_service),
    Kind("EndpointSlice", "discovery.k8s.io", _V1, read_endpoint_slice),
    Kind("Pod", "", _V1, read_pod),
    Kind("Namespace", "", _V1, read_namespace, namespaced=False),
    Kind("Node", "", _V1, read_node, namespaced=False),
    Kind("ServiceAccount", "", _V1, read_service_account),
    Kind("Secret", "", _V1, read_secret),
    Kind("ConfigMap", "", _V1, read_config_map),
    Kind("VirtualService", _NETWORKING, _TRAFFIC_VERSIONS, read_virtual_service),
    Kind("DestinationRule", _NETWORKING, _TRAFFIC_VERSIONS, read_destination_rule),
    Kind("Gateway", _NETWORKING, _TRAFFIC_VERSIONS, read_gateway),
    Kind("ServiceEntry", _NETWORKING, _TRAFFIC_VERSIONS, read_service_entry),
    Kind("WorkloadEntry", _NETWORKING, _TRAFFIC_VERSIONS, read_workload_entry),
    Kind("PeerAuthentication", _SECURITY, _POLICY_VERSIONS, read_peer_authentication),
    Kind("AuthorizationPolicy", _SECURITY, _POLICY_VERSIONS, read_authorization_policy),
    Kind("RequestAuthentication", _SECURITY, _POLICY_VERSIONS, read_request_authentication),
    Kind("Sidecar", _NETWORKING, _TRAFFIC_VERSIONS, read_sidecar),
    Kind("WorkloadGroup", _NETWORKING, _TRAFFIC_VERSIONS, read_workload_group),
    Kind("ProxyConfig", _NETWORKING, ("v1beta1", "v1"), read_proxy_config),
    Kind("EnvoyFilter", _NETWORKING, ("v1alpha3",), read_envoy_filter),
    Kind("Telemetry", "telemetry.istio.io", ("v1", "v1alpha1"), read_telemetry),
    Kind("WasmPlugin", "extensions.istio.io", ("v1alpha1",), read_wasm_plugin),
    Kind("Ingress", "networking.k8s.io", _V1, read_ingress),
)

BY_NAME: Final[Mapping[tuple[str, str], Kind]] = {(kind.group, kind.name): kind for kind in KINDS}
GROUPS: Final = frozenset(kind.group for kind in KINDS)


def by_word(name: str) -> Kind | None:
    """Return the kind of a name, whatever its group."""
    return next((kind for kind in KINDS if kind.name == name), None)
