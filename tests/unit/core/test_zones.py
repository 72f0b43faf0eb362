"""Zones: what a client's Envoy is told, so that it can keep requests in its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.config.core.v3.base_pb2 import Node
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from mizzen.bundle import Bundle
from mizzen.compile import Compiler
from mizzen.model.destination import LocalityLb, ZoneLb
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import labels, shared_labels
from mizzen.model.place import Locality, Whereabouts
from mizzen.model.proxy import NodeInfo, Scope
from mizzen.model.world import Batch
from mizzen.names import LOCAL_CLUSTER
from mizzen.placed import placed_class
from mizzen.render.discovery import parse_node
from mizzen.resolve.localities import placed_group
from mizzen.resolve.upstreams import eds_clusters, upstreams
from mizzen.wire import TypeUrl
from tests.support.show import show
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
CLUSTER = f"outbound|80||{CART}"
PLACES = {
    "10.0.0.1": "eu.a.1",
    "10.0.0.2": "eu.a.2",
    "10.0.0.3": "eu.b.1",
    "10.0.0.4": "us.a.1",
    "10.0.0.5": "ap.a.1",
}
HERE = Locality(region="eu", zone="a", subzone="1")
NOWHERE = Locality()
ZONES = "zoneAwareLbSetting"
_PARTS = ("region", "zone", "sub_zone")


def at(address: str, place: str, app: str, *more: str) -> str:
    return pod(address, app, f"topology.istio.io/locality: {place}", *more)


def rule(zones: str = "{}", more: str = "") -> str:
    inner = f"trafficPolicy: {{loadBalancer: {{{ZONES}: {zones}{more}}}}}"
    return istio("DestinationRule", "cart", f"host: cart\n{inner}")


def manifests(*more: str) -> tuple[str, ...]:
    """Two clients in one zone, one in another, and what they call."""
    return (
        service("cart"),
        service("db", ip="10.96.0.2"),
        endpoints("cart", *PLACES),
        *(at(address, place, "cart") for address, place in PLACES.items()),
        at("10.0.1.1", "eu.a.1", "web", "pod-template-hash: x"),
        at("10.0.1.2", "eu.a.1", "web", "pod-template-hash: y"),
        at("10.0.1.3", "eu.b.1", "web"),
        at("10.0.1.4", "eu.b.1", "other"),
        *more,
    )


def web(number: int = 1, locality: Locality = NOWHERE, *, keeps: bool = True) -> NodeInfo:
    node = sidecar(of=labels({"app": "web"}), name=f"p-10-0-1-{number}")
    return replace(node, locality=locality, has_local_cluster=keeps)


def compiler(*more: str) -> Compiler:
    made = Compiler()
    made.commit(Batch(changes=dict(read(*manifests(*more)))))
    return made


def bundle(made: Compiler, node: NodeInfo) -> Bundle:
    return made.bundle(made.classify(node))


def places(found: Bundle, name: str = LOCAL_CLUSTER) -> dict[tuple[str, ...], list[str]]:
    """Return the addresses of a cluster's endpoints by place, as an Envoy is told them."""
    entry = found.get(TypeUrl.ENDPOINT, name)
    assert entry is not None
    return {
        tuple(group["locality"][k] for k in _PARTS if k in group["locality"]): [
            one["endpoint"]["address"]["socket_address"]["address"] for one in group["lb_endpoints"]
        ]
        for group in show(entry.resource).get("endpoints", ())
    }


# What comes first


def priorities(setting: str, client: Locality = HERE, **client_labels: str) -> dict[str, int]:
    mesh = SmallMesh(*manifests(rule(setting)))
    (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
    where = Whereabouts(locality=client, labels=labels(client_labels))
    return {
        endpoint.address.rpartition(".")[2]: group.priority
        for group in placed_group(mesh.db, (cluster, where)).groups
        for endpoint in group.endpoints
    }


def test_regions_come_one_after_the_other() -> None:
    """Zones and their parts do not: the choice among them is Envoy's."""
    assert priorities("{}") == {"1": 0, "2": 0, "3": 0, "4": 1, "5": 1}
    assert priorities("{}", Locality(region="us")) == {"4": 0, "1": 1, "2": 1, "3": 1, "5": 1}
    assert set(priorities("{}", Locality(region="aq")).values()) == {0}


def test_a_region_may_come_before_others() -> None:
    """Where the client's own has nobody left."""
    found = priorities("{failover: [{from: eu, to: ap}]}")
    assert found == {"1": 0, "2": 0, "3": 0, "5": 1, "4": 2}


def test_labels_come_before_regions() -> None:
    """Within what they say, the own region is first."""
    found = priorities('{failoverPriority: ["topology.istio.io/locality=us.a.1"]}')
    assert found == {"4": 0, "1": 1, "2": 1, "3": 1, "5": 2}
    assert set(priorities("{failoverPriority: [app]}", app="cart").values()) == {0, 1}


def test_what_a_rule_says_of_zones_stands_for_what_the_mesh_says() -> None:
    """And before what a Service says; false leaves places to those two."""

    def setting(mesh_wide: ZoneLb | None, *more: str) -> LocalityLb | ZoneLb | None:
        settings = MeshSettings(zones=mesh_wide)
        mesh = SmallMesh(*manifests(*more), settings=settings)
        (cluster,) = eds_clusters(mesh.db, (SHOP, CART))
        return cluster.locality

    general = ZoneLb(minimum=3, failover=(("eu", "us"),))
    assert setting(None) is None
    assert setting(general) == replace(general, minimum=None)
    assert setting(replace(general, enabled=False)) is None
    assert setting(general, rule("{minClusterSize: 5}")) == ZoneLb()
    assert setting(general, rule("{enabled: false}")) is None
    near = service("cart", extra="networking.istio.io/traffic-distribution: PreferClose")
    assert isinstance(setting(general, near), LocalityLb)
    assert setting(None, near, rule()) == ZoneLb()
    assert isinstance(setting(None, near, rule("{enabled: false}")), LocalityLb)


def test_a_rule_about_localities_says_nothing_of_zones() -> None:
    """It stands for all that the mesh says of places."""
    weights = "loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {eu: 100}}]}}"
    other = istio("DestinationRule", "cart", f"host: cart\ntrafficPolicy: {{{weights}}}")
    mesh = SmallMesh(*manifests(other), settings=MeshSettings(zones=ZoneLb()))
    (upstream,) = upstreams(mesh.db, (SHOP, CART))
    assert upstream.locality_weighted
    assert upstream.zones is None


# Who is where


def test_a_local_cluster_is_all_who_do_the_same() -> None:
    """Whatever tells one of them from another; the client's own place goes by the name that Envoy knows."""
    made = compiler(rule())
    assert places(bundle(made, web())) == {
        (): ["10.0.1.1", "10.0.1.2"],
        ("eu", "b", "1"): ["10.0.1.3"],
    }
    assert places(bundle(made, web(3))) == {
        (): ["10.0.1.3"],
        ("eu", "a", "1"): ["10.0.1.1", "10.0.1.2"],
    }
    assert places(bundle(made, web()), CLUSTER)[()] == ["10.0.0.1"]


def test_an_envoy_may_know_where_it_is() -> None:
    """Then nothing is called otherwise; one that is wrong has the two names exchanged."""
    made = compiler(rule())
    assert set(places(bundle(made, web(1, HERE)))) == {("eu", "a", "1"), ("eu", "b", "1")}
    wrong = Locality(region="eu", zone="b", subzone="1")
    found = places(bundle(made, web(1, wrong)))
    assert found == {("eu", "b", "1"): ["10.0.1.1", "10.0.1.2"], ("eu", "a", "1"): ["10.0.1.3"]}


def test_who_needs_no_zones_has_an_empty_local_cluster() -> None:
    """An Envoy waits for it; and whose bootstrap has none is not sent any."""
    made = compiler()
    assert places(bundle(made, web())) == {}
    assert bundle(made, web(keeps=False)).get(TypeUrl.ENDPOINT, LOCAL_CLUSTER) is None
    made.commit(Batch(changes=dict(read(rule()))))
    assert places(bundle(made, web())) != {}
    assert bundle(made, web(keeps=False)).get(TypeUrl.ENDPOINT, LOCAL_CLUSTER) is None
    made.commit(Batch(changes=dict.fromkeys(read(rule()))))
    assert places(bundle(made, web())) == {}


def test_who_has_no_local_cluster_still_stays_in_its_region() -> None:
    """That is for the control plane to say; places keep their names."""
    made = compiler(rule())
    old = bundle(made, web(keeps=False))
    assert places(old, CLUSTER)["eu", "a", "1"] == ["10.0.0.1"]
    cluster = old.get(TypeUrl.CLUSTER, CLUSTER)
    assert cluster is not None
    assert "zone_aware_lb_config" not in show(cluster.resource)["common_lb_config"]


@pytest.mark.parametrize("gateway", [False, True])
def test_clusters_say_whether_requests_keep_to_zones(*, gateway: bool) -> None:
    """Of the host that is written of, and of all others that they do not."""
    made = compiler(rule("{minClusterSize: 2}"))
    node = replace(router("shop"), has_local_cluster=True) if gateway else web()
    found = bundle(made, node)
    said = {
        name: show(entry.resource)["common_lb_config"]["zone_aware_lb_config"]
        for name in (CLUSTER, f"outbound|80||{host('db')}")
        if (entry := found.get(TypeUrl.CLUSTER, name)) is not None
    }
    assert list(said.values()) == [{"min_cluster_size": "2"}, {"routing_enabled": {}}]


@pytest.mark.parametrize("keeps", [False, True])
def test_what_passes_through_a_gateway_keeps_to_zones_as_well(*, keeps: bool) -> None:
    """Where the gateway has a local cluster; it passes on to hosts by their places."""
    door = istio(
        "Gateway",
        "door",
        """
        selector: {app: gate}
        servers:
        - port: {number: 15443, name: tls, protocol: TLS}
          hosts: ["*/*.shop.svc.cluster.local"]
          tls: {mode: AUTO_PASSTHROUGH}
        """,
    )
    made = compiler(rule("{minClusterSize: 2}"), door)
    found = bundle(made, replace(router("shop"), has_local_cluster=keeps))
    config = {}
    for name in (f"outbound_.80_._.{CART}", f"outbound_.80_._.{host('db')}"):
        entry = found.get(TypeUrl.CLUSTER, name)
        assert entry is not None
        config[name] = show(entry.resource)["common_lb_config"].get("zone_aware_lb_config")
    said = [{"min_cluster_size": "2"}, {"routing_enabled": {}}] if keeps else [None, None]
    assert list(config.values()) == said
    assert (found.get(TypeUrl.ENDPOINT, LOCAL_CLUSTER) is not None) == keeps


def test_a_fellow_that_comes_changes_nothing_else() -> None:
    """All of the kind at one place are sent the same bytes, and clusters and other endpoints stay."""
    made = compiler(rule())
    before, beside = bundle(made, web()), bundle(made, web(2))
    assert before.get(TypeUrl.ENDPOINT, LOCAL_CLUSTER) is beside.get(
        TypeUrl.ENDPOINT, LOCAL_CLUSTER
    )
    made.commit(Batch(changes=dict(read(at("10.0.1.5", "us.a.1", "web")))))
    after = bundle(made, web())
    assert places(after)["us", "a", "1"] == ["10.0.1.5"]
    assert after.layers(TypeUrl.CLUSTER)[-1] is before.layers(TypeUrl.CLUSTER)[-1]
    assert after.layers(TypeUrl.ENDPOINT)[:-1] == before.layers(TypeUrl.ENDPOINT)[:-1]
    other = bundle(made, replace(web(4), labels=labels({"app": "other"})))
    assert list(places(other)) == [()]


def test_who_ends_and_who_is_only_named_is_no_fellow() -> None:
    """Machines are, by their addresses."""
    machine = istio(
        "WorkloadEntry", "vm", "address: 10.9.9.1\nlocality: us/a/1\nlabels: {app: web}"
    )
    named = istio("WorkloadEntry", "dns", "address: vm.lan\nlabels: {app: web}")
    made = compiler(rule(), machine, named)
    found = places(bundle(made, web()))
    assert found["us", "a", "1"] == ["10.9.9.1"]
    assert "vm.lan" not in str(found)
    ending = at("10.0.1.3", "eu.b.1", "web").replace(
        "metadata: {", "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z', ", 1
    )
    made.commit(Batch(changes=dict(read(ending))))
    assert ("eu", "b", "1") not in places(bundle(made, web()))


def test_where_a_proxy_believes_to_be_counts_only_where_zones_do() -> None:
    """Else it would tell classes apart that have the same bytes."""
    mesh = SmallMesh(*manifests())
    assert placed_class(mesh.db, web()).where == Whereabouts()
    mesh.apply(rule())
    assert placed_class(mesh.db, web()).where == Whereabouts(locality=HERE, called=NOWHERE)
    assert placed_class(mesh.db, web(keeps=False)).where == Whereabouts(locality=HERE)
    stranger = replace(web(), name="nobody", ip="10.9.9.9", locality=HERE)
    assert placed_class(mesh.db, stranger).where == Whereabouts(called=HERE)
    detects = "host: cart\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 1}}"
    mesh.apply(istio("DestinationRule", "cart", detects))
    assert placed_class(mesh.db, web()).where == Whereabouts(locality=HERE)


def test_two_places_never_become_one() -> None:
    """What has the client's name gets the client's place's."""
    far = Locality(region="us")
    where = Whereabouts(locality=HERE, called=NOWHERE)
    assert [where.as_called(one) for one in (HERE, NOWHERE, far)] == [NOWHERE, HERE, far]
    assert Whereabouts(locality=HERE).as_called(HERE) == HERE


def test_labels_of_single_workloads_are_not_shared() -> None:
    """Nor are those of places."""
    own = {"pod-template-hash": "x", "topology.kubernetes.io/zone": "a", "istio-locality": "a"}
    assert shared_labels(labels({"app": "web", **own})) == labels({"app": "web"})


# What a proxy says of itself


@pytest.mark.parametrize(
    ("metadata", "locality", "has"),
    [
        ({"ENABLE_SELF_DISCOVERY": "true"}, {}, True),
        ({"ENABLE_SELF_DISCOVERY": "true"}, {"region": "eu", "zone": "a", "sub_zone": "1"}, True),
        ({"ENABLE_SELF_DISCOVERY": "true"}, None, False),
        ({"ENABLE_SELF_DISCOVERY": "false"}, {}, False),
        ({}, {}, False),
    ],
)
def test_a_proxy_says_whether_it_has_a_local_cluster(
    metadata: dict[str, str], locality: dict[str, str] | None, has: bool
) -> None:
    """As Istio's do; one that has no place at all, not even an empty one, can do nothing with it."""
    node = Node(id="sidecar~10.0.1.1~web-1.shop~shop.svc.cluster.local")
    node.metadata.update(metadata)
    if locality is not None:
        node.locality.SetInParent()
        for name, value in locality.items():
            setattr(node.locality, name, value)
    found = parse_node(DeltaDiscoveryRequest(node=node).SerializeToString())
    assert found.has_local_cluster == has
    assert found.locality == (HERE if locality else NOWHERE)


def test_only_clusters_are_made_for_those_who_have_one() -> None:
    """What else a scope has is shared with proxies that started with an older bootstrap."""
    made = compiler()
    new, old = bundle(made, web()), bundle(made, web(keeps=False))
    shared = (TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.VIRTUAL_HOST)
    for type_url in shared:
        assert dict(new.layers(type_url)[-1]) == dict(old.layers(type_url)[-1])
    assert made.classify(web()).scope == Scope(namespace="shop", zones=True)
