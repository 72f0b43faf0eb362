"""DestinationRule (networking.istio.io): what happens after routing (Istio: destination_rule.proto)."""

from __future__ import annotations

from pydantic import Field

from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.meta import Manifest
from mizzen.api.traffic_policy import TrafficPolicy


class Subset(ApiModel):
    """A named part of a host's endpoints (Istio: Subset)."""

    name: str = Field(min_length=1, description="Its name, for routes.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of its endpoints.")
    traffic_policy: TrafficPolicy | None = Field(
        default=None, description="Its policy, over the host's."
    )


class DestinationRuleSpec(ApiModel):
    """A DestinationRule's spec (Istio: DestinationRule)."""

    host: str = Field(min_length=1, description="A service; short names are of the own namespace.")
    traffic_policy: TrafficPolicy | None = Field(default=None, description="The policy.")
    subsets: list[Subset] = Field(default_factory=list, description="Named parts.")
    export_to: list[str] = Field(
        default_factory=list, description="Namespaces that see it; all by default."
    )
    workload_selector: WorkloadSelector | None = Field(
        default=None, description="Clients of its namespace that it is for."
    )


class DestinationRuleManifest(Manifest):
    """A DestinationRule."""

    spec: DestinationRuleSpec = Field(description="Its spec (Istio: DestinationRule).")
