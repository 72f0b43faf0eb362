"""ExternalName: other names of a host."""

from __future__ import annotations

from mizzen.model.proxy import Scope
from mizzen.names import outbound_cluster
from mizzen.resolve.aliases import aliases, real_host
from mizzen.resolve.dns import own_addresses
from mizzen.resolve.listeners import own_listeners
from mizzen.resolve.routes import route_viewer, virtual_hosts
from mizzen.resolve.services import service_at
from mizzen.tables import host_claims
from tests.support.small_mesh import BANK, SHOP, SmallMesh, host, istio, service

_CART = host("cart")


def alias(name: str, of: str, *, namespace: str = "shop", extra: str = "") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}, annotations: {{{extra}}}}}
spec: {{type: ExternalName, externalName: {of}, selector: {{app: cart}}}}
"""


def domains(mesh: SmallMesh, of: str = _CART, scope: Scope = SHOP) -> set[str]:
    (found,) = virtual_hosts(mesh.db, (route_viewer(mesh.db, (scope, of)), of))
    return set(found.domains)


def test_an_alias_has_nothing_of_its_own() -> None:
    """It is no service; its target has its names."""
    mesh = SmallMesh(service("cart"), alias("basket", _CART))
    assert service_at(mesh.db, SHOP, host("basket")) is None
    assert host_claims(mesh.db, (SHOP, host("basket"))) == ()
    assert {host("basket"), "basket.shop.svc", "basket.shop", "basket"} <= domains(mesh)
    assert "basket" not in domains(mesh, scope=BANK)
    assert "basket.shop" in domains(mesh, scope=BANK)
    mesh.delete("Service", "basket")
    assert host("basket") not in domains(mesh)


def test_names_of_names_lead_to_the_same() -> None:
    """In whatever letters, and with the final dot."""
    mesh = SmallMesh(
        service("cart"), alias("a", host("b")), alias("b", "CART.shop.svc.cluster.local.")
    )
    assert real_host(mesh.db, host("a")) == _CART
    assert {host("a"), host("b")} <= domains(mesh)


def test_a_circle_ends_nowhere() -> None:
    """Nobody waits for its end."""
    mesh = SmallMesh(alias("a", host("b")), alias("b", host("a")), alias("c", host("c")))
    assert service_at(mesh.db, SHOP, real_host(mesh.db, host("a"))) is None
    assert [one.host for one in aliases(mesh.db, host("a"))] == [host("b")]
    assert aliases(mesh.db, host("c")) == ()


def test_who_does_not_see_an_alias_does_not_use_it() -> None:
    """exportTo, and what a Sidecar imports."""
    mesh = SmallMesh(
        service("cart"),
        alias("mine", _CART, extra="networking.istio.io/exportTo: '.'"),
        alias("till", _CART, namespace="bank"),
        istio("Sidecar", "s", "    egress: [{hosts: ['shop/*']}]", namespace="third"),
    )
    third = Scope(
        namespace="third", sidecar=next(k for k in mesh.world.objects if k.kind == "Sidecar")
    )
    assert {host("mine"), host("till", "bank")} <= domains(mesh)
    assert host("mine") not in domains(mesh, scope=BANK)
    assert host("till", "bank") not in domains(mesh, scope=third)
    assert domains(mesh, scope=Scope(namespace="fourth")) == domains(mesh, scope=BANK) - {"till"}


def test_what_is_really_called_so_keeps_its_name() -> None:
    """A ServiceEntry may have the very host."""
    entry = f"""
        hosts: [{host("basket")}]
        resolution: STATIC
        ports: [{{number: 80, name: http, protocol: HTTP}}]
        endpoints: [{{address: 10.1.0.1}}]
    """
    mesh = SmallMesh(service("cart"), alias("basket", _CART), istio("ServiceEntry", "e", entry))
    assert real_host(mesh.db, host("basket")) == host("basket")
    assert host("basket") not in domains(mesh)


def test_a_rule_may_send_to_an_alias() -> None:
    """Requests go where the name leads."""
    route = """
        hosts: [web]
        http: [{route: [{destination: {host: basket, port: {number: 80}}}]}]
        tcp: [{route: [{destination: {host: basket, port: {number: 80}}}]}]
    """
    mesh = SmallMesh(
        service("cart"),
        alias("basket", _CART),
        service("web", "http:80", "tcp:90", ip="10.96.0.2"),
        istio("VirtualService", "v", route),
    )
    (found,) = virtual_hosts(mesh.db, (SHOP, host("web")))
    assert outbound_cluster(80, "", _CART) in str(found.routes[0].action)
    (listener,) = own_listeners(mesh.db, (SHOP, host("web")))
    assert listener.tcp.cluster == outbound_cluster(80, "", _CART)
    assert mesh.findings() == []


def test_rules_for_an_alias_are_told_of() -> None:
    """Those of its target hold for it."""
    route = "hosts: [basket]\nhttp: [{route: [{destination: {host: cart}}]}]"
    mesh = SmallMesh(service("cart"), alias("basket", _CART), istio("VirtualService", "v", route))
    assert mesh.findings() == [("MZ0203", "VirtualService shop/v", "spec.hosts[0]")]
    mesh.apply(
        istio("VirtualService", "v", route.replace("basket", "lost").replace("cart", "gone"))
    )
    mesh.apply(alias("gone", "nobody.test"))
    assert any("nobody.test is neither" in message for message in mesh.messages())


def test_a_server_name_may_be_an_alias() -> None:
    """TLS is told by what it asks for, where the service has no address."""
    entry = """
        hosts: [api.test]
        resolution: NONE
        ports: [{number: 443, name: tls, protocol: TLS}]
    """
    mesh = SmallMesh(istio("ServiceEntry", "e", entry), alias("api", "api.test"))
    (listener,) = own_listeners(mesh.db, (SHOP, "api.test"))
    assert [chain.server_name for chain in listener.chains] == ["api.test", host("api")]


def test_captured_dns_answers_for_an_alias() -> None:
    """With the addresses of its target, where only the mesh knows them."""
    entry = """
        hosts: [api.test]
        addresses: [240.0.0.1]
        resolution: NONE
        ports: [{number: 443, name: tls, protocol: TLS}]
    """
    mesh = SmallMesh(istio("ServiceEntry", "e", entry), alias("api", "api.test"))
    assert own_addresses(mesh.db, (SHOP, host("api"))) == ("240.0.0.1",)
