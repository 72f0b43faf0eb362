"""What a host means depends on who asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.ir import Discovery, NameLookup, Plaintext
from mizzen.model.families import Families
from mizzen.model.proxy import Scope
from mizzen.resolve.domains import hosts_at
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.listeners import own_listeners
from mizzen.resolve.routes import route_viewer, viewer
from mizzen.resolve.services import MeshService, candidates, service_at
from mizzen.resolve.upstreams import eds_clusters, upstreams
from mizzen.tables import host_claims, host_resources, winner
from tests.support.small_mesh import (
    BANK,
    GATEWAY,
    SHOP,
    SmallMesh,
    host,
    istio,
    key,
    service,
    workload,
)

CART = host("cart")


def entry(name: str, of: str = "api.example.com", extra: str = "", **meta: object) -> str:
    spec = f"""
        hosts: [{of}]
        resolution: STATIC
        ports: [{{number: 80, name: http, protocol: HTTP}}]
        endpoints: [{{address: 10.1.0.1}}]
        {extra}
    """
    return istio("ServiceEntry", name, spec, **meta)  # type: ignore[arg-type]


def meant(mesh: SmallMesh, of: str, scope: Scope = SHOP) -> str:
    found = service_at(mesh.db, scope, of)
    return str(found.key) if found else ""


def test_a_service_gives_its_full_host() -> None:
    """Its ports, addresses and headlessness are those of the object."""
    mesh = SmallMesh(service("cart", "http:80", "tcp-x:90"), service("peers", ip="None"))
    found = service_at(mesh.db, BANK, CART)
    assert isinstance(found, MeshService)
    assert ([p.number for p in found.ports], found.addresses) == ([80, 90], ("10.96.0.1",))
    assert (found.headless, found.external, found.namespace) == (False, False, "shop")
    peers = service_at(mesh.db, BANK, host("peers"))
    assert peers is not None
    assert (peers.headless, peers.addresses) == (True, ())


@pytest.mark.parametrize(("location", "external"), [("", True), ("location: MESH_INTERNAL", False)])
def test_a_service_entry_is_outside_unless_it_says_otherwise(
    location: str, *, external: bool
) -> None:
    """MESH_EXTERNAL is the default."""
    found = service_at(SmallMesh(entry("e", extra=location)).db, SHOP, "api.example.com")
    assert found is not None
    assert found.external is external


@pytest.mark.parametrize(
    ("resolution", "discovery", "at_gateways"),
    [
        ("STATIC", Discovery.EDS, Discovery.EDS),
        ("NONE", Discovery.ORIGINAL_DESTINATION, Discovery.EDS),
        ("DNS", Discovery.DNS, Discovery.DNS),
        ("DNS_ROUND_ROBIN", Discovery.DNS_ROUND_ROBIN, Discovery.DNS_ROUND_ROBIN),
    ],
)
def test_the_resolution_says_how_endpoints_are_found(
    resolution: str, discovery: Discovery, at_gateways: Discovery
) -> None:
    """A gateway's client chooses no address: of NONE there is nothing for it."""
    text = entry("e").replace("STATIC", resolution)
    if resolution == "NONE":
        text = text.replace("endpoints: [{address: 10.1.0.1}]", "")
    mesh = SmallMesh(text)
    for scope, wanted in ((SHOP, discovery), (GATEWAY, at_gateways)):
        (found,) = upstreams(mesh.db, (scope, "api.example.com"))
        assert found.discovery is wanted
        by_eds = eds_clusters(mesh.db, (scope, "api.example.com"))
        assert bool(by_eds) is (wanted is Discovery.EDS)


def _lookup(mesh: SmallMesh) -> tuple[Discovery, list[tuple[str, int]]]:
    (found,) = upstreams(mesh.db, (SHOP, "api.example.com"))
    assert found.endpoints is not None
    groups = found.endpoints.groups
    return found.discovery, [(e.address, e.port) for group in groups for e in group.endpoints]


def test_a_host_without_endpoints_is_looked_up_itself() -> None:
    """On the servers' port."""
    spec = """
        hosts: [api.example.com]
        resolution: DNS
        ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}]
    """
    mesh = SmallMesh(istio("ServiceEntry", "e", spec))
    assert _lookup(mesh) == (Discovery.DNS, [("api.example.com", 8080)])


def test_one_name_is_taken_in_turns_and_several_are_not() -> None:
    """Envoy's cluster for it has exactly one; a socket is no name."""
    spec = """
        hosts: [api.example.com]
        resolution: DNS_ROUND_ROBIN
        ports: [{number: 80, name: http, protocol: HTTP}]
        workloadSelector: {labels: {app: vm}}
    """
    machine = "    address: {0}\n    labels: {{app: vm}}"
    mesh = SmallMesh(
        istio("ServiceEntry", "e", spec),
        istio("WorkloadEntry", "a", machine.format("a.lan")),
        istio("WorkloadEntry", "s", machine.format("unix:///s")),
    )
    assert _lookup(mesh) == (Discovery.DNS_ROUND_ROBIN, [("a.lan", 80)])
    mesh.apply(istio("WorkloadEntry", "b", machine.format("10.0.0.1")))
    assert _lookup(mesh) == (Discovery.DNS, [("10.0.0.1", 80), ("a.lan", 80)])


def test_a_range_has_servers_of_another_port() -> None:
    """``targetPort`` of resolution NONE; the address is the client's."""
    spec = """
        hosts: [api.example.com]
        addresses: [10.0.0.0/8]
        ports: [{number: 80, name: a, protocol: TCP, targetPort: 81}, {number: 90, name: b}]
    """
    mesh = SmallMesh(istio("ServiceEntry", "e", spec))
    assert [u.own_port for u in upstreams(mesh.db, (SHOP, "api.example.com"))] == [81, None]
    mesh.apply(service("peers", "http:80:8080", ip="None"))
    assert [u.own_port for u in upstreams(mesh.db, (SHOP, host("peers")))] == [None]


_WILD = "*.wild.test"


def wild(port: str) -> str:
    spec = f"""
        hosts: ['{_WILD}']
        resolution: DYNAMIC_DNS
        ports: [{port}]
    """
    return istio("ServiceEntry", "w", spec)


def test_servers_may_be_what_requests_ask_for() -> None:
    """The listener that requests come to looks their hosts up; nothing else changes for its other services."""
    mesh = SmallMesh(service("cart", "http:80"), wild("{number: 80, name: a, protocol: HTTP}"))
    (found,) = upstreams(mesh.db, (SHOP, _WILD))
    assert (found.discovery, found.tls) == (Discovery.BY_REQUEST, Plaintext())
    claims = {of: claim for of in (CART, _WILD) for claim in host_claims(mesh.db, (SHOP, of))}
    assert claims[CART].listener.by_request is None
    assert claims[_WILD].listener.by_request is Families.V4
    for order in (claims, dict(reversed(claims.items()))):
        assert winner(order).by_request is Families.V4
    assert [one.by_request for one in gateway_listeners(mesh.db, workload("gate"))] == []


def test_a_server_name_may_be_looked_up() -> None:
    """On the target port; who asks for another name goes elsewhere, also where the host has an address."""
    mesh = SmallMesh(wild("{number: 443, name: a, protocol: TLS, targetPort: 444}"))
    for scope, bind in ((SHOP, "0.0.0.0"), (replace(SHOP, dns=True), "240.240")):
        (listener,) = own_listeners(mesh.db, (scope, _WILD))
        (chain,) = listener.chains
        assert listener.bind.startswith(bind)
        assert (chain.server_name, chain.tcp.lookup) == (
            _WILD,
            NameLookup(port=444, families=Families.V4),
        )
        assert listener.tcp.lookup is None


def test_a_gateway_looks_up_hosts_where_anybody_asks_for_it() -> None:
    """All of its listeners of HTTP: which routes lead there is for routes to say."""
    door = """
        selector: {app: gate}
        servers: [{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}]
    """
    mesh = SmallMesh(istio("Gateway", "door", door))
    (plain,) = gateway_listeners(mesh.db, workload("gate"))
    mesh.apply(wild("{number: 80, name: a, protocol: HTTP}"))
    (asking,) = gateway_listeners(mesh.db, workload("gate"))
    assert (plain.by_request, asking.by_request) == (None, Families.V4)


def test_the_own_namespace_goes_first() -> None:
    """A ServiceEntry of the viewer's namespace hides another one's Service of the same host."""
    mesh = SmallMesh(service("cart"), entry("mine", of=CART, namespace="bank"))
    assert meant(mesh, CART, BANK) == "ServiceEntry bank/mine"
    assert meant(mesh, CART, SHOP) == "Service shop/cart"
    assert meant(mesh, CART, Scope(namespace="third")) == "Service shop/cart"


def test_a_service_goes_before_entries_and_the_oldest_entry_first() -> None:
    """For those who have neither in their namespace."""
    older, younger = (
        entry("older", namespace="a", age=1),
        entry("younger", namespace="b", age=2),
    )
    mesh = SmallMesh(younger, older)
    assert meant(mesh, "api.example.com") == "ServiceEntry a/older"
    mesh = SmallMesh(entry("e", of=CART, namespace="bank", age=0), service("cart", age=5))
    assert meant(mesh, CART, Scope(namespace="third")) == "Service shop/cart"


@pytest.mark.parametrize(
    ("export_to", "seen_by"),
    [
        ("*", {"shop", "bank", "third"}),
        (".", {"shop"}),
        ("bank", {"bank"}),
        (".,bank", {"shop", "bank"}),
        ("~", set()),
    ],
)
def test_export_to_decides_who_sees_a_service(export_to: str, seen_by: set[str]) -> None:
    """The annotation of a Service; an entry's field is the same."""
    mesh = SmallMesh(service("cart", extra=f"networking.istio.io/exportTo: {export_to!r}"))
    visible = {ns for ns in ("shop", "bank", "third") if meant(mesh, CART, Scope(namespace=ns))}
    assert visible == seen_by


def test_a_hidden_service_leaves_its_host_to_others() -> None:
    """What one may not see does not hide what one may."""
    private = entry("private", age=0, namespace="a", extra="exportTo: ['.']")
    mesh = SmallMesh(private, entry("public", age=1, namespace="b"))
    assert meant(mesh, "api.example.com") == "ServiceEntry b/public"
    assert meant(mesh, "api.example.com", Scope(namespace="a")) == "ServiceEntry a/private"
    assert len(candidates(mesh.db, "api.example.com")) == 2


def test_strangers_share_every_byte_of_a_public_host() -> None:
    """Namespaces that have nothing of their own for a host get the very same objects."""
    mesh = SmallMesh(service("cart"))
    third = Scope(namespace="third")
    assert host_resources(mesh.db, (BANK, CART)) is not host_resources(mesh.db, (SHOP, CART))
    one, other = (host_resources(mesh.db, (scope, CART)) for scope in (BANK, third))
    assert one.clusters is other.clusters
    assert one.endpoints is other.endpoints
    assert one.virtual_hosts[0] is other.virtual_hosts[0]
    assert one.clusters[0].resource.wire is other.clusters[0].resource.wire
    assert viewer(mesh.db, (BANK, CART)) == Scope(namespace="")


def test_a_gateway_shares_with_gateways() -> None:
    """Its public scope is another one than the sidecars'."""
    mesh = SmallMesh(service("cart"))
    assert viewer(mesh.db, (GATEWAY, CART)) == Scope(namespace="", gateway=True)
    assert host_resources(mesh.db, (GATEWAY, CART)).virtual_hosts == ()


RULE = "host: cart.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("objects", "own"),
    [
        ((), set()),
        ((istio("DestinationRule", "r", RULE, namespace="bank"),), {"bank"}),
        ((istio("DestinationRule", "r", RULE, namespace="shop"),), set()),
        ((istio("DestinationRule", "r", f"{RULE}\nexportTo: [bank]"),), {"bank", "third"}),
        ((istio("DestinationRule", "r", RULE, namespace="istio-system"),), set()),
        ((entry("e", of=CART, namespace="third"),), {"bank", "third"}),
    ],
)
def test_who_has_a_view_of_their_own(objects: tuple[str, ...], own: set[str]) -> None:
    """Rules in the viewer's namespace, or not for everyone, and hosts given twice, end the sharing."""
    mesh = SmallMesh(service("cart"), *objects)
    found = {
        namespace
        for namespace in ("bank", "third")
        if viewer(mesh.db, (Scope(namespace=namespace), CART)).namespace
    }
    assert found == own


ROUTE = """
    hosts: [cart.shop.svc.cluster.local]
    http: [{route: [{destination: {host: other.shop.svc.cluster.local}}]}]
"""


@pytest.mark.parametrize(
    ("objects", "own"),
    [
        ((istio("VirtualService", "v", ROUTE),), False),
        ((istio("VirtualService", "v", ROUTE + "    exportTo: ['.']", namespace="third"),), True),
        (
            (
                istio("VirtualService", "v", ROUTE),
                istio(
                    "DestinationRule", "r", "host: other.shop.svc.cluster.local", namespace="bank"
                ),
            ),
            True,
        ),
        (
            (
                istio("VirtualService", "v", ROUTE),
                service("other", namespace="bank", ip="10.96.0.9"),
            ),
            False,
        ),
        ((service("other", ip="10.96.0.1", extra="networking.istio.io/exportTo: '.'"),), True),
        ((service("other", ip="10.96.0.2", extra="networking.istio.io/exportTo: '.'"),), False),
    ],
)
def test_who_has_routes_of_their_own(objects: tuple[str, ...], *, own: bool) -> None:
    """Routes depend on the VirtualService, on what it sends to, and on who shares the host's names."""
    mesh = SmallMesh(service("cart"), *objects)
    assert (route_viewer(mesh.db, (BANK, CART)) == BANK) is own


def test_hosts_are_found_by_their_addresses() -> None:
    """Services and entries of one address, in the order of names."""
    mesh = SmallMesh(service("cart"), service("web"), entry("e", extra="addresses: [10.96.0.1]"))
    assert hosts_at(mesh.db, "10.96.0.1") == ("api.example.com", CART, host("web"))
    mesh.delete("Service", "web")
    assert hosts_at(mesh.db, "10.96.0.1") == ("api.example.com", CART)
    assert key("Service", "web") not in mesh.world.objects
