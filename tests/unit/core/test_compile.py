"""Batches in, bundles out: the same object where nothing changed, and nothing kept of those who left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.bundle import Bundle, Table
from mizzen.compile import Compiler
from mizzen.engine import Database
from mizzen.model.families import Families
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import labels
from mizzen.model.proxy import NodeInfo, Scope
from mizzen.model.world import Batch
from mizzen.resolve.proxies import usual_scope
from mizzen.resolve.world import OBJECT, PODS_IN, World
from mizzen.wire import TypeUrl
from tests.support.small_mesh import (
    endpoints,
    host,
    istio,
    key,
    pod,
    read,
    router,
    service,
    sidecar,
)

CART = host("cart")
CLUSTER = f"outbound|80||{CART}"
MESH = (service("cart"), endpoints("cart", "10.0.0.1"), pod("10.0.0.1", "cart"))
DOOR = (
    istio(
        "Gateway",
        "door",
        """
        selector: {app: gate}
        servers:
        - port: {number: 80, name: http, protocol: HTTP}
          hosts: ["*"]
        """,
        namespace="ingress",
    ),
    istio(
        "VirtualService",
        "v",
        """
        hosts: [cart.example.com]
        gateways: [ingress/door]
        http: [{route: [{destination: {host: cart}}]}]
        """,
    ),
)


def compiler(*texts: str, settings: MeshSettings | None = None) -> Compiler:
    made = Compiler(settings)
    commit(made, *texts)
    return made


def commit(made: Compiler, *texts: str) -> int:
    return made.commit(Batch(changes=dict(read(*texts))))


def bundle(made: Compiler, node: NodeInfo | None = None) -> Bundle:
    return made.bundle(made.classify(node or sidecar()))


def names(of: Bundle, type_url: TypeUrl) -> list[str]:
    return [name for table in of.layers(type_url) for name in table]


def database(made: Compiler) -> Database:
    return made._db


def test_a_sidecar_has_the_mesh_and_itself() -> None:
    """Statics, its inbound side, and the scope's tables, each a layer."""
    made = bundle(compiler(*MESH), sidecar(name="p-10-0-0-1"))
    assert names(made, TypeUrl.CLUSTER) == [
        "BlackHoleCluster",
        "InboundPassthroughCluster",
        "PassthroughCluster",
        "inbound|8080||",
        CLUSTER,
    ]
    assert names(made, TypeUrl.LISTENER) == ["virtualOutbound", "virtualInbound", "0.0.0.0_80"]
    assert names(made, TypeUrl.ENDPOINT) == [CLUSTER]
    assert names(made, TypeUrl.ROUTE) == ["80"]
    assert names(made, TypeUrl.VIRTUAL_HOST) == [f"80/{CART}"]
    assert names(made, TypeUrl.SECRET) == []


def test_a_gateway_has_clusters_and_what_its_servers_serve() -> None:
    """No inbound side; its own listeners, heads and virtual hosts."""
    made = bundle(compiler(*MESH, *DOOR), router())
    assert names(made, TypeUrl.CLUSTER) == ["BlackHoleCluster", CLUSTER]
    assert names(made, TypeUrl.ENDPOINT) == [CLUSTER]
    assert names(made, TypeUrl.LISTENER) == ["0.0.0.0_80"]
    assert names(made, TypeUrl.ROUTE) == ["http.80"]
    assert names(made, TypeUrl.VIRTUAL_HOST) == ["http.80/cart.example.com"]
    entry = made.get(TypeUrl.VIRTUAL_HOST, "http.80/cart.example.com")
    assert entry is not None
    assert entry.requires == {CLUSTER}
    assert [str(one) for one in entry.origins] == ["VirtualService shop/v", "Gateway ingress/door"]


def test_a_gateways_host_goes_with_its_routes() -> None:
    """And comes back with them; one that nothing is behind is no resource."""
    made = compiler(*MESH, *DOOR)
    assert names(bundle(made, router()), TypeUrl.VIRTUAL_HOST)
    made.commit(Batch(changes={key("VirtualService", "v"): None}))
    assert names(bundle(made, router()), TypeUrl.VIRTUAL_HOST) == []
    commit(made, DOOR[1].replace("ingress/door", "ingress/other"))
    assert names(bundle(made, router()), TypeUrl.VIRTUAL_HOST) == []
    commit(made, DOOR[1], DOOR[0].replace('"*"', "bank/*"))
    assert names(bundle(made, router()), TypeUrl.VIRTUAL_HOST) == []
    commit(made, DOOR[0])
    assert names(bundle(made, router()), TypeUrl.VIRTUAL_HOST) == ["http.80/cart.example.com"]


def test_the_same_bundle_where_nothing_changed() -> None:
    """The very same object, also after commits that are none of its business."""
    made = compiler(*MESH)
    first = bundle(made)
    assert bundle(made) is first
    commit(made, *MESH)
    commit(made, pod("10.0.0.9", "web", namespace="bank"))
    assert bundle(made) is first


def test_a_change_gives_a_new_bundle_that_knows_the_difference() -> None:
    """Its revision is that of the World, and unchanged tables are the very same."""
    made = compiler(*MESH)
    before = bundle(made)
    revision = commit(made, endpoints("cart", "10.0.0.1", "10.0.0.2"))
    after = bundle(made)
    assert after is not before
    assert after.revision == made.revision == revision
    for type_url in TypeUrl:
        for old, new in zip(before.layers(type_url), after.layers(type_url), strict=True):
            changed = {CLUSTER} if CLUSTER in new and type_url is TypeUrl.ENDPOINT else set()
            assert new.changed_since(old) == changed
            assert (new is old) is (not changed)


def test_proxies_of_one_class_share_a_bundle() -> None:
    """Two nodes that nothing tells apart."""
    made = compiler(*MESH)
    assert bundle(made, sidecar(name="a")) is bundle(made, sidecar(name="b"))
    assert bundle(made, sidecar("bank")) is not bundle(made, sidecar("shop"))


def test_strangers_share_the_bytes_of_public_hosts() -> None:
    """Bundles of two namespaces hold the very same wire bytes."""
    made = compiler(*MESH)
    for type_url, name in (
        (TypeUrl.CLUSTER, CLUSTER),
        (TypeUrl.ENDPOINT, CLUSTER),
        (TypeUrl.VIRTUAL_HOST, f"80/{CART}"),
    ):
        one, other = (bundle(made, sidecar(ns)).get(type_url, name) for ns in ("bank", "third"))
        assert one is not None
        assert other is not None
        assert one.resource.wire is other.resource.wire


def test_what_leaves_is_forgotten() -> None:
    """After the last proxy of a class has left, the memo is as large as before it came."""
    made = compiler(*MESH, *DOOR)
    nodes = [sidecar(), sidecar("bank"), router(), sidecar(name="p-10-0-0-1")]
    size = len(database(made))
    for node in nodes:
        bundle(made, node)
    assert len(database(made)) > size
    for node in nodes:
        proxies = made.classify(node)
        made.forget(proxies)
        made.forget_node(node)
    assert len(database(made)) == size


def test_a_world_that_empties_leaves_nothing() -> None:
    """All objects deleted: only the settings stay, whatever was looked at meanwhile."""
    made = compiler()
    empty = len(database(made))
    node = sidecar()
    commit(made, *MESH, *DOOR)
    bundle(made, node)
    made.analyze()
    made.commit(Batch(changes=dict.fromkeys(made.objects)))
    made.forget(made.classify(node))
    made.forget_node(node)
    assert made.objects == {}
    assert made.analyze() == {}
    # The analysis is asked for over and over and stays: itself, its keys, the index of them.
    assert len(database(made)) <= empty + 3


def test_warming_makes_the_busiest_namespaces_tables() -> None:
    """What the first proxies ask for is there before they do."""
    made = compiler(*MESH, pod("10.0.0.2", "cart"), pod("10.0.0.3", "x", namespace="bank"))
    made.warm()
    size = len(database(made))
    node = sidecar("third")
    bundle(made, node)
    cold = len(database(made)) - size
    bundle(made, sidecar("shop"))
    assert len(database(made)) - size - cold < cold


def test_what_is_warmed_is_as_a_namespaces_pods_see_it() -> None:
    """By their versions of IP, and whether their DNS is captured."""
    text = pod("10.0.0.2", "cart").replace("podIP: 10.0.0.2", "podIP: 'fd00::2'")
    text = text.replace("labels:", "annotations: {sidecar.mizzen.dev/dnsCapture: 'true'}, labels:")
    made = compiler(text)
    found = usual_scope(database(made), "shop")
    node = replace(sidecar("shop"), name="p-10-0-0-2", has_local_cluster=True)
    assert found == made.classify(node).scope
    assert (found.families, found.dns) == (Families.V6, True)
    assert usual_scope(database(made), "empty") == Scope(namespace="empty", zones=True)


def test_warming_ends_where_the_budget_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mesh with very many clusters is compiled when somebody asks."""
    monkeypatch.setattr("mizzen.compile._WARM_ENTRIES", 1)
    made = compiler(*MESH, pod("10.0.0.3", "x", namespace="bank"))
    made.warm()
    monkeypatch.undo()
    warmed = len(database(made))
    made.warm()
    assert len(database(made)) > warmed


@pytest.mark.parametrize("registry_only", [False, True])
def test_settings_are_part_of_the_world(*, registry_only: bool) -> None:
    """outboundTrafficPolicy of the mesh."""
    made = bundle(compiler(*MESH, settings=MeshSettings(registry_only=registry_only)))
    entry = made.get(TypeUrl.LISTENER, "virtualOutbound")
    assert entry is not None
    assert (b"PassthroughCluster" in entry.resource.body) is not registry_only


def test_findings_are_by_object() -> None:
    """As people read them."""
    made = compiler(istio("DestinationRule", "r", "host: lost"))
    assert list(made.analyze()) == [key("DestinationRule", "r")]


def test_objects_are_those_of_the_last_batch() -> None:
    """A tombstone removes, an equal object is no change, an unknown tombstone is nothing."""
    made = compiler(service("cart"))
    assert list(made.objects) == [key("Service", "cart")]
    made.commit(Batch(changes={key("Service", "nobody"): None}))
    assert list(made.objects) == [key("Service", "cart")]
    made.commit(Batch(changes={key("Service", "cart"): None}))
    assert made.objects == {}


def test_a_long_entry_of_an_index_is_put_in_order_when_it_is_read() -> None:
    """However many objects share a key, and however they come and go."""
    db = Database()
    world = World(db, MeshSettings())
    texts = [pod(f"10.0.1.{number}", "cart") for number in range(1, 60)]
    world.commit(Batch(changes=dict(read(*texts))))
    expected = tuple(sorted(world.objects))
    assert PODS_IN(db, "shop") == PODS_IN(db, "shop") == expected
    gone = expected[0]
    world.commit(Batch(changes={gone: None}))
    assert PODS_IN(db, "shop") == expected[1:]
    assert OBJECT(db, gone) is None
    assert PODS_IN.all_keys(db) == {"shop"}
    world.commit(Batch(changes=dict.fromkeys(expected[1:])))
    assert PODS_IN(db, "shop") == ()
    assert PODS_IN.all_keys(db) == frozenset()


def test_workloads_that_serve_alike_share_the_bytes_of_their_listeners() -> None:
    """Whichever service says so; the objects to blame are each one's own."""
    made = compiler(service("web"), service("api"), pod("10.0.0.1", "web"), pod("10.0.0.2", "api"))
    inbound = [
        next(table for table in _listeners(made, of) if "virtualInbound" in table)["virtualInbound"]
        for of in ("web", "api")
    ]
    assert inbound[0].resource is inbound[1].resource
    clusters = [
        next(
            table["inbound|8080||"]
            for table in _tables(made, of, TypeUrl.CLUSTER)
            if "inbound|8080||" in table
        )
        for of in ("web", "api")
    ]
    assert clusters[0].resource is clusters[1].resource
    assert [each.origins for each in clusters] == [
        (key("Service", "web"),),
        (key("Service", "api"),),
    ]


def _tables(made: Compiler, of: str, kind: TypeUrl) -> tuple[Table, ...]:
    node = sidecar(of=labels({"app": of}), name=of)
    return made.bundle(made.classify(node)).tables[kind]


def _listeners(made: Compiler, of: str) -> tuple[Table, ...]:
    return _tables(made, of, TypeUrl.LISTENER)


def test_a_sidecar_concerns_the_proxies_for_which_it_holds() -> None:
    """Though it may do nothing but take things away from them."""
    made = compiler(service("web"), istio("Sidecar", "some", "egress: [{hosts: ['./*']}]"))
    origins = [
        table["virtualOutbound"].origins
        for of in ("shop", "bank")
        for table in made.bundle(made.classify(sidecar(of))).tables[TypeUrl.LISTENER]
        if "virtualOutbound" in table
    ]
    assert origins == [(key("Sidecar", "some"),), ()]
