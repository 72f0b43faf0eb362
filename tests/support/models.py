"""The model of each kind that is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api.authorization_policy import AuthorizationPolicyManifest
from mizzen.api.cluster import NamedManifest
from mizzen.api.config import ConfigMapManifest, SecretManifest
from mizzen.api.destination_rule import DestinationRuleManifest
from mizzen.api.endpoint_slice import EndpointSliceManifest
from mizzen.api.envoy_filter import EnvoyFilterManifest
from mizzen.api.gateway import GatewayManifest
from mizzen.api.ingress import IngressManifest
from mizzen.api.peer_authentication import PeerAuthenticationManifest
from mizzen.api.pod import PodManifest
from mizzen.api.proxy_config import ProxyConfigManifest
from mizzen.api.request_authentication import RequestAuthenticationManifest
from mizzen.api.service import ServiceManifest
from mizzen.api.sidecar import SidecarManifest
from mizzen.api.telemetry import TelemetryManifest
from mizzen.api.virtual_service import VirtualServiceManifest
from mizzen.api.wasm_plugin import WasmPluginManifest
from mizzen.api.workload_group import WorkloadGroupManifest
from mizzen.api.workloads import ServiceEntryManifest, WorkloadEntryManifest

if TYPE_CHECKING:
    from mizzen.api.meta import Manifest

MODELS: Final[dict[str, type[Manifest]]] = {
    "Service": ServiceManifest,
    "EndpointSlice": EndpointSliceManifest,
    "Pod": PodManifest,
    "Namespace": NamedManifest,
    "Node": NamedManifest,
    "ServiceAccount": NamedManifest,
    "Secret": SecretManifest,
    "ConfigMap": ConfigMapManifest,
    "VirtualService": VirtualServiceManifest,
    "DestinationRule": DestinationRuleManifest,
    "Gateway": GatewayManifest,
    "ServiceEntry": ServiceEntryManifest,
    "WorkloadEntry": WorkloadEntryManifest,
    "PeerAuthentication": PeerAuthenticationManifest,
    "AuthorizationPolicy": AuthorizationPolicyManifest,
    "RequestAuthentication": RequestAuthenticationManifest,
    "Sidecar": SidecarManifest,
    "WorkloadGroup": WorkloadGroupManifest,
    "ProxyConfig": ProxyConfigManifest,
    "EnvoyFilter": EnvoyFilterManifest,
    "Telemetry": TelemetryManifest,
    "WasmPlugin": WasmPluginManifest,
    "Ingress": IngressManifest,
}
"""By the kind's name."""
