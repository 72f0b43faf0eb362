"""A small world of manifests to ask questions of: the memo with a World in it, and short manifests.

Kubernetes' own objects come from the functions here, which write what a test leaves out; what a test is
about stands in it as YAML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.analyze import analysis
from mizzen.api.documents import split_documents
from mizzen.api.parse import parse_document
from mizzen.diagnostics import Diagnostic, Severity
from mizzen.engine import Database
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import NO_LABELS, Labels, labels
from mizzen.model.proxy import NodeInfo, ProxyKind, Scope, Workload
from mizzen.model.world import Batch, Object
from mizzen.names import DEFAULT_REGISTRY, ObjectKey, Registry
from mizzen.resolve.world import World

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECURITY: Final = ("PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication")
FILE: Final = "mesh.yaml"
SHOP: Final = Scope(namespace="shop")
BANK: Final = Scope(namespace="bank")
GATEWAY: Final = Scope(namespace="ingress", gateway=True)


def read(*texts: str, registry: Registry = DEFAULT_REGISTRY) -> dict[ObjectKey, Object]:
    """Return the objects of manifests; an error in one of them fails the test that wrote it."""
    found: dict[ObjectKey, Object] = {}
    for text in texts:
        for document in split_documents(text):
            for parsed in parse_document(document, FILE, registry=registry):
                assert not isinstance(parsed, Diagnostic), parsed
                errors = [d for d in parsed.diagnostics if d.code.severity is Severity.ERROR]
                assert parsed.object is not None, errors
                found[parsed.key] = parsed.object
    return found


class SmallMesh:
    """A World that manifests are applied to and deleted from."""

    def __init__(self, *texts: str, settings: MeshSettings | None = None) -> None:
        self.db = Database()
        self.world = World(self.db, settings or MeshSettings())
        self.apply(*texts)

    def apply(self, *texts: str) -> None:
        """Set the objects of manifests, in one batch."""
        changes: Mapping[ObjectKey, Object | None] = read(*texts)
        self.world.commit(Batch(changes=dict(changes)))

    def delete(self, kind: str, name: str, namespace: str = "shop") -> None:
        """Remove an object."""
        self.world.commit(Batch(changes={key(kind, name, namespace): None}))

    def findings(self) -> list[tuple[str, str, str]]:
        """Return (code, object, path) of every finding of the whole-world lint."""
        return [
            (one.code.id, str(one.object), one.path)
            for found in analysis(self.db).values()
            for one in found
        ]

    def messages(self) -> list[str]:
        """Return the message of every finding."""
        return [one.message for found in analysis(self.db).values() for one in found]


def key(kind: str, name: str, namespace: str = "shop") -> ObjectKey:
    """Return an object's key."""
    return ObjectKey(DEFAULT_REGISTRY, kind, namespace, name)


def host(name: str, namespace: str = "shop") -> str:
    """Return the host of a Service."""
    return f"{name}.{namespace}.svc.cluster.local"


def service(
    name: str,
    *ports: str,
    namespace: str = "shop",
    ip: str = "10.96.0.1",
    age: int = 0,
    extra: str = "",
) -> str:
    """Return a Service that selects ``app: <name>``; a port is ``name:number`` or ``name:number:target``.

    ``ip`` may be ``None``, which is a headless Service; ``age`` makes it so many days younger.
    """
    return f"""
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
  creationTimestamp: "2026-01-{age + 1:02}T00:00:00Z"
  annotations: {{{extra}}}
spec:
  clusterIP: {ip}
  selector: {{app: {name}}}
  ports: [{", ".join(_port(port) for port in ports or ("http:80:8080",))}]
"""


def _port(text: str) -> str:
    name, number, target = (*text.split(":"), "")[:3]
    protocol = "UDP" if name.startswith("udp") else "TCP"
    wanted = f", targetPort: {target}" if target else ""
    return f"{{name: {name!r}, port: {number}, protocol: {protocol}{wanted}}}"


def endpoints(
    of: str,
    *addresses: str,
    namespace: str = "shop",
    ports: str = "http:8080",
    name: str = "1",
    conditions: str = "ready: true",
    pods: bool = True,
) -> str:
    """Return an EndpointSlice; the pod at an address is called after it, ``p-10-0-0-1``."""
    written = "".join(
        f"\n- addresses: [{address}]\n  conditions: {{{conditions}}}"
        + (f"\n  targetRef: {{kind: Pod, name: {pod_name(address)}}}" if pods else "")
        for address in addresses
    )
    port_list = ", ".join(
        f"{{name: {name!r}, port: {number}, protocol: {'UDP' if 'udp' in name else 'TCP'}}}"
        for name, number in (port.split(":") for port in ports.split())
    )
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {of}-{name}
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {of}}}
addressType: IPv4
ports: [{port_list}]
endpoints:{written or " []"}
"""


def pod_name(address: str) -> str:
    """Return what the pod at an address is called."""
    return f"p-{address.replace('.', '-')}"


def pod(
    address: str,
    app: str,
    *more_labels: str,
    namespace: str = "shop",
    mtls: bool = True,
    account: str = "default",
    node: str = "",
) -> str:
    """Return a Pod with the label ``app`` and further ones (``key: value``), inside the mesh or not."""
    wanted = [f"app: {app}", *more_labels]
    if mtls:
        wanted.append("security.istio.io/tlsMode: istio")
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {pod_name(address)}, namespace: {namespace}, labels: {{{", ".join(wanted)}}}}}
spec:
  serviceAccountName: {account}
  nodeName: {node!r}
  containers: [{{name: app, ports: [{{name: main, containerPort: 8080}}]}}]
status: {{podIP: {address}}}
"""


def istio(kind: str, name: str, spec: str, *, namespace: str = "shop", age: int = 0) -> str:
    """Return an object of Istio's; ``spec`` is YAML, indented or not."""
    group = "security" if kind in _SECURITY else "networking"
    lines = spec.strip("\n").splitlines()
    margin = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    body = "\n".join("  " + line[margin:] for line in lines)
    return f"""
apiVersion: {group}.istio.io/v1
kind: {kind}
metadata:
  name: {name}
  namespace: {namespace}
  creationTimestamp: "2026-01-{age + 1:02}T00:00:00Z"
spec:
{body}
"""


def workload(app: str, *pairs: tuple[str, str], namespace: str = "shop") -> Workload:
    """Return a workload with the label ``app`` and the container port ``main``."""
    return Workload(
        namespace=namespace,
        labels=labels({"app": app, **dict(pairs)}),
        ports=(("main", 8080),),
    )


def sidecar(namespace: str = "shop", of: Labels = NO_LABELS, name: str = "nobody") -> NodeInfo:
    """Return what a sidecar says of itself, of a pod that the World does not know."""
    return _node(ProxyKind.SIDECAR, namespace, of, name)


def router(namespace: str = "ingress", app: str = "gate") -> NodeInfo:
    """Return what a gateway says of itself."""
    return _node(ProxyKind.ROUTER, namespace, labels({"app": app}), "gate")


def _node(kind: ProxyKind, namespace: str, of: Labels, name: str) -> NodeInfo:
    return NodeInfo(
        id=f"{kind}~10.9.9.9~{name}.{namespace}~{namespace}.svc.cluster.local",
        kind=kind,
        ip="10.9.9.9",
        name=name,
        namespace=namespace,
        labels=of,
    )
