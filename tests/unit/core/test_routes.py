"""Which VirtualService routes a host, under which names the host answers, and what it does then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.ir import Forward, VirtualHost
from mizzen.model.meta import labels
from mizzen.model.proxy import Scope
from mizzen.model.routing import VirtualService
from mizzen.model.world import Batch
from mizzen.resolve.choice import contenders, virtual_service_for
from mizzen.resolve.routes import required_clusters, route_viewer, virtual_hosts
from tests.support.small_mesh import BANK, SHOP, SmallMesh, host, istio, key, read, service

CART = host("cart")
THIRD = Scope(namespace="third")


def routes(name: str, *hosts: str, to: str = "x", more: str = "", **meta: object) -> str:
    spec = f"""
        hosts: [{", ".join(repr(h) for h in hosts)}]
        {more or "# nothing more"}
        http: [{{route: [{{destination: {{host: {to}}}}}]}}]
    """
    return istio("VirtualService", name, spec, **meta)  # type: ignore[arg-type]


def chosen(mesh: SmallMesh, scope: Scope = SHOP, of: str = CART) -> str:
    found = virtual_service_for(mesh.db, scope, of)
    return found.meta.name if found else ""


def clusters(virtual_host: VirtualHost) -> list[str]:
    return sorted(required_clusters(virtual_host.routes))


def by_table(mesh: SmallMesh, of: str, scope: Scope = SHOP) -> dict[str, VirtualHost]:
    return {found.route_configuration: found for found in virtual_hosts(mesh.db, (scope, of))}


def test_the_most_specific_pattern_wins_over_the_most_private() -> None:
    """As Istio's MostSpecificHostMatch, whatever the namespaces."""
    patterns = ["*.local", "*.cluster.local", "*.shop.svc.cluster.local", CART]
    mesh = SmallMesh(
        *(
            routes(f"v{n}", p, more="" if n == 3 else "exportTo: ['.']")
            for n, p in enumerate(patterns)
        )
    )
    for number in (3, 2, 1, 0):
        assert chosen(mesh) == f"v{number}"
        mesh.delete("VirtualService", f"v{number}")
    assert chosen(mesh) == ""


def test_of_one_pattern_the_most_private_wins_then_the_oldest() -> None:
    """Not exported, exported to some, to everyone."""
    mesh = SmallMesh(
        routes("public", CART, age=1),
        routes("younger", CART, age=4),
        routes("to-bank", CART, more="exportTo: [bank]", age=3),
        routes("own", CART, more="exportTo: ['.', third]", age=2),
    )
    assert [chosen(mesh, s) for s in (SHOP, BANK, THIRD)] == ["own", "to-bank", "own"]
    mesh.delete("VirtualService", "own")
    assert [chosen(mesh, s) for s in (SHOP, BANK, THIRD)] == ["public", "to-bank", "public"]


def test_a_virtual_service_of_several_fitting_hosts_is_one_contender() -> None:
    """A host may stand there twice, by its short name and in full."""
    mesh = SmallMesh(routes("both", "cart", CART), routes("wide", "*.local", age=1))
    assert [item.meta.name for item in contenders(mesh.db, CART)] == ["both", "wide"]


def test_gateways_virtual_services_are_not_the_meshs() -> None:
    """Without ``mesh`` among its gateways it routes no sidecar."""
    mesh = SmallMesh(routes("v", CART, more="gateways: [g]"))
    assert chosen(mesh) == ""
    mesh.apply(routes("v", CART, more="gateways: [g, mesh]"))
    assert chosen(mesh) == "v"


def test_a_service_has_a_virtual_host_for_each_http_port() -> None:
    """TCP and UDP have none; an undeclared port's is the only one of a table of its own."""
    mesh = SmallMesh(service("cart", "http:80", "tcp-x:81", "grpc:82", "udp-x:83", "x:84"))
    found = by_table(mesh, CART)
    assert sorted(found) == ["80", "82", f"{CART}:84"]
    assert found[f"{CART}:84"].domains == ("*",)
    assert clusters(found["82"]) == [f"outbound|82||{CART}"]
    assert [str(key) for key in found["80"].origins] == ["Service shop/cart"]


@pytest.mark.parametrize(
    ("scope", "ip", "domains"),
    [
        (SHOP, "10.96.0.1", "cart.shop.svc cart.shop cart 10.96.0.1"),
        (BANK, "10.96.0.1", "cart.shop.svc cart.shop 10.96.0.1"),
        (
            SHOP,
            "None",
            f"cart.shop.svc cart.shop cart *.{CART} *.cart.shop.svc *.cart.shop *.cart",
        ),
        (BANK, "None", f"cart.shop.svc cart.shop *.{CART} *.cart.shop.svc *.cart.shop"),
    ],
)
def test_the_names_by_which_a_service_is_called(scope: Scope, ip: str, domains: str) -> None:
    """The full one, with and without its final dot, the short ones, the addresses; pods of a headless one."""
    (found,) = virtual_hosts(SmallMesh(service("cart", ip=ip)).db, (scope, CART))
    assert found.domains == (CART, f"{CART}.", *domains.split())


def entry(name: str, of: str, port: str = "80", more: str = "", **meta: object) -> str:
    spec = f"""
        hosts: [{of!r}]
        resolution: STATIC
        ports: [{{number: {port}, name: http, protocol: HTTP}}]
        endpoints: [{{address: 10.1.0.1}}]
        {more or "# nothing more"}
    """
    return istio("ServiceEntry", name, spec, **meta)  # type: ignore[arg-type]


def test_an_entry_is_called_by_its_host_and_addresses() -> None:
    """No short forms; CIDRs are no names; IPv6 stands in brackets; a wildcard has no final dot."""
    addresses = "addresses: [10.5.0.1, 10.6.0.0/16, 'fd00::1']"
    mesh = SmallMesh(entry("e", "api.example.com", more=addresses), entry("w", "*.example.com"))
    assert by_table(mesh, "api.example.com")["80"].domains == (
        "api.example.com",
        "api.example.com.",
        "10.5.0.1",
        "[fd00::1]",
    )
    assert by_table(mesh, "*.example.com")["80"].domains == ("*.example.com",)


@pytest.mark.parametrize(
    ("other", "lost"),
    [
        (entry("e", "cart.shop"), {"cart.shop"}),
        (entry("e", "cart.shop.svc"), {"cart.shop.svc"}),
        (entry("e", "cart.shop", port="81"), set()),
        (entry("e", "cart.shop", namespace="bank", more="exportTo: ['.']"), set()),
        (routes("v", "cart.shop"), {"cart.shop"}),
        (routes("v", "cart.shop", namespace="bank", more="exportTo: ['.']"), set()),
        (routes("v", "10.96.0.1"), {"10.96.0.1"}),
        (service("old", age=1), {"10.96.0.1"}),
        (service("young", age=3), set()),
        (service("old", "http:81", age=1), set()),
        (service("old", "tcp-x:80", age=1), set()),
        (entry("e", "api.example.com", more="addresses: [10.96.0.1]", age=1), {"10.96.0.1"}),
    ],
)
def test_a_made_up_name_gives_way_to_a_real_one(other: str, lost: set[str]) -> None:
    """On the same port, if the same viewer sees it; an address goes to the oldest that share it."""
    alone = by_table(SmallMesh(service("cart", age=2)), CART)["80"].domains
    mesh = SmallMesh(service("cart", age=2), other)
    assert set(alone) - set(by_table(mesh, CART)["80"].domains) == lost
    mesh.delete("ServiceEntry", "e", "shop")
    mesh.delete("VirtualService", "v")
    mesh.delete("Service", "old")
    assert by_table(mesh, CART)["80"].domains == alone


def test_a_bare_host_takes_its_name_on_its_own_port_only() -> None:
    """A VirtualService's host without a service lives on port 80; elsewhere the short form stays."""
    mesh = SmallMesh(service("cart", "http:80", "http-x:8080"), routes("v", "cart.shop"))
    found = by_table(mesh, CART)
    assert "cart.shop" not in found["80"].domains
    assert "cart.shop" in found["8080"].domains


def test_a_virtual_service_routes_all_http_ports_of_its_host() -> None:
    """A destination without a port is the listener's own where the other has several."""
    mesh = SmallMesh(
        service("cart", "http:80", "http-x:81"),
        service("x", "http:80", "http-x:81"),
        routes("v", "cart"),
    )
    found = by_table(mesh, CART)
    assert clusters(found["80"]) == [f"outbound|80||{host('x')}"]
    assert clusters(found["81"]) == [f"outbound|81||{host('x')}"]
    assert [str(key) for key in found["80"].origins] == [
        "Service shop/cart",
        "VirtualService shop/v",
    ]


@pytest.mark.parametrize(
    "match", ["port: 81", "sourceLabels: {app: web}", "gateways: [g]", "sourceNamespace: bank"]
)
def test_where_no_rule_applies_the_host_keeps_its_own_route(match: str) -> None:
    """As if there were no VirtualService for this port or these clients."""
    text = f"""
        hosts: [cart]
        gateways: [mesh, g]
        http: [{{match: [{{{match}}}], route: [{{destination: {{host: x}}}}]}}]
    """
    mesh = SmallMesh(service("cart"), istio("VirtualService", "v", text))
    assert clusters(by_table(mesh, CART)["80"]) == [f"outbound|80||{CART}"]


def test_a_host_without_a_service_lives_on_port_80() -> None:
    """Routed there as written; not where a service gives the host."""
    mesh = SmallMesh(routes("v", "old.example.com"))
    found = by_table(mesh, "old.example.com")
    assert found["80"].domains == ("old.example.com",)
    assert clusters(found["80"]) == [f"outbound|80||{host('x')}"]
    mesh.apply(entry("e", "old.example.com", port="8080"))
    assert sorted(by_table(mesh, "old.example.com")) == ["8080"]
    hidden = entry("e", "old.example.com", port="8080", more="exportTo: ['.']", namespace="bank")
    mesh.delete("ServiceEntry", "e")
    mesh.apply(hidden)
    assert sorted(by_table(mesh, "old.example.com")) == ["80"]
    assert sorted(by_table(mesh, "old.example.com", BANK)) == ["8080"]


def test_a_wildcard_stands_alone_only_where_it_covers_no_service() -> None:
    """Over services it routes these, and nothing that does not exist."""
    mesh = SmallMesh(routes("v", "*.example.com"))
    assert by_table(mesh, "*.example.com")["80"].domains == ("*.example.com",)
    mesh.apply(entry("e", "api.example.com"))
    assert by_table(mesh, "*.example.com") == {}
    assert clusters(by_table(mesh, "api.example.com")["80"]) == [f"outbound|80||{host('x')}"]
    mesh.apply(entry("e", "api.example.com", more="exportTo: ['.']"))
    assert by_table(mesh, "*.example.com") == {}
    assert sorted(by_table(mesh, "*.example.com", BANK)) == ["80"]
    assert route_viewer(mesh.db, (BANK, "*.example.com")) == BANK


def test_the_catch_all_is_nobodys_host() -> None:
    """A VirtualService of ``*`` routes services; the port's ``*`` belongs to the port."""
    mesh = SmallMesh(service("cart"), routes("v", "*.local"))
    (written,) = read(routes("v", "*.local")).values()
    assert isinstance(written, VirtualService)
    everything = replace(written, hosts=("*",))
    mesh.world.commit(Batch(changes={key("VirtualService", "v"): everything}))
    assert by_table(mesh, "*") == {}
    assert clusters(by_table(mesh, CART)["80"]) == [f"outbound|80||{host('x')}"]


def test_a_virtual_service_about_tcp_leaves_http_alone() -> None:
    """Without ``http`` rules the host has the route to itself."""
    text = "hosts: [cart]\ntcp: [{route: [{destination: {host: x}}]}]"
    mesh = SmallMesh(service("cart"), istio("VirtualService", "v", text))
    assert clusters(by_table(mesh, CART)["80"]) == [f"outbound|80||{CART}"]


def test_clients_with_other_labels_have_other_routes() -> None:
    """``sourceLabels`` make the viewer's labels matter, for this host alone."""
    text = """
        hosts: [cart]
        http:
        - match: [{sourceLabels: {app: web}}]
          route: [{destination: {host: x}}]
        - route: [{destination: {host: cart}}]
    """
    mesh = SmallMesh(
        service("cart"), service("x", ip="10.96.0.2"), istio("VirtualService", "v", text)
    )
    web = Scope(namespace="shop", labels=labels({"app": "web"}))
    assert clusters(by_table(mesh, CART, web)["80"]) == [f"outbound|80||{host('x')}"]
    assert clusters(by_table(mesh, CART)["80"]) == [f"outbound|80||{CART}"]
    assert route_viewer(mesh.db, (web, CART)) == web
    assert route_viewer(mesh.db, (web, host("x"))) == SHOP


def test_a_redirect_needs_no_cluster() -> None:
    """Only what is forwarded waits for clusters."""
    text = "hosts: [cart]\nhttp: [{redirect: {uri: /x}}]"
    mesh = SmallMesh(service("cart"), istio("VirtualService", "v", text))
    (found,) = virtual_hosts(mesh.db, (SHOP, CART))
    assert not isinstance(found.routes[0].action, Forward)
    assert clusters(found) == []
