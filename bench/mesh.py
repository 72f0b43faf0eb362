"""A mesh of any size as a folder of YAML, and the edits that the benchmarks make to it.

One namespace; N HTTP services on port 80, each with a ClusterIP, an EndpointSlice, a ServiceAccount and
as many Pods as endpoints, written as Kubernetes would show them (less status that nobody reads). Text is
made by formatting, not by a YAML library: it is input, and a generator must not take minutes.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMESPACE: Final = "shop"
DOMAIN: Final = "cluster.local"
PORT: Final = 80

_ZONES: Final = ("eu-1a", "eu-1b", "eu-1c")
_PODS_PER_NODE: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshSize:
    """How many services, and how many endpoints each of them has."""

    services: int
    endpoints: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What a proxy beside a generated pod says of itself."""

    name: str
    ip: str
    service_account: str
    labels: tuple[tuple[str, str], ...]


def service_name(index: int) -> str:
    """Return the name of a generated service."""
    return f"svc-{index:04d}"


def host(name: str) -> str:
    """Return the fully qualified host of a service of the generated namespace."""
    return f"{name}.{NAMESPACE}.svc.{DOMAIN}"


def cluster_ip(index: int) -> str:
    """Return the ClusterIP of a service; the range holds 65,000 of them."""
    return f"10.96.{index // 250}.{index % 250 + 1}"


def pod(service: int, replica: int, generation: int = 0) -> PodFacts:
    """Return a pod; another generation is the pod that replaced it, at another address."""
    name = service_name(service)
    number = service * 16 + replica
    second = 128 + (number // 62_500) + 32 * generation
    return PodFacts(
        name=f"{name}-{service:05x}{generation:x}-{replica:05x}",
        ip=f"10.{second}.{number // 250 % 250}.{number % 250 + 1}",
        service_account=name,
        labels=(
            ("app", name),
            ("pod-template-hash", f"{service:05x}{generation:x}"),
            ("security.istio.io/tlsMode", "istio"),
            ("version", "v2" if replica % 2 else "v1"),
        ),
    )


def service_documents(index: int, size: MeshSize, *, replaced: int = 0) -> str:
    """Return one service with all that belongs to it; ``replaced`` is the last pod's generation."""
    last = size.endpoints - 1
    pods = [pod(index, each, replaced if each == last else 0) for each in range(size.endpoints)]
    name = service_name(index)
    documents = [_account(name), _service(name, cluster_ip(index)), _slice(name, pods)]
    documents += [_pod(each, number) for number, each in enumerate(pods)]
    return "---\n".join(documents)


def write_folder(folder: Path, size: MeshSize) -> None:
    """Write the mesh with one file for each service."""
    services = folder / "services"
    services.mkdir(parents=True, exist_ok=True)
    (folder / "namespace.yaml").write_text(_namespace())
    for index in range(size.services):
        service_file(folder, index).write_text(service_documents(index, size))


def write_single_file(folder: Path, size: MeshSize) -> None:
    """Write the mesh as one file."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [_namespace(), *(service_documents(index, size) for index in range(size.services))]
    (folder / "mesh.yaml").write_text("---\n".join(parts))


def service_file(folder: Path, index: int) -> Path:
    """Return where ``write_folder`` puts a service."""
    return folder / "services" / f"{service_name(index)}.yaml"


def virtual_service(index: int, *, timeout_s: int = 5) -> str:
    """Return a VirtualService such as a team writes: a header match, a prefix, retries, a default."""
    name = service_name(index)
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  hosts: [{name}]
  http:
  - match:
    - headers:
        x-tester:
          exact: "yes"
      uri:
        prefix: /api/
    route:
    - destination:
        host: {name}
        port:
          number: {PORT}
    timeout: {timeout_s}s
    retries:
      attempts: 3
      perTryTimeout: 1s
      retryOn: 5xx,connect-failure
  - route:
    - destination:
        host: {name}
    timeout: {timeout_s + 1}s
"""


def destination_rule(index: int, *, connections: int = 100) -> str:
    """Return a DestinationRule with one subset and a traffic policy."""
    name = service_name(index)
    return f"""apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  host: {name}
  trafficPolicy:
    connectionPool:
      tcp:
        maxConnections: {connections}
  subsets:
  - name: v2
    labels:
      version: v2
"""


def delegated(index: int) -> str:
    """Return a VirtualService that delegates to another one, and that one."""
    name = service_name(index)
    leaf = virtual_service(index).replace(f"  hosts: [{name}]\n", "")
    return f"""apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  hosts: [{name}]
  http:
  - delegate:
      name: {name}-leaf
---
{leaf.replace(f"  name: {name}", f"  name: {name}-leaf", 1)}"""


def sidecar_without(index: int) -> str:
    """Return a Sidecar of the whole namespace that sees all services but one."""
    return f"""apiVersion: networking.istio.io/v1
kind: Sidecar
metadata:
  name: default
  namespace: {NAMESPACE}
spec:
  egress:
  - hosts: ["*/*", "~{NAMESPACE}/{host(service_name(index))}"]
"""


def namespace_policy(caller: int) -> str:
    """Return an AuthorizationPolicy that keeps a service out of all workloads."""
    return f"""apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: everywhere
  namespace: {NAMESPACE}
spec:
  action: DENY
  rules:
  - from:
    - source:
        principals: ["{DOMAIN}/ns/{NAMESPACE}/sa/{service_name(caller)}"]
"""


def authorization_policy(index: int, *, caller: int = 0) -> str:
    """Return an AuthorizationPolicy that admits one other service to one path."""
    name = service_name(index)
    account = service_name(caller)
    return f"""apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: {name}
  namespace: {NAMESPACE}
spec:
  selector:
    matchLabels:
      app: {name}
  action: ALLOW
  rules:
  - from:
    - source:
        principals: ["{DOMAIN}/ns/{NAMESPACE}/sa/{account}"]
    to:
    - operation:
        methods: [GET, POST]
        paths: ["/api/*"]
"""


def _namespace() -> str:
    return f"""apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    kubernetes.io/metadata.name: {NAMESPACE}
    istio-injection: enabled
"""


def _account(name: str) -> str:
    return f"""apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
  namespace: {NAMESPACE}
"""


def _service(name: str, address: str) -> str:
    return f"""apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {NAMESPACE}
  labels:
    app: {name}
spec:
  type: ClusterIP
  clusterIP: {address}
  clusterIPs: [{address}]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  internalTrafficPolicy: Cluster
  sessionAffinity: None
  ports:
  - name: http
    port: {PORT}
    protocol: TCP
    targetPort: 8080
  selector:
    app: {name}
"""


def _slice(name: str, pods: list[PodFacts]) -> str:
    endpoints = "".join(_endpoint(each, number) for number, each in enumerate(pods))
    return f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-x7k2p
  namespace: {NAMESPACE}
  labels:
    app: {name}
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: TCP
endpoints:
{endpoints}"""


def _endpoint(of: PodFacts, number: int) -> str:
    return f"""- addresses: [{of.ip}]
  conditions:
    ready: true
    serving: true
    terminating: false
  nodeName: {_node(of, number)}
  zone: {_ZONES[number % len(_ZONES)]}
  targetRef:
    kind: Pod
    name: {of.name}
    namespace: {NAMESPACE}
"""


def _pod(of: PodFacts, number: int) -> str:
    labels = "".join(f'    {key}: "{value}"\n' for key, value in of.labels)
    return f"""apiVersion: v1
kind: Pod
metadata:
  name: {of.name}
  namespace: {NAMESPACE}
  labels:
{labels}spec:
  serviceAccountName: {of.service_account}
  nodeName: {_node(of, number)}
  restartPolicy: Always
  containers:
  - name: app
    image: shop/{of.service_account}:1.4.2
    ports:
    - name: http
      containerPort: 8080
      protocol: TCP
status:
  phase: Running
  hostIP: 10.0.{number % len(_ZONES)}.4
  podIP: {of.ip}
  podIPs:
  - ip: {of.ip}
  conditions:
  - type: Ready
    status: "True"
"""


def _node(of: PodFacts, number: int) -> str:
    block = int(of.ip.split(".")[2]) * 250 // _PODS_PER_NODE
    return f"node-{_ZONES[number % len(_ZONES)]}-{block}"


def main() -> None:
    """Write a mesh from the command line."""
    parser = argparse.ArgumentParser(description="Write a big mesh as a folder of YAML.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--single-file", action="store_true")
    options = parser.parse_args()
    size = MeshSize(services=options.services, endpoints=options.endpoints)
    (write_single_file if options.single_file else write_folder)(options.folder, size)


if __name__ == "__main__":
    main()
