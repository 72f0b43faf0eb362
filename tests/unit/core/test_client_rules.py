"""DestinationRules for some clients: who gets which, and that everybody else shares what is alike."""

from __future__ import annotations

from mizzen.model.meta import NO_LABELS, labels
from mizzen.model.proxy import Scope
from mizzen.resolve.connections import proxy_to
from mizzen.resolve.inbound import inbound_policy
from mizzen.resolve.proxies import proxy_class
from mizzen.resolve.routes import listener_viewer, route_viewer, viewer
from mizzen.resolve.rules import rule_for
from tests.support.small_mesh import (
    BANK,
    SHOP,
    SmallMesh,
    endpoints,
    host,
    istio,
    key,
    pod,
    router,
    service,
    sidecar,
    workload,
)

CART = host("cart")
WEB = labels({"app": "web"})
WEB_IN_SHOP = Scope(namespace="shop", labels=WEB)


def rule(name: str, spec: str = "", *, app: str = "", namespace: str = "shop", age: int = 0) -> str:
    selector = f"workloadSelector: {{matchLabels: {{app: {app}}}}}\n" if app else ""
    text = f"host: {CART}\n{selector}{spec}"
    return istio("DestinationRule", name, text, namespace=namespace, age=age)


def names(mesh: SmallMesh, scope: Scope) -> list[str]:
    return [f"{one.namespace}/{one.name}" for one in rule_for(mesh.db, (scope, CART)).origins]


def test_a_rule_for_some_goes_before_one_for_all() -> None:
    """For those whom it is for, instead of it; whichever is older."""
    mesh = SmallMesh(service("cart"), rule("all"), rule("some", app="web", age=3))
    assert names(mesh, WEB_IN_SHOP) == ["shop/some"]
    assert names(mesh, SHOP) == ["shop/all"]
    assert names(mesh, Scope(namespace="shop", labels=labels({"app": "db"}))) == ["shop/all"]


def test_the_oldest_of_those_for_a_client_stands_alone() -> None:
    """Rules for some are never joined."""
    subsets = "subsets: [{name: v1, labels: {a: b}}]"
    mesh = SmallMesh(
        service("cart"), rule("young", subsets, app="web", age=2), rule("old", app="web", age=1)
    )
    assert names(mesh, WEB_IN_SHOP) == ["shop/old"]
    assert rule_for(mesh.db, (WEB_IN_SHOP, CART)).subsets == ()


def test_it_is_for_its_own_namespace_alone() -> None:
    """In the root namespace too."""
    mesh = SmallMesh(
        service("cart"),
        rule("shops", app="web"),
        rule("roots", app="web", namespace="istio-system"),
    )
    in_bank = Scope(namespace="bank", labels=WEB)
    assert names(mesh, in_bank) == []
    assert names(mesh, Scope(namespace="istio-system", labels=WEB)) == ["istio-system/roots"]


def test_without_labels_it_is_for_all_of_its_namespace() -> None:
    """An empty selector selects everyone."""
    text = f"host: {CART}\nworkloadSelector: {{}}"
    mesh = SmallMesh(service("cart"), istio("DestinationRule", "r", text))
    assert names(mesh, SHOP) == ["shop/r"]
    assert names(mesh, BANK) == []


def test_the_server_does_not_heed_it() -> None:
    """Limits of the inbound side are those of the rule for everyone."""
    pool = "trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}"
    mesh = SmallMesh(service("cart"), rule("some", pool, app="cart"))
    (port,) = inbound_policy(mesh.db, workload("cart")).ports
    assert port.connection_pool is None
    mesh.apply(rule("all", pool))
    (port,) = inbound_policy(mesh.db, workload("cart")).ports
    assert port.connection_pool is not None


def test_only_labels_that_rules_ask_for_tell_proxies_apart() -> None:
    """Sidecars and gateways; once the rule is gone, nobody is told apart any more."""
    mesh = SmallMesh(service("cart"), rule("some", app="web"))
    of = labels({"app": "web", "version": "v1"})
    assert proxy_class(mesh.db, sidecar(of=of)).scope.labels == WEB
    gate = proxy_class(mesh.db, router("shop", app="web"))
    assert gate.scope == Scope(namespace="shop", labels=WEB, gateway=True)
    mesh.delete("DestinationRule", "some")
    assert proxy_class(mesh.db, sidecar(of=of)).scope.labels == NO_LABELS


def test_what_no_rule_for_some_is_about_is_shared() -> None:
    """Clusters, routes and listeners of other hosts, and those of the host for everybody else."""
    mesh = SmallMesh(
        service("cart"), service("db", "tcp:3306", ip="10.96.0.2"), rule("some", app="web")
    )
    for look in (viewer, route_viewer, listener_viewer):
        assert look(mesh.db, (WEB_IN_SHOP, CART)) == WEB_IN_SHOP
        assert look(mesh.db, (WEB_IN_SHOP, host("db"))) == SHOP
        other = Scope(namespace="bank", labels=WEB)
        assert look(mesh.db, (other, CART)) == Scope(namespace="")


def test_a_sidecar_leaves_clients_told_apart() -> None:
    """What is seen is one thing, which rule holds is another."""
    mesh = SmallMesh(
        service("cart"),
        rule("some", app="web"),
        istio(
            "Sidecar", "s", "egress: [{port: {number: 80}, hosts: ['./*']}, {hosts: ['bank/*']}]"
        ),
    )
    limited = Scope(namespace="shop", labels=WEB, sidecar=key("Sidecar", "s"))
    for look in (viewer, route_viewer):
        assert look(mesh.db, (limited, CART)).labels == WEB
    hidden = Scope(namespace="shop", sidecar=key("Sidecar", "s"))
    assert route_viewer(mesh.db, (hidden, CART)).labels == NO_LABELS


def test_routes_to_the_host_hash_as_its_rule_says() -> None:
    """Who is sent there by another host's routes is told apart as well."""
    spec = "trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true}}}"
    route = "hosts: [front]\nhttp: [{route: [{destination: {host: cart}}]}]"
    mesh = SmallMesh(
        service("cart"),
        service("front", ip="10.96.0.2"),
        istio("VirtualService", "v", route),
        rule("some", spec, app="web"),
    )
    assert route_viewer(mesh.db, (WEB_IN_SHOP, host("front"))) == WEB_IN_SHOP
    assert proxy_to(mesh.db, WEB_IN_SHOP, CART, 80).hash_on_source
    assert not proxy_to(mesh.db, SHOP, CART, 80).hash_on_source


def test_rules_for_nobody_are_told_of() -> None:
    """A selector that no workload of the namespace has."""
    mesh = SmallMesh(service("cart"), pod("10.0.0.1", "cart"), rule("some", app="web"))
    assert any(code == "MZ0308" for code, _, _ in mesh.findings())
    mesh.apply(pod("10.0.0.2", "web"))
    assert not any(code == "MZ0308" for code, _, _ in mesh.findings())


def test_subsets_of_rules_for_some_are_known() -> None:
    """To routes that name them; and two rules for different clients may both define one."""
    subset = "subsets: [{name: v1, labels: {app: cart}}]"
    route = "hosts: [cart]\nhttp: [{route: [{destination: {host: cart, subset: v1}}]}]"
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        pod("10.0.0.1", "cart"),
        pod("10.0.0.2", "web"),
        istio("VirtualService", "v", route),
        rule("some", subset, app="web"),
        rule("others", subset, app="cart"),
    )
    assert mesh.findings() == []
    mesh.apply(rule("again", subset, app="web", age=4))
    assert {code for code, _, _ in mesh.findings()} == {"MZ0403"}
