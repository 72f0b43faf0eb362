"""What arrives for a workload: its ports, their mutual TLS, their limits; and which class a proxy is of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import NO_LABELS, labels
from mizzen.model.proxy import ProxyKind, Scope, Workload
from mizzen.model.security import MtlsMode
from mizzen.resolve.inbound import inbound_policy, served_ports
from mizzen.resolve.proxies import proxy_class
from tests.support.small_mesh import (
    SmallMesh,
    istio,
    pod,
    pod_name,
    router,
    service,
    sidecar,
    workload,
)

CART = workload("cart")


def served(mesh: SmallMesh, of: Workload = CART) -> list[tuple[int, str, int]]:
    return [(p.port, p.service.meta.name, p.service_port.number) for p in served_ports(mesh.db, of)]


@pytest.mark.parametrize(
    ("port", "ports"),
    [
        ("http:80", [80]),
        ("http:80:8080", [8080]),
        ("http:80:main", [8080]),
        ("http:80:unknown", []),
        ("udp-x:80:8080", []),
    ],
)
def test_a_target_port_is_a_number_or_a_containers_name(port: str, ports: list[int]) -> None:
    """A name that the workload does not declare is no port; UDP is none of the mesh's business."""
    assert [found[0] for found in served(SmallMesh(service("cart", port)))] == ports


def test_the_oldest_service_gives_a_port() -> None:
    """Ports in their order; services that do not select the workload give none."""
    mesh = SmallMesh(
        service("cart", "http:80:8080", "tcp-x:70:7000", age=3),
        service("alias", "grpc:90:8080", age=1).replace("{app: alias}", "{app: cart}"),
        service("web", "http:80:9999"),
        service("far", "http:80:9998", namespace="bank").replace("{app: far}", "{app: cart}"),
        service("all", "http:80:9997").replace("{app: all}", "{}"),
    )
    assert served(mesh) == [(7000, "cart", 70), (8080, "alias", 90)]
    mesh.delete("Service", "alias")
    assert served(mesh) == [(7000, "cart", 70), (8080, "cart", 80)]


def test_a_selector_wants_all_its_labels() -> None:
    """One pair in common is not enough."""
    text = service("cart").replace("{app: cart}", "{app: cart, version: v2}")
    assert served(SmallMesh(text)) == []
    assert served(SmallMesh(text), workload("cart", ("version", "v2"))) == [(8080, "cart", 80)]


def test_an_entry_that_selects_a_workload_gives_its_ports() -> None:
    """Under its first host."""
    spec = """
        hosts: [cart.example.com, other.example.com]
        resolution: STATIC
        workloadSelector: {labels: {app: cart}}
        ports: [{number: 80, name: http, protocol: HTTP, targetPort: 7000}]
    """
    (found,) = served_ports(SmallMesh(istio("ServiceEntry", "e", spec)).db, CART)
    assert (found.port, found.host) == (7000, "cart.example.com")


POLICY = """
    selector: {matchLabels: {app: cart}}
    mtls: {mode: STRICT}
    portLevelMtls: {8080: {mode: DISABLE}, 9000: {mode: PERMISSIVE}}
"""


def test_a_port_has_its_own_mode_or_the_workloads() -> None:
    """Ports that no service gives keep theirs beside; all policies asked are named."""
    mesh = SmallMesh(
        service("cart", "http:80:8080", "tcp-x:70:7000"),
        istio("PeerAuthentication", "w", POLICY),
        istio("PeerAuthentication", "m", "mtls: {mode: STRICT}", namespace="istio-system"),
        settings=MeshSettings(trust_domain_aliases=("old",)),
    )
    found = inbound_policy(mesh.db, CART)
    assert [(p.port, p.mode) for p in found.ports] == [
        (7000, MtlsMode.STRICT),
        (8080, MtlsMode.DISABLE),
    ]
    assert found.default_mode is MtlsMode.STRICT
    assert found.port_modes == ((9000, MtlsMode.PERMISSIVE),)
    assert found.trust_domains == ("cluster.local", "old")
    assert [k.name for k in found.origins] == ["w", "m"]


def test_the_services_own_rule_limits_what_comes_in() -> None:
    """The connection pool of the service's namespace's rule, by the service's port."""
    rule = """
        host: cart
        trafficPolicy: {connectionPool: {tcp: {maxConnections: 3}}}
    """
    mesh = SmallMesh(service("cart"), istio("DestinationRule", "r", rule))
    (port,) = inbound_policy(mesh.db, CART).ports
    assert port.connection_pool is not None
    assert port.connection_pool.max_connections == 3
    mesh.delete("DestinationRule", "r")
    (port,) = inbound_policy(mesh.db, CART).ports
    assert port.connection_pool is None


KNOWN = replace(sidecar(name=pod_name("10.0.0.1")), ip="10.0.0.1", labels=labels({"app": "said"}))


def test_the_pod_of_the_name_says_what_a_proxy_is() -> None:
    """Its labels and named container ports, whatever the proxy says of itself."""
    found = proxy_class(SmallMesh(pod("10.0.0.1", "cart", mtls=False)).db, KNOWN)
    assert found.workload == CART
    assert found.scope == Scope(namespace="shop")


def test_else_the_pod_at_its_address() -> None:
    """In its namespace alone."""
    node = replace(KNOWN, name="renamed")
    mesh = SmallMesh(pod("10.0.0.1", "cart", mtls=False, namespace="bank"))
    assert proxy_class(mesh.db, node).workload.labels == labels({"app": "said"})
    mesh.apply(pod("10.0.0.1", "web", mtls=False))
    assert proxy_class(mesh.db, node).workload.labels == labels({"app": "web"})


def test_else_its_workload_entry_and_then_its_own_word() -> None:
    """The class is found anew when the World learns more."""
    node = replace(KNOWN, name="vm", ip="10.2.0.1")
    mesh = SmallMesh()
    assert proxy_class(mesh.db, node).workload.labels == labels({"app": "said"})
    mesh.apply(istio("WorkloadEntry", "vm", "address: 10.2.0.1\nlabels: {app: vm}"))
    assert proxy_class(mesh.db, node).workload == Workload(
        namespace="shop", labels=labels({"app": "vm"})
    )


ASKING = """
    hosts: [cart]
    http:
    - match: [{sourceLabels: {app: web}}]
      route: [{destination: {host: cart}}]
"""


@pytest.mark.parametrize(
    ("app", "told_apart"), [("web", labels({"app": "web"})), ("cart", NO_LABELS)]
)
def test_only_labels_that_a_rule_asks_for_tell_proxies_apart(
    app: str, told_apart: tuple[tuple[str, str], ...]
) -> None:
    """So that pods that no rule distinguishes share a scope; gateways have none of it."""
    mesh = SmallMesh(istio("VirtualService", "v", ASKING))
    of = labels({"app": app, "version": "v1"})
    assert proxy_class(mesh.db, sidecar(of=of)).scope.labels == told_apart
    gate = proxy_class(mesh.db, router(app=app))
    assert gate.kind is ProxyKind.ROUTER
    assert gate.scope == Scope(namespace="ingress", gateway=True)
    mesh.delete("VirtualService", "v")
    assert proxy_class(mesh.db, sidecar(of=of)).scope.labels == NO_LABELS
