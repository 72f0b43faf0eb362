"""Where a router listens, for which hosts, and what is behind them."""

from __future__ import annotations

import pytest

from mizzen.ir import CatchAll, VirtualHost
from mizzen.model.meta import labels
from mizzen.model.proxy import Workload
from mizzen.model.routing import Redirect
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.gateways import (
    gateway_hosts,
    gateway_tables,
    gateway_virtual_host,
    gateways_of,
)
from mizzen.resolve.routes import required_clusters
from tests.support.small_mesh import SmallMesh, host, istio, service

GATE = Workload(namespace="ingress", labels=labels({"app": "gate"}))
CART = host("cart")


def gateway(
    name: str = "door",
    *hosts: str,
    port: int = 80,
    more: str = "",
    namespace: str = "ingress",
    **meta: object,
) -> str:
    spec = f"""
        selector: {{app: gate}}
        servers:
        - port: {{number: {port}, name: http, protocol: HTTP}}
          hosts: [{", ".join(repr(h) for h in hosts or ("*",))}]
          {more or "# nothing more"}
    """
    return istio("Gateway", name, spec, namespace=namespace, **meta)  # type: ignore[arg-type]


REST = "- route: [{destination: {host: cart.shop.svc.cluster.local, port: {number: 80}}}]"


def routes(
    name: str,
    *hosts: str,
    http: str = REST,
    to: str = "ingress/door",
    more: str = "",
    **meta: object,
) -> str:
    rules = "\n".join(f"  {line}" for line in http.splitlines())
    spec = f"hosts: [{', '.join(repr(h) for h in hosts)}]\ngateways: [{to}]\n{more}\nhttp:\n{rules}"
    return istio("VirtualService", name, spec, **meta)  # type: ignore[arg-type]


def hosts(mesh: SmallMesh) -> dict[str, VirtualHost]:
    found = (gateway_virtual_host(mesh.db, (GATE, key)) for key in gateway_hosts(mesh.db, GATE))
    return {f"{one.route_configuration} {one.host}": one for one in found if one}


def test_a_gateway_selects_routers_in_any_namespace() -> None:
    """By their labels, the oldest first."""
    mesh = SmallMesh(
        gateway("young", age=2),
        gateway("old", age=1, namespace="bank"),
        gateway("other").replace("app: gate", "app: else"),
    )
    assert [item.meta.name for item in gateways_of(mesh.db, GATE)] == ["old", "young"]
    assert gateways_of(mesh.db, Workload(namespace="ingress")) == ()


@pytest.mark.parametrize(
    ("objects", "name"),
    [
        ((), "0.0.0.0_80"),
        ((service("gate", "http:80:8080", namespace="ingress"),), "0.0.0.0_8080"),
        ((service("gate", "http:81:8080", namespace="ingress"),), "0.0.0.0_80"),
    ],
)
def test_a_server_listens_on_the_target_port(objects: tuple[str, ...], name: str) -> None:
    """Its number is the Service's; without a Service it is the router's own."""
    mesh = SmallMesh(gateway(), *objects)
    (listener,) = gateway_listeners(mesh.db, GATE)
    port = name.rpartition("_")[2]
    (chain,) = listener.chains
    assert (listener.name, chain.routes) == (name, f"http.{port}")
    (table,) = gateway_tables(mesh.db, GATE)
    assert (table.name, table.catch_all) == (f"http.{port}", CatchAll.NOT_FOUND)
    assert [k.name for k in listener.origins] == ["door"]


def test_a_bound_server_has_a_name_of_its_own() -> None:
    """The address is part of the route configuration's name."""
    mesh = SmallMesh(gateway(more="bind: 10.0.0.9"), routes("v", "a.example.com"))
    (listener,) = gateway_listeners(mesh.db, GATE)
    (chain,) = listener.chains
    assert (listener.name, chain.routes) == ("10.0.0.9_80", "http.80.10.0.0.9")
    assert list(hosts(mesh)) == ["http.80.10.0.0.9 a.example.com"]


def test_servers_of_a_port_share_their_routes() -> None:
    """Of several Gateways, each named once."""
    mesh = SmallMesh(
        gateway("one", "a.example.com", age=1),
        gateway("two", "b.example.com", age=2),
        routes("a", "a.example.com", to="ingress/one"),
        routes("b", "b.example.com", to="ingress/two"),
    )
    (table,) = gateway_tables(mesh.db, GATE)
    assert [k.name for k in table.origins] == ["one", "two"]
    assert sorted(hosts(mesh)) == ["http.80 a.example.com", "http.80 b.example.com"]


@pytest.mark.parametrize(
    ("server", "written", "served"),
    [
        ("*", "a.example.com", "a.example.com"),
        ("a.example.com", "*.example.com", "a.example.com"),
        ("*.example.com", "a.example.com", "a.example.com"),
        ("*.example.com", "*.a.example.com", "*.a.example.com"),
        ("*", "*", "*"),
        ("b.example.com", "a.example.com", ""),
        ("shop/a.example.com", "a.example.com", "a.example.com"),
        ("bank/a.example.com", "a.example.com", ""),
        ("*/a.example.com", "a.example.com", "a.example.com"),
        ("./a.example.com", "a.example.com", ""),
        ("shop/*", "a.example.com", "a.example.com"),
        ("A.Example.com", "a.example.com", "a.example.com"),
        ("cart.shop.svc.cluster.local", "cart", CART),
    ],
)
def test_a_host_is_what_server_and_virtual_service_have_in_common(
    server: str, written: str, served: str
) -> None:
    """The narrower of the two, if the server takes the VirtualService's namespace."""
    mesh = SmallMesh(gateway("door", server), routes("v", written))
    assert [key.rpartition(" ")[2] for key in hosts(mesh)] == ([served] if served else [])


def test_a_dot_is_the_gateways_own_namespace() -> None:
    """``./host`` takes what stands beside the Gateway."""
    mesh = SmallMesh(
        gateway("door", "./*.example.com"),
        routes("in", "a.example.com", namespace="ingress", to="door"),
        routes("out", "b.example.com"),
    )
    assert sorted(hosts(mesh)) == ["http.80 a.example.com"]


@pytest.mark.parametrize(
    ("export_to", "served"), [("'*'", True), ("ingress", True), ("'.'", False), ("bank", False)]
)
def test_a_router_sees_what_its_namespace_sees(export_to: str, *, served: bool) -> None:
    """The router's namespace counts, not the Gateway's."""
    mesh = SmallMesh(
        gateway(namespace="bank"),
        routes("v", "a.example.com", to="bank/door", more=f"exportTo: [{export_to}]"),
    )
    assert bool(hosts(mesh)) is served


API = """\
- match: [{uri: {prefix: /api}}]
  route: [{destination: {host: api.shop.svc.cluster.local, port: {number: 80}}}]
"""
SLASH = """\
- match: [{uri: {prefix: /}}]
  route: [{destination: {host: slash.shop.svc.cluster.local, port: {number: 80}}}]
"""


def clusters(found: VirtualHost) -> list[str]:
    return [next(iter(required_clusters((r,)))).split("|")[3].split(".")[0] for r in found.routes]


def test_virtual_services_of_one_host_are_merged() -> None:
    """The oldest first; what takes everything goes to the end, and only the first of these."""
    mesh = SmallMesh(
        gateway(),
        routes("rest", "a.example.com", age=1),
        routes("slash", "a.example.com", http=SLASH, age=2),
        routes("api", "a.example.com", http=API, age=3),
    )
    (found,) = hosts(mesh).values()
    assert clusters(found) == ["api", "cart"]
    mesh.delete("VirtualService", "rest")
    (found,) = hosts(mesh).values()
    assert clusters(found) == ["api", "slash"]
    assert [k.name for k in found.origins] == ["slash", "door", "api"]


def test_a_wildcard_stays_apart_from_the_hosts_below_it() -> None:
    """Only a server that names the host brings both together."""
    mesh = SmallMesh(
        gateway(),
        routes("wide", "*.example.com", http=API, age=1),
        routes("exact", "a.example.com", age=2),
    )
    found = hosts(mesh)
    assert clusters(found["http.80 a.example.com"]) == ["cart"]
    assert clusters(found["http.80 *.example.com"]) == ["api"]
    mesh.apply(gateway("door", "a.example.com"))
    (found_one,) = hosts(mesh).values()
    assert clusters(found_one) == ["api", "cart"]


def test_a_virtual_service_comes_once_by_however_many_servers() -> None:
    """Two servers of one port that both take it."""
    mesh = SmallMesh(
        gateway("door", "*.example.com", "a.example.com"), routes("v", "a.example.com")
    )
    (found,) = hosts(mesh).values()
    assert clusters(found) == ["cart"]


def test_https_redirect_needs_no_virtual_service() -> None:
    """Every host of the server answers 301; with routes, these wait behind the redirect."""
    mesh = SmallMesh(
        gateway("door", "*.example.com", "bank/b.test", more="tls: {httpsRedirect: true}"),
        routes("v", "a.example.com"),
    )
    found = hosts(mesh)
    assert sorted(found) == [
        "http.80 *.example.com",
        "http.80 a.example.com",
        "http.80 b.test",
    ]
    assert all(one.redirect_to_https for one in found.values())
    assert clusters(found["http.80 a.example.com"]) == ["cart"]
    assert found["http.80 b.test"].routes == ()
    assert [k.kind for k in found["http.80 b.test"].origins] == ["Gateway"]


def test_ports_of_a_gateway_are_told_apart() -> None:
    """By their numbers as the Service gives them, whatever the router listens on."""
    rule = "- match: [{port: 81}]\n  redirect: {uri: /x}"
    two = gateway("more", port=81, age=1)
    mesh = SmallMesh(
        gateway(),
        two,
        service("gate", "http:81:8081", namespace="ingress"),
        routes("v", "a.example.com", http=rule, to="ingress/door, ingress/more"),
    )
    found = hosts(mesh)
    assert list(found) == ["http.8081 a.example.com"]
    assert isinstance(found["http.8081 a.example.com"].routes[0].action, Redirect)


def test_source_labels_are_compared_with_the_gateways_own() -> None:
    """What is for clients inside the mesh stays inside."""
    rule = "- match: [{sourceLabels: {app: web}}]\n  redirect: {uri: /x}"
    mesh = SmallMesh(gateway(), routes("v", "a.example.com", http=rule, to="ingress/door, mesh"))
    assert hosts(mesh) == {}
    mesh.apply(routes("v", "a.example.com", http=rule.replace("web", "gate")))
    assert len(hosts(mesh)) == 1


def test_what_is_gone_is_nothing() -> None:
    """Queries are total: a host may be asked for after its gateway went."""
    mesh = SmallMesh(gateway(), routes("v", "a.example.com"))
    (key,) = gateway_hosts(mesh.db, GATE)
    mesh.delete("Gateway", "door", "ingress")
    assert gateway_virtual_host(mesh.db, (GATE, key)) is None
    assert gateway_hosts(mesh.db, GATE) == frozenset()
    assert gateway_listeners(mesh.db, GATE) == ()
