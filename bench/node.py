"""What a sidecar says of itself in its first request."""

from __future__ import annotations

from dataclasses import dataclass

from envoy.config.core.v3 import base_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """The parts of a node id and its metadata; also the form in which they cross to the load process."""

    name: str
    namespace: str
    ip: str
    service_account: str
    labels: dict[str, str]
    domain: str = "cluster.local"

    @property
    def id(self) -> str:
        """The node id in Istio's form."""
        namespace = self.namespace
        return f"sidecar~{self.ip}~{self.name}.{namespace}~{namespace}.svc.{self.domain}"


def encode_node(facts: NodeFacts) -> bytes:
    """Return the encoded ``envoy.config.core.v3.Node`` of a stock Envoy 1.40 sidecar."""
    node = base_pb2.Node(
        id=facts.id,
        cluster=f"{facts.labels.get('app', facts.name)}.{facts.namespace}",
        user_agent_name="envoy",
    )
    node.locality.SetInParent()  # an Envoy that was told of no place
    node.user_agent_build_version.version.major_number = 1
    node.user_agent_build_version.version.minor_number = 40
    node.metadata.update(
        {
            "NAMESPACE": facts.namespace,
            "LABELS": facts.labels,
            "SERVICE_ACCOUNT": facts.service_account,
            "INSTANCE_IPS": facts.ip,
            "CLUSTER_ID": "Kubernetes",
            "ENABLE_SELF_DISCOVERY": "true",
        }
    )
    body: bytes = node.SerializeToString(deterministic=True)
    return body
