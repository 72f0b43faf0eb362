"""Localities: which endpoints a client uses first, and how much each place gets."""

from __future__ import annotations

import pytest

from mizzen.compile import Compiler
from mizzen.model.destination import LocalityLb
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import labels
from mizzen.model.place import Locality, Whereabouts
from mizzen.model.world import Batch
from mizzen.placed import placed_class
from mizzen.resolve.localities import placed_group
from mizzen.resolve.proxies import whereabouts
from mizzen.resolve.upstreams import eds_clusters, upstreams
from mizzen.resolve.whereabouts import with_place
from mizzen.wire import TypeUrl
from tests.support.small_mesh import (
    SHOP,
    SmallMesh,
    endpoints,
    host,
    istio,
    pod,
    read,
    router,
    service,
    sidecar,
)

CART = host("cart")
PLACES = {
    "10.0.0.1": "eu.a.1",
    "10.0.0.2": "eu.a.2",
    "10.0.0.3": "eu.b.1",
    "10.0.0.4": "us.a.1",
    "10.0.0.5": "ap.a.1",
}
HERE = Locality(region="eu", zone="a", subzone="1")
OUTLIERS = "outlierDetection: {consecutive5xxErrors: 1}"


def at(address: str, *more: str, app: str = "cart") -> str:
    return pod(address, app, f"topology.istio.io/locality: {PLACES[address]}", *more)


def rule(locality: str = "", more: str = OUTLIERS) -> str:
    balancer = f"loadBalancer: {{localityLbSetting: {{{locality}}}}}" if locality else ""
    inner = ", ".join(filter(None, (balancer, more)))
    return istio("DestinationRule", "cart", f"host: cart\ntrafficPolicy: {{{inner}}}")


def mesh_of(*objects: str, settings: MeshSettings | None = None) -> SmallMesh:
    return SmallMesh(
        service("cart"),
        endpoints("cart", *PLACES),
        *(at(address) for address in PLACES),
        *objects,
        settings=settings,
    )


def used(
    mesh: SmallMesh, client: Locality = HERE, **client_labels: str
) -> list[tuple[str, int, int | None]]:
    """Return address, priority and the place's weight of each endpoint, as a client is to use them."""
    (cluster, *_) = eds_clusters(mesh.db, (SHOP, CART))
    where = Whereabouts(locality=client, labels=labels(client_labels))
    group = placed_group(mesh.db, (cluster, where))
    return [
        (endpoint.address.rpartition(".")[2], one.priority, one.weight)
        for one in group.groups
        for endpoint in one.endpoints
    ]


def priorities(mesh: SmallMesh, client: Locality = HERE) -> dict[str, int]:
    return {address: priority for address, priority, _ in used(mesh, client)}


def test_near_endpoints_come_first_where_failing_ones_are_detected() -> None:
    """The same place, the same zone, the region, other regions: Istio's default."""
    assert priorities(mesh_of(rule())) == {"1": 0, "2": 1, "3": 2, "4": 3, "5": 3}


def test_priorities_have_no_gaps() -> None:
    """A client far from everything has one priority; one of a zone has none for its own place."""
    mesh = mesh_of(rule())
    assert set(priorities(mesh, Locality(region="sa")).values()) == {0}
    assert priorities(mesh, Locality(region="eu", zone="b")) == {
        "1": 1,
        "2": 1,
        "3": 0,
        "4": 2,
        "5": 2,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "loadBalancer: {simple: RANDOM}",
        f"{OUTLIERS}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}",
    ],
)
def test_without_detection_or_switched_off_all_are_alike(text: str) -> None:
    """Nothing would ever fail over; and what is alike for all clients is made once for all."""
    objects = [rule(more=text)] if text else []
    mesh = mesh_of(*objects)
    (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
    assert (cluster.locality, cluster.origins) == (None, ())
    assert set(priorities(mesh).values()) == {0}
    assert not upstreams(mesh.db, (SHOP, CART))[0].locality_weighted


def test_the_mesh_may_switch_it_off_and_a_rule_on() -> None:
    """A rule's setting stands for the mesh's as a whole."""
    off = MeshSettings(locality=LocalityLb(enabled=False))
    assert set(priorities(mesh_of(rule(), settings=off)).values()) == {0}
    assert priorities(mesh_of(rule("enabled: true"), settings=off))["4"] == 3


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("PreferClose", {"1": 0, "2": 1, "3": 2, "4": 3, "5": 3}),
        ("PreferSameZone", {"1": 0, "2": 0, "3": 1, "4": 2, "5": 2}),
    ],
)
def test_a_service_may_prefer_near_endpoints(word: str, found: dict[str, int]) -> None:
    """Without detection, for endpoints that are not ready fail over as well; a rule goes first."""
    annotation = f"networking.istio.io/traffic-distribution: {word}"
    mesh = mesh_of(service("cart", extra=annotation))
    client = with_place(labels({}), HERE, "n1")
    (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
    where = Whereabouts(locality=HERE, labels=client)
    group = placed_group(mesh.db, (cluster, where))
    assert {
        endpoint.address.rpartition(".")[2]: one.priority
        for one in group.groups
        for endpoint in one.endpoints
    } == found
    assert upstreams(mesh.db, (SHOP, CART))[0].locality_weighted
    mesh.apply(rule("enabled: false", ""))
    assert eds_clusters(mesh.db, (SHOP, CART))[0].locality is None


def test_a_service_may_prefer_the_same_node() -> None:
    """Which is a label of endpoints and of clients."""
    slice_ = endpoints("cart", "10.0.0.1", "10.0.0.2")
    annotation = "networking.istio.io/traffic-distribution: PreferSameNode"
    mesh = SmallMesh(
        service("cart", extra=annotation),
        slice_,
        pod("10.0.0.1", "cart", node="n1"),
        pod("10.0.0.2", "cart", node="n2"),
    )
    (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
    where = Whereabouts(labels=with_place(labels({}), Locality(), "n2"))
    group = placed_group(mesh.db, (cluster, where))
    assert [(g.endpoints[0].address, g.priority) for g in group.groups] == [
        ("10.0.0.2", 0),
        ("10.0.0.1", 1),
    ]


def test_a_region_fails_over_to_the_one_that_is_named() -> None:
    """Before all others; the first entry for the client's region counts."""
    mesh = mesh_of(rule("failover: [{from: eu, to: us}, {from: eu, to: ap}]"))
    assert priorities(mesh) == {"1": 0, "2": 1, "3": 2, "4": 3, "5": 4}
    assert priorities(mesh, Locality(region="us", zone="x"))["5"] == 1
    assert upstreams(mesh.db, (SHOP, CART))[0].locality_weighted


def test_shares_are_given_to_places() -> None:
    """A share of several places is split by what they weigh; places without any get nothing."""
    mesh = mesh_of(
        rule(
            'distribute: [{from: us/*, to: {ap: 100}}, {from: eu/a/*, to: {"eu/*": 80, us: 20}}]',
            "",
        )
    )
    assert used(mesh) == [("1", 0, 27), ("2", 0, 27), ("3", 0, 27), ("4", 0, 20)]
    assert upstreams(mesh.db, (SHOP, CART))[0].locality_weighted
    assert {weight for _, _, weight in used(mesh, Locality(region="sa"))} == {None}
    assert used(mesh, Locality(region="us", zone="q")) == [("5", 0, 100)]


def test_shares_go_before_failover() -> None:
    """With shares nothing fails over, detection or not (Istio)."""
    mesh = mesh_of(rule('distribute: [{from: "*", to: {eu/a/1: 1, us/a/1: 99}}]'))
    assert used(mesh) == [("1", 0, 1), ("4", 0, 99)]


def _labelled(*settings: str) -> SmallMesh:
    return SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
        at("10.0.0.1", "tier: gold", "color: blue"),
        at("10.0.0.2", "tier: gold", "color: red"),
        at("10.0.0.3", "tier: iron", "color: blue"),
        *settings,
    )


def test_labels_matter_the_more_the_earlier_they_stand() -> None:
    """An endpoint that shares the first labels with the client comes before one that lacks the first."""
    mesh = _labelled(rule("failoverPriority: [tier, color]"))
    assert used(mesh, tier="gold", color="blue") == [("1", 0, None), ("2", 1, None), ("3", 2, None)]
    assert used(mesh, tier="iron", color="blue") == [("1", 1, None), ("2", 1, None), ("3", 0, None)]
    assert upstreams(mesh.db, (SHOP, CART))[0].locality_weighted


def test_a_label_may_have_to_have_a_value() -> None:
    """Whatever the client's own is."""
    mesh = _labelled(rule("failoverPriority: [color=red]"))
    assert used(mesh, color="blue") == [("1", 1, None), ("2", 0, None), ("3", 1, None)]


def test_labels_may_tell_endpoints_of_one_place_apart() -> None:
    """And then failover by region splits what labels leave together."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1", "10.0.0.4", "10.0.0.5"),
        at("10.0.0.1", "tier: gold"),
        at("10.0.0.4", "tier: gold"),
        at("10.0.0.5", "tier: gold"),
        rule("failoverPriority: [tier], failover: [{from: eu, to: ap}]"),
    )
    found = {address: priority for address, priority, _ in used(mesh, tier="gold")}
    assert found == {"1": 0, "4": 2, "5": 1}


def test_places_are_labels_too() -> None:
    """Of endpoints and of clients, as Istio writes them on every workload."""
    wanted = "[topology.kubernetes.io/region, topology.kubernetes.io/zone]"
    mesh = mesh_of(rule(f"failoverPriority: {wanted}"), at("10.0.0.3", app="web"))
    node = sidecar(name="p-10-0-0-3")
    where = whereabouts(mesh.db, node)
    assert where.locality == Locality(region="eu", zone="b", subzone="1")
    (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
    group = placed_group(mesh.db, (cluster, where))
    assert [(one.locality.zone, one.priority) for one in group.groups if one.endpoints][-1] == (
        "a",
        2,
    )
    assert dict(where.labels)["topology.kubernetes.io/zone"] == "b"


def test_where_a_proxy_is_counts_only_where_it_makes_a_difference() -> None:
    """Classes are told apart by places, and by labels that rules ask for, once some rule looks at them."""
    client = at("10.0.0.3", "tier: gold", "color: red", app="web")
    mesh = mesh_of(client)
    node = sidecar(name="p-10-0-0-3")
    assert placed_class(mesh.db, node).where == Whereabouts()
    mesh.apply(rule())
    assert placed_class(mesh.db, node).where == Whereabouts(
        locality=Locality(region="eu", zone="b", subzone="1")
    )
    mesh.apply(rule("failoverPriority: [tier]"))
    assert dict(placed_class(mesh.db, node).where.labels) == {"tier": "gold"}
    mesh.delete("DestinationRule", "cart")
    assert placed_class(mesh.db, node).where == Whereabouts()


def test_a_workload_that_is_no_pod_is_somewhere_too() -> None:
    """As its WorkloadEntry says; who is not known at all is nowhere, with the labels that it says itself."""
    entry = istio("WorkloadEntry", "vm", "address: 10.9.9.1\nlocality: eu/a/1\nlabels: {app: vm}")
    mesh = mesh_of(entry)
    assert whereabouts(mesh.db, sidecar(name="vm")).locality == HERE
    said = labels({"app": "said"})
    assert whereabouts(mesh.db, sidecar(of=said, name="x")) == Whereabouts(labels=said)


@pytest.mark.parametrize("gateway", [False, True])
def test_clients_in_two_places_share_all_but_endpoints(*, gateway: bool) -> None:
    """And the endpoints come with the rule among their origins."""
    nodes = (
        [router("shop"), sidecar(name="p-10-0-0-4")]
        if gateway
        else [
            sidecar(name="p-10-0-0-1"),
            sidecar(name="p-10-0-0-4"),
        ]
    )
    compiler = Compiler()
    objects = (
        service("cart"),
        service("db", ip="10.96.0.2"),
        endpoints("cart", *PLACES),
        *(at(address) for address in PLACES),
        rule(),
    )
    compiler.commit(Batch(changes=dict(read(*objects))))
    first, second = (compiler.bundle(compiler.classify(node)) for node in nodes)
    name = f"outbound|80||{CART}"
    mine, other = (bundle.get(TypeUrl.ENDPOINT, name) for bundle in (first, second))
    assert mine is not None
    assert other is not None
    assert mine != other
    assert [key.kind for key in mine.origins] == ["Service", "DestinationRule"]
    if not gateway:
        assert first.layers(TypeUrl.CLUSTER)[-1] is second.layers(TypeUrl.CLUSTER)[-1]
        assert first.layers(TypeUrl.ENDPOINT)[0] is second.layers(TypeUrl.ENDPOINT)[0]
    compiler.commit(Batch(changes=dict.fromkeys(read(rule()))))
    gone = compiler.bundle(compiler.classify(nodes[0]))
    assert gone.get(TypeUrl.ENDPOINT, name) is not None
    assert len(gone.layers(TypeUrl.ENDPOINT)[1]) == 0
