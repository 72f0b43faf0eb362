"""What is known of a router: its pod's labels, what its pod says of its clients, and whether it ends."""

from __future__ import annotations

from mizzen.model.edge import ANY_EDGE, Edge
from mizzen.model.meta import labels
from mizzen.model.proxy import NodeInfo, ProxyKind, Workload
from mizzen.resolve.proxies import proxy_class
from tests.support.small_mesh import SmallMesh, istio

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: gate
  namespace: ingress
  labels: {app: gate}
  annotations: {proxy.istio.io/config: "gatewayTopology: {numTrustedProxies: 2}"}
status: {podIP: 10.0.0.9}
"""
ENDING = POD.replace("  labels:", '  deletionTimestamp: "2026-01-01T00:00:00Z"\n  labels:')


def router(
    name: str = "gate", ip: str = "10.0.0.9", kind: str = "router", account: str = ""
) -> NodeInfo:
    return NodeInfo(
        id=f"{kind}~{ip}~{name}.ingress~ingress.svc.cluster.local",
        kind=ProxyKind(kind),
        ip=ip,
        name=name,
        namespace="ingress",
        labels=labels({"app": "gate"}),
        service_account=account,
    )


def workload(mesh: SmallMesh, node: NodeInfo) -> Workload:
    return proxy_class(mesh.db, node).workload


def test_a_router_is_known_by_its_pods_name() -> None:
    """An address, a name that nobody has and labels are but claims."""
    mesh = SmallMesh(POD)
    assert workload(mesh, router()).is_known
    assert not workload(mesh, router("other")).is_known
    assert not workload(mesh, router("other", "10.0.0.1")).is_known
    assert not workload(mesh, router(kind="sidecar")).is_known


def test_a_machine_is_known_by_its_account_as_well() -> None:
    """Which is proven; a WorkloadEntry without one could be anybody's."""
    entry = "{address: 10.0.0.8, labels: {app: gate}, serviceAccount: door}"
    mesh = SmallMesh(
        istio("WorkloadEntry", "vm", entry, namespace="ingress"),
        istio("WorkloadEntry", "any", "{address: 10.0.0.7}", namespace="ingress"),
    )
    assert workload(mesh, router("vm", account="door")).is_known
    assert not workload(mesh, router("vm", account="other")).is_known
    assert not workload(mesh, router("any")).is_known
    assert workload(mesh, router("vm", account="door")).edge == ANY_EDGE


def test_what_a_pod_does_not_say_the_mesh_says() -> None:
    """Field by field; to a router that is no pod it says all of it."""
    config = "defaultConfig: {connectionSettings: {profile: EDGE}, gatewayTopology: {numTrustedProxies: 9}}"
    text = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: mizzen, namespace: istio-system}}
data: {{mesh: "{config}"}}
"""
    mesh = SmallMesh(POD, text)
    edge = workload(mesh, router()).edge
    assert (edge.trusted_hops, edge.max_streams, edge.merge_slashes) == (2, 100, True)
    assert workload(mesh, router("other", "10.0.0.1")).edge.trusted_hops == 9
    closed = POD.replace("{numTrustedProxies: 2}", "{proxyProtocol: {}}")
    mesh.apply(
        closed.replace(
            "gatewayTopology", "connectionSettings: {httpMergeSlashes: false}\\ngatewayTopology"
        )
    )
    edge = workload(mesh, router()).edge
    assert (edge.trusted_hops, edge.merge_slashes, edge.proxy_protocol) == (9, False, True)


def test_a_pod_that_ends_sends_its_clients_away() -> None:
    """Besides what it bears with anyway; to sidecars none of this matters."""
    mesh = SmallMesh(POD)
    assert workload(mesh, router()).edge == Edge(trusted_hops=2)
    assert workload(mesh, router(kind="sidecar")).edge == ANY_EDGE
    mesh.apply(ENDING)
    assert workload(mesh, router()).edge == Edge(trusted_hops=2, connection_requests=1)
    assert workload(mesh, router(kind="sidecar")).edge == ANY_EDGE
