"""The kinds that the mesh brings to a cluster, with names, versions and columns as Istio's have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mizzen.api.authorization_policy import AuthorizationPolicyManifest
from mizzen.api.destination_rule import DestinationRuleManifest
from mizzen.api.envoy_filter import EnvoyFilterManifest
from mizzen.api.gateway import GatewayManifest
from mizzen.api.mesh_status import MeshStatusStatus
from mizzen.api.peer_authentication import PeerAuthenticationManifest
from mizzen.api.proxy_config import ProxyConfigManifest
from mizzen.api.request_authentication import RequestAuthenticationManifest
from mizzen.api.sidecar import SidecarManifest
from mizzen.api.telemetry import TelemetryManifest
from mizzen.api.virtual_service import VirtualServiceManifest
from mizzen.api.wasm_plugin import WasmPluginManifest
from mizzen.api.workload_group import WorkloadGroupManifest
from mizzen.api.workloads import ServiceEntryManifest, ServiceEntryStatus, WorkloadEntryManifest

if TYPE_CHECKING:
    from mizzen.api.base import ApiModel
    from mizzen.api.meta import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of ``kubectl get``; a wide one is shown with ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def as_schema(self) -> dict[str, Any]:
        """Return it as an additionalPrinterColumn."""
        priority = {"priority": 1} if self.wide else {}
        return {
            "name": self.name,
            "type": self.type,
            "description": self.description,
            "jsonPath": self.path,
            **priority,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomKind:
    """A kind that the mesh brings: its names, the versions that are served, the model of its spec.

    Attributes:
        short: Its short name, empty where it has none.
        versions: Newest first; the first is the one that is stored, as Istio's are.
        spec: The model of a manifest whose ``spec`` counts; ``None`` for a kind that is all status.
        status: The model of its status; conditions are in every status.
    """

    name: str
    plural: str
    group: str
    short: str = ""
    versions: tuple[str, ...]
    description: str
    spec: type[Manifest] | None = None
    status: type[ApiModel] | None = None
    namespaced: bool = True
    columns: tuple[Column, ...] = ()

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"

    @property
    def categories(self) -> tuple[str, ...]:
        """What else ``kubectl get`` finds it by."""
        family = self.group.replace(".", "-")
        return ("istio-io", family) if self.group.endswith("istio.io") else ("mizzen",)


_NETWORKING: Final = "networking.istio.io"
_SECURITY: Final = "security.istio.io"
_TRAFFIC_VERSIONS: Final = ("v1", "v1beta1", "v1alpha3")
_POLICY_VERSIONS: Final = ("v1", "v1beta1")

CUSTOM_KINDS: Final = (
    CustomKind(
        name="VirtualService",
        plural="virtualservices",
        group=_NETWORKING,
        short="vs",
        versions=_TRAFFIC_VERSIONS,
        description="Where requests and connections to hosts go.",
        spec=VirtualServiceManifest,
        columns=(
            Column(name="Gateways", path=".spec.gateways", description="Who has the rules."),
            Column(name="Hosts", path=".spec.hosts", description="Hosts that clients address."),
        ),
    ),
    CustomKind(
        name="DestinationRule",
        plural="destinationrules",
        group=_NETWORKING,
        short="dr",
        versions=_TRAFFIC_VERSIONS,
        description="What happens to traffic of a host after routing.",
        spec=DestinationRuleManifest,
        columns=(Column(name="Host", path=".spec.host", description="The service it is for."),),
    ),
    CustomKind(
        name="Gateway",
        plural="gateways",
        group=_NETWORKING,
        short="gw",
        versions=_TRAFFIC_VERSIONS,
        description="What the mesh's edge listens for.",
        spec=GatewayManifest,
    ),
    CustomKind(
        name="ServiceEntry",
        plural="serviceentries",
        group=_NETWORKING,
        short="se",
        versions=_TRAFFIC_VERSIONS,
        description="A service that is not one of Kubernetes' own.",
        spec=ServiceEntryManifest,
        status=ServiceEntryStatus,
        columns=(
            Column(name="Hosts", path=".spec.hosts", description="Its DNS names."),
            Column(
                name="Location", path=".spec.location", description="Within the mesh or outside."
            ),
            Column(
                name="Resolution", path=".spec.resolution", description="How endpoints are found."
            ),
        ),
    ),
    CustomKind(
        name="WorkloadEntry",
        plural="workloadentries",
        group=_NETWORKING,
        short="we",
        versions=_TRAFFIC_VERSIONS,
        description="A workload that is not a pod.",
        spec=WorkloadEntryManifest,
        columns=(Column(name="Address", path=".spec.address", description="Where it is."),),
    ),
    CustomKind(
        name="PeerAuthentication",
        plural="peerauthentications",
        group=_SECURITY,
        short="pa",
        versions=_POLICY_VERSIONS,
        description="Whether mutual TLS is asked of clients.",
        spec=PeerAuthenticationManifest,
        columns=(
            Column(name="Mode", path=".spec.mtls.mode", description="The mode of all ports."),
        ),
    ),
    CustomKind(
        name="AuthorizationPolicy",
        plural="authorizationpolicies",
        group=_SECURITY,
        short="ap",
        versions=_POLICY_VERSIONS,
        description="Who may do what.",
        spec=AuthorizationPolicyManifest,
        columns=(
            Column(
                name="Action", path=".spec.action", description="What is done with what matches."
            ),
        ),
    ),
    CustomKind(
        name="RequestAuthentication",
        plural="requestauthentications",
        group=_SECURITY,
        short="ra",
        versions=_POLICY_VERSIONS,
        description="Which tokens are valid.",
        spec=RequestAuthenticationManifest,
    ),
    CustomKind(
        name="Sidecar",
        plural="sidecars",
        group=_NETWORKING,
        versions=_TRAFFIC_VERSIONS,
        description="What a workload's proxy sees and takes.",
        spec=SidecarManifest,
    ),
    CustomKind(
        name="WorkloadGroup",
        plural="workloadgroups",
        group=_NETWORKING,
        short="wg",
        versions=_TRAFFIC_VERSIONS,
        description="What workloads that register themselves are like.",
        spec=WorkloadGroupManifest,
    ),
    CustomKind(
        name="ProxyConfig",
        plural="proxyconfigs",
        group=_NETWORKING,
        versions=("v1beta1", "v1"),
        description="Settings of proxies themselves.",
        spec=ProxyConfigManifest,
    ),
    CustomKind(
        name="EnvoyFilter",
        plural="envoyfilters",
        group=_NETWORKING,
        versions=("v1alpha3",),
        description="Patches of what is made for Envoy.",
        spec=EnvoyFilterManifest,
    ),
    CustomKind(
        name="Telemetry",
        plural="telemetries",
        group="telemetry.istio.io",
        short="telemetry",
        versions=("v1", "v1alpha1"),
        description="Metrics, traces and access logs.",
        spec=TelemetryManifest,
    ),
    CustomKind(
        name="WasmPlugin",
        plural="wasmplugins",
        group="extensions.istio.io",
        versions=("v1alpha1",),
        description="Filters in WebAssembly.",
        spec=WasmPluginManifest,
    ),
    CustomKind(
        name="MeshStatus",
        plural="meshstatuses",
        group="mizzen.dev",
        short="mesh",
        versions=("v1alpha1",),
        description="How the mesh is: one object, written by the control plane.",
        status=MeshStatusStatus,
        namespaced=False,
        columns=(
            Column(name="Ready", path=".status.ready", description="Whether all is well."),
            Column(
                name="Proxies", path=".status.proxies", type="integer", description="Connected."
            ),
            Column(
                name="Up-To-Date",
                path=".status.upToDate",
                type="integer",
                description="Proxies that have all they are to have.",
            ),
            Column(
                name="Rejecting",
                path=".status.rejecting",
                type="integer",
                description="Proxies that refuse something.",
            ),
            Column(
                name="Certificates-Expire",
                path=".status.certificateExpiry",
                description="When the first certificate that matters ends.",
            ),
            Column(
                name="Convergence-P99",
                path=".status.convergenceP99",
                description="From a change to the last acknowledgement.",
            ),
            Column(
                name="Issues",
                path=".status.issues",
                type="integer",
                description="Errors and warnings on objects.",
            ),
            Column(
                name="Slowest",
                path=".status.slowestProxy",
                description="The proxy that acknowledges last.",
                wide=True,
            ),
            Column(
                name="Envoys", path=".status.versions", description="Their versions.", wide=True
            ),
            Column(
                name="Snapshot",
                path=".status.snapshotSize",
                description="Size of what all proxies are to have.",
                wide=True,
            ),
        ),
    ),
)
