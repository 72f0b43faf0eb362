"""Where a sidecar listens for what leaves it, and who gets a listener that several want."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener

from mizzen.bundle import Table
from mizzen.ir import CatchAll, OutboundListener, TcpChain, TcpProxy
from mizzen.model.families import Families
from mizzen.model.mesh import MeshSettings
from mizzen.resolve.listeners import (
    http_ports,
    own_listeners,
    own_tables,
    shared_listener,
    shared_table,
)
from mizzen.tables import SCOPE_TABLES, Claim, ScopeTables, host_claims, winner
from tests.support.small_mesh import (
    SHOP,
    SmallMesh,
    endpoints,
    host,
    istio,
    key,
    pod,
    service,
)

CART = host("cart")
REGISTRY_ONLY = MeshSettings(registry_only=True)


def entry(name: str, *ports: str, addresses: str = "", of: str = "", age: int = 0) -> str:
    written = ", ".join(
        f"{{number: {number}, name: p{number}, protocol: {protocol}}}"
        for protocol, number in (port.split(":") for port in ports)
    )
    spec = f"""
        hosts: [{of or name + ".example.com"!r}]
        addresses: [{addresses}]
        resolution: STATIC
        ports: [{written}]
        endpoints: [{{address: 10.1.0.1}}]
    """
    return istio("ServiceEntry", name, spec, age=age)


def listeners(mesh: SmallMesh, of: str = CART) -> list[str]:
    return [listener.name for listener in own_listeners(mesh.db, (SHOP, of))]


def cluster(name: str, port: int) -> str:
    return f"outbound|{port}||{name}.example.com"


@pytest.mark.parametrize(
    ("port", "ip", "shared", "own"),
    [
        ("http:80", "10.96.0.1", (80,), []),
        ("http:80", "None", (80,), []),
        ("tcp-x:80", "10.96.0.1", (), ["10.96.0.1_80"]),
        ("tcp-x:80", "None", (), ["10.0.0.1_80", "10.0.0.2_80"]),
        ("x:80", "10.96.0.1", (), ["10.96.0.1_80"]),
        ("x:80", "None", (), ["10.0.0.1_80", "10.0.0.2_80"]),
        ("https-x:80", "10.96.0.1", (), ["10.96.0.1_80"]),
        ("udp-x:80", "10.96.0.1", (), []),
    ],
)
def test_http_is_shared_and_the_rest_has_addresses(
    port: str, ip: str, shared: tuple[int, ...], own: list[str]
) -> None:
    """A headless service is reached at its endpoints, each of which is a listener."""
    mesh = SmallMesh(service("cart", port, ip=ip), endpoints("cart", "10.0.0.1", "10.0.0.2"))
    assert http_ports(mesh.db, (SHOP, CART)) == shared
    assert listeners(mesh) == own


def test_each_address_is_a_listener() -> None:
    """Dual stack, or an entry's list: one for each, so that none can be taken twice."""
    mesh = SmallMesh(entry("e", "TCP:80", addresses="10.5.0.1, 'fd00::1', 10.6.0.0/16"))
    both = own_listeners(mesh.db, (replace(SHOP, families=Families.BOTH), "e.example.com"))
    assert [one.name for one in both] == ["10.5.0.1_80", "fd00::1_80"]
    assert listeners(mesh, "e.example.com") == ["10.5.0.1_80"]


def test_any_address_is_one_of_the_proxys_versions_of_ip() -> None:
    """Of the only one, or of both: then called after IPv4."""
    mesh = SmallMesh(entry("e", "TCP:80"), service("cart", "http:8080"))
    found = {
        families: [
            (claim.listener.name, claim.listener.also)
            for of in ("e.example.com", CART)
            for claim in host_claims(mesh.db, (replace(SHOP, families=families), of))
        ]
        for families in Families
    }
    assert found == {
        Families.V4: [("0.0.0.0_80", ()), ("0.0.0.0_8080", ())],
        Families.V6: [("::_80", ()), ("::_8080", ())],
        Families.BOTH: [("0.0.0.0_80", ("::",)), ("0.0.0.0_8080", ("::",))],
    }


def test_an_undeclared_port_has_a_table_of_its_own() -> None:
    """HTTP is recognised by its bytes; all names mean this one service."""
    mesh = SmallMesh(service("cart", "x:80"), istio("DestinationRule", "r", "    host: cart"))
    (found,) = own_listeners(mesh.db, (SHOP, CART))
    assert (found.sniff, found.routes) == (True, f"{CART}:80")
    (table,) = own_tables(mesh.db, (SHOP, CART))
    assert (table.name, table.catch_all) == (f"{CART}:80", CatchAll.NONE)
    assert [k.kind for k in table.origins] == ["Service", "DestinationRule"]
    assert found.origins == table.origins


def test_an_undeclared_port_without_an_address_is_http() -> None:
    """There is nothing by which its bytes could be told from others'."""
    mesh = SmallMesh(entry("e", "UNSET:80").replace(", protocol: UNSET", ""))
    assert http_ports(mesh.db, (SHOP, "e.example.com")) == (80,)
    assert listeners(mesh, "e.example.com") == []
    assert own_tables(mesh.db, (SHOP, "e.example.com")) == ()


@pytest.mark.parametrize(
    ("protocol", "addresses", "chains"),
    [
        ("TCP", "", []),
        ("TCP", "10.6.0.0/16", [("", "10.6.0.0/16")]),
        ("TLS", "", [("e.example.com", "")]),
        ("HTTPS", "", [("e.example.com", "")]),
        (
            "TLS",
            "10.6.0.0/16, 10.7.0.0/16",
            [("e.example.com", "10.6.0.0/16"), ("e.example.com", "10.7.0.0/16")],
        ),
    ],
)
def test_without_an_address_connections_are_told_by_name_or_range(
    protocol: str, addresses: str, chains: list[tuple[str, str]]
) -> None:
    """TLS by its server name, a range by the destination; plain TCP takes the whole port."""
    mesh = SmallMesh(entry("e", f"{protocol}:90", addresses=addresses))
    (found,) = own_listeners(mesh.db, (SHOP, "e.example.com"))
    assert found.name == "0.0.0.0_90"
    assert [(c.server_name, c.cidr) for c in found.chains] == chains
    assert all(c.tcp.cluster == cluster("e", 90) for c in found.chains)
    assert found.tcp.cluster == ("PassthroughCluster" if chains else cluster("e", 90))


def test_a_tcp_connection_is_kept_as_the_rule_says() -> None:
    """Of the port, not of a subset."""
    rule = """
        host: cart
        trafficPolicy:
          connectionPool: {tcp: {idleTimeout: 5m, maxConnectionDuration: 1h}}
          loadBalancer: {consistentHash: {useSourceIp: true}}
    """
    mesh = SmallMesh(service("cart", "tcp-x:80"), istio("DestinationRule", "r", rule))
    (found,) = own_listeners(mesh.db, (SHOP, CART))
    assert found.tcp == TcpProxy(
        cluster=f"outbound|80||{CART}",
        idle_timeout=timedelta(minutes=5),
        max_connection_duration=timedelta(hours=1),
        hash_on_source=True,
    )


@pytest.mark.parametrize(
    ("settings", "rest", "catch_all"),
    [
        (MeshSettings(), "PassthroughCluster", CatchAll.PASSTHROUGH),
        (REGISTRY_ONLY, "BlackHoleCluster", CatchAll.BLOCK),
    ],
)
def test_what_the_mesh_does_not_know_passes_or_not(
    settings: MeshSettings, rest: str, catch_all: CatchAll
) -> None:
    """outboundTrafficPolicy of the mesh, for bytes and for HTTP."""
    mesh = SmallMesh(settings=settings)
    assert shared_listener(mesh.db, 80).tcp.cluster == rest
    assert shared_table(mesh.db, 80).catch_all is catch_all


def claim(
    age: int, cluster_name: str, *, chain: str = "", shared: bool = False, bind: str = "1.1.1.1"
) -> Claim:
    mesh = SmallMesh()
    tcp = TcpProxy(cluster=cluster_name)
    listener = OutboundListener(
        bind=bind,
        port=80,
        chains=(TcpChain(server_name=chain, tcp=tcp),) if chain else (),
        tcp=TcpProxy(cluster="rest") if chain else tcp,
        takes_rest=not chain,
        origins=(key("Service", cluster_name),),
    )
    return Claim(
        rank=(age, "", ""),
        listener=shared_listener(mesh.db, 80) if shared else listener,
        shared=shared_table(mesh.db, 80) if shared else None,
    )


def test_the_oldest_gets_an_address_that_two_services_have() -> None:
    """Then the first by host."""
    assert winner({"b": claim(2, "b"), "a": claim(3, "a")}).tcp.cluster == "b"
    assert winner({"b": claim(2, "b"), "a": claim(2, "a")}).tcp.cluster == "a"


def test_bytes_beside_http_go_to_the_oldest_tcp_service() -> None:
    """The shared listener stays, and hands on what is not HTTP."""
    found = winner({"h": claim(1, "h", shared=True), "b": claim(3, "b"), "a": claim(2, "a")})
    assert (found.routes, found.tcp.cluster) == ("80", "a")
    assert [k.name for k in found.origins] == ["a"]
    alone = winner({"h": claim(1, "h", shared=True)})
    assert (alone.tcp.cluster, alone.origins) == ("PassthroughCluster", ())


def test_connections_that_are_told_apart_live_together() -> None:
    """Each name to its service, of one name the oldest; the rest to the oldest that takes all."""
    claims = {
        "young": claim(3, "young", chain="a.test"),
        "old": claim(1, "old", chain="a.test"),
        "other": claim(2, "other", chain="b.test"),
    }
    found = winner(claims)
    assert [(c.server_name, c.tcp.cluster) for c in found.chains] == [
        ("a.test", "old"),
        ("b.test", "other"),
    ]
    assert found.tcp.cluster == "rest"
    assert [k.name for k in found.origins] == ["old", "other"]
    found = winner({**claims, "all": claim(9, "all")})
    assert (found.tcp.cluster, len(found.chains)) == ("all", 2)
    assert {k.name for k in found.origins} == {"all", "old", "other"}
    found = winner({**claims, "h": claim(9, "h", shared=True)})
    assert (found.routes, found.tcp.cluster, len(found.chains)) == ("80", "PassthroughCluster", 2)


def tables(mesh: SmallMesh) -> ScopeTables:
    return SCOPE_TABLES(mesh.db, SHOP)


def requires(table: Table, name: str) -> set[str]:
    return set(table[name].requires)


def test_an_http_port_and_tcp_without_an_address_share_a_listener() -> None:
    """Together while both are there; each alone when the other goes, in every order."""
    http, tcp = service("cart"), entry("e", "TCP:80")
    for first, second in ((http, tcp), (tcp, http)):
        mesh = SmallMesh(first)
        mesh.apply(second)
        both = tables(mesh)
        assert list(both.listeners) == ["0.0.0.0_80"]
        assert requires(both.listeners, "0.0.0.0_80") == {cluster("e", 80)}
        assert list(both.routes) == ["80"]
        mesh.delete("ServiceEntry", "e")
        alone = tables(mesh)
        assert requires(alone.listeners, "0.0.0.0_80") == set()
        assert list(alone.routes) == ["80"]
        mesh.apply(tcp)
        mesh.delete("Service", "cart")
        alone = tables(mesh)
        assert requires(alone.listeners, "0.0.0.0_80") == {cluster("e", 80)}
        assert list(alone.routes) == []
        mesh.delete("ServiceEntry", "e")
        assert list(tables(mesh).listeners) == []
        assert tables(mesh).claims == {}


def test_two_services_with_one_address_take_turns() -> None:
    """The younger one's listener appears when the older goes."""
    mesh = SmallMesh(service("cart", "tcp-x:80", age=2), service("web", "tcp-x:80", age=1))
    name = "10.96.0.1_80"
    assert requires(tables(mesh).listeners, name) == {f"outbound|80||{host('web')}"}
    mesh.delete("Service", "web")
    assert requires(tables(mesh).listeners, name) == {f"outbound|80||{CART}"}


def test_a_sniffed_service_that_moves_keeps_its_table() -> None:
    """From one address to another, in whichever order the names sort."""
    mesh = SmallMesh(service("cart", "x:80", ip="10.96.0.5"))
    for ip in ("10.96.0.1", "10.96.0.9", "None"):
        mesh.apply(service("cart", "x:80", ip=ip), endpoints("cart", "10.0.0.1", "10.0.0.2"))
        assert list(tables(mesh).routes) == [f"{CART}:80"]
        assert len(tables(mesh).listeners) == (2 if ip == "None" else 1)
    mesh.apply(endpoints("cart", "10.0.0.2"))
    assert list(tables(mesh).listeners) == ["10.0.0.2_80"]
    assert list(tables(mesh).routes) == [f"{CART}:80"]
    mesh.delete("Service", "cart")
    assert list(tables(mesh).routes) == []


def test_a_name_that_moves_between_objects_stays() -> None:
    """A host that another object gives in the same batch is changed, not removed."""
    mesh = SmallMesh(service("cart"), endpoints("cart", "10.0.0.1"), pod("10.0.0.1", "cart"))
    before = tables(mesh)
    mesh.delete("Service", "cart")
    mesh.apply(entry("e", "HTTP:80", of=CART))
    after = tables(mesh)
    name = f"outbound|80||{CART}"
    assert after.clusters.changed_since(before.clusters) == {name}
    assert after.listeners.changed_since(before.listeners) == set()
    assert list(after.virtual_hosts) == [f"80/{CART}"]


def test_a_listener_reads_as_one() -> None:
    """Server names and ranges are chains; everything else is the default one."""
    mesh = SmallMesh(
        entry("a", "TLS:443"),
        entry("b", "TLS:443", addresses="10.6.0.0/16"),
        entry("c", "HTTP:443"),
    )
    body = tables(mesh).listeners["0.0.0.0_443"].resource.body
    made = Listener.FromString(body)
    assert [f.name.rpartition(".")[2] for f in made.listener_filters] == [
        "tls_inspector",
        "http_inspector",
    ]
    matches = [c.filter_chain_match for c in made.filter_chains]
    assert [list(m.server_names) for m in matches] == [[], ["a.example.com"], ["b.example.com"]]
    assert [r.address_prefix for r in matches[2].prefix_ranges] == ["10.6.0.0"]
    assert made.default_filter_chain.name == "PassthroughFilterChain"
