"""Who answers for a service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.ir import Endpoint, Health, Locality
from mizzen.model.families import Families
from mizzen.model.meta import NO_LABELS, Labels, labels
from mizzen.model.proxy import Scope
from mizzen.names import ObjectKey
from mizzen.resolve.endpoints import EdsCluster, endpoint_group
from mizzen.resolve.instances import identities, instances
from mizzen.resolve.services import service_at
from mizzen.resolve.upstreams import eds_clusters
from mizzen.resolve.whereabouts import parse_locality
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

CART = key("Service", "cart")
ENTRY = key("ServiceEntry", "e")
AT_CART = (CART, host("cart"))


def cluster(of: ObjectKey = CART, port: int = 80, labels: Labels = NO_LABELS) -> EdsCluster:
    return EdsCluster(service=of, host=host("cart"), port=port, labels=labels)


def found(mesh: SmallMesh, wanted: EdsCluster | None = None) -> list[Endpoint]:
    groups = endpoint_group(mesh.db, wanted or cluster()).groups
    return [endpoint for group in groups for endpoint in group.endpoints]


def addresses(mesh: SmallMesh, wanted: EdsCluster | None = None) -> list[str]:
    return [f"{e.address}:{e.port}" for e in found(mesh, wanted)]


def test_endpoints_come_from_slices_in_the_order_of_addresses() -> None:
    """Those of all slices of the service."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.3", "10.0.0.1"),
        endpoints("cart", "10.0.0.2", name="2"),
        endpoints("other", "10.0.0.4"),
        endpoints("cart", "10.0.0.5", namespace="bank"),
    )
    assert addresses(mesh) == ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]
    assert endpoint_group(mesh.db, cluster()).cluster == f"outbound|80||{host('cart')}"


def test_overlapping_slices_count_once() -> None:
    """While the endpoint controller moves an endpoint it stands in two slices."""
    both = [endpoints("cart", "10.0.0.1", name=n) for n in ("1", "2")]
    assert addresses(SmallMesh(service("cart"), *both)) == ["10.0.0.1:8080"]


def test_slices_with_other_ports_add_to_each_other() -> None:
    """A named target port may be another number in another pod."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        endpoints("cart", "10.0.0.1", "10.0.0.2", ports="http:9090", name="2"),
    )
    assert addresses(mesh) == ["10.0.0.1:8080", "10.0.0.1:9090", "10.0.0.2:9090"]


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ("", Health.HEALTHY),
        ("ready: true", Health.HEALTHY),
        ("ready: false", Health.UNHEALTHY),
        ("ready: false, serving: true, terminating: true", None),
        ("ready: true, terminating: true", None),
    ],
)
def test_what_is_not_ready_is_unhealthy_and_what_ends_is_gone(
    conditions: str, health: Health | None
) -> None:
    """Nothing written counts as ready."""
    mesh = SmallMesh(service("cart"), endpoints("cart", "10.0.0.1", conditions=conditions))
    assert [e.health for e in found(mesh)] == ([health] if health else [])


def test_a_service_may_publish_what_is_not_ready() -> None:
    """publishNotReadyAddresses."""
    text = service("cart").replace("spec:", "spec:\n  publishNotReadyAddresses: true")
    mesh = SmallMesh(text, endpoints("cart", "10.0.0.1", conditions="ready: false"))
    assert [e.health for e in found(mesh)] == [Health.HEALTHY]


@pytest.mark.parametrize(("percent", "sent"), [(0, 2), (10, 1)])
def test_a_panic_never_reaches_what_is_not_ready(percent: int, sent: int) -> None:
    """With minHealthPercent, Envoy may send to unhealthy endpoints: they are left out then."""
    rule = (
        f"    host: cart\n    trafficPolicy: {{outlierDetection: {{minHealthPercent: {percent}}}}}"
    )
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        endpoints("cart", "10.0.0.2", conditions="ready: false", name="2"),
        istio("DestinationRule", "r", rule),
    )
    (wanted,) = eds_clusters(mesh.db, (SHOP, host("cart")))
    assert len(found(mesh, wanted)) == sent


def test_a_port_that_the_slice_does_not_have_has_no_endpoints() -> None:
    """Ports are matched by name; neither unknown nor unnamed ones get somebody else's."""
    mesh = SmallMesh(service("cart", "http:80", "grpc:81"), endpoints("cart", "10.0.0.1"))
    assert addresses(mesh, cluster(port=81)) == []
    assert addresses(mesh, cluster(port=99)) == []


def test_a_udp_port_of_the_same_number_is_another_port() -> None:
    """DNS: UDP and TCP on 53 under two names."""
    mesh = SmallMesh(
        service("cart", "udp-dns:53", "tcp-dns:53"),
        endpoints("cart", "10.0.0.1", ports="udp-dns:5353 tcp-dns:5354"),
    )
    assert addresses(mesh, cluster(port=53)) == ["10.0.0.1:5354"]


def test_a_subset_takes_the_endpoints_with_its_labels() -> None:
    """Labels are the pods'; an endpoint without a pod has none."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1", "10.0.0.2", "10.0.0.3"),
        pod("10.0.0.1", "cart", "version: v1"),
        pod("10.0.0.2", "cart", "version: v2"),
    )
    assert addresses(mesh, cluster(labels=labels({"version": "v2"}))) == ["10.0.0.2:8080"]
    assert len(addresses(mesh)) == 3


def test_a_pod_is_found_by_name_or_else_by_address() -> None:
    """A slice's targetRef goes first; host-network pods share addresses and are no help."""
    mesh = SmallMesh(
        service("cart"), endpoints("cart", "10.0.0.1", pods=False), pod("10.0.0.1", "cart")
    )
    assert [i.labels for i in instances(mesh.db, AT_CART)] == [
        labels({"app": "cart", "security.istio.io/tlsMode": "istio"})
    ]
    mesh.apply(pod("10.0.0.1", "cart").replace("spec:", "spec:\n  hostNetwork: true"))
    assert [i.labels for i in instances(mesh.db, AT_CART)] == [()]
    mesh.apply(endpoints("cart", "10.0.0.1"))
    assert instances(mesh.db, AT_CART)[0].labels


NODE = """
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels:
    topology.kubernetes.io/region: eu
    topology.kubernetes.io/zone: eu-a
    topology.istio.io/subzone: rack1
"""


@pytest.mark.parametrize(
    ("pod_label", "node", "slice_node", "locality"),
    [
        ("", "n1", "", Locality(region="eu", zone="eu-a", subzone="rack1")),
        ("", "", "n1", Locality(region="eu", zone="eu-a", subzone="rack1")),
        ("", "n2", "", Locality(zone="z")),
        ("", "", "", Locality(zone="z")),
        ("istio-locality: us.us-1.r", "n1", "", Locality(region="us", zone="us-1", subzone="r")),
        ("topology.istio.io/locality: us.us-1", "n1", "", Locality(region="us", zone="us-1")),
    ],
)
def test_where_a_pod_is(pod_label: str, node: str, slice_node: str, locality: Locality) -> None:
    """Its own label, else its node's labels, else the slice's zone."""
    text = endpoints("cart", "10.0.0.1") + f"  zone: z\n  nodeName: {slice_node!r}\n"
    pair = (pod_label,) if pod_label else ()
    mesh = SmallMesh(service("cart"), text, NODE, pod("10.0.0.1", "cart", *pair, node=node))
    (group,) = endpoint_group(mesh.db, cluster()).groups
    assert group.locality == locality


def test_localities_are_groups_in_order() -> None:
    """Region, zone, subzone; endpoints that say nothing come first."""
    places = {"10.0.0.1": "us.b", "10.0.0.2": "eu", "10.0.0.3": "us.a", "10.0.0.5": "us.b"}
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.4", *places),
        *(pod(address, "cart", f"istio-locality: {place}") for address, place in places.items()),
    )
    groups = endpoint_group(mesh.db, cluster()).groups
    assert [(g.locality.region, g.locality.zone, len(g.endpoints)) for g in groups] == [
        ("", "", 1),
        ("eu", "", 1),
        ("us", "a", 1),
        ("us", "b", 2),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("", "", "")),
        ("eu", ("eu", "", "")),
        ("eu/a", ("eu", "a", "")),
        ("eu/a/r", ("eu", "a", "r")),
        ("eu/a/r/x", ("eu", "a", "r/x")),
    ],
)
def test_a_locality_has_up_to_three_parts(text: str, parts: tuple[str, str, str]) -> None:
    """Missing ones are empty."""
    made = parse_locality(text)
    assert (made.region, made.zone, made.subzone) == parts


def entry(spec: str) -> str:
    return istio(
        "ServiceEntry",
        "e",
        f"""
        hosts: [{host("cart")}]
        resolution: STATIC
        ports:
        - {{number: 80, name: http, protocol: HTTP, targetPort: 8080}}
        - {{number: 81, name: other, protocol: TCP}}
        {spec}
        """,
    )


def test_an_entry_lists_its_endpoints() -> None:
    """A port is the endpoint's own, else the target port, else the number."""
    mesh = SmallMesh(
        entry(
            "endpoints: [{address: 10.1.0.2, weight: 5, locality: eu/a},"
            " {address: 10.1.0.1, ports: {http: 7000}}]"
        )
    )
    assert addresses(mesh, cluster(ENTRY)) == ["10.1.0.1:7000", "10.1.0.2:8080"]
    assert addresses(mesh, cluster(ENTRY, 81)) == ["10.1.0.1:81", "10.1.0.2:81"]
    assert [e.weight for e in found(mesh, cluster(ENTRY))] == [1, 5]


def test_an_entry_selects_workload_entries_and_pods_of_its_namespace() -> None:
    """Other namespaces' and other labels' are left alone."""
    machine = "    address: {0}\n    labels: {{app: cart}}"
    mesh = SmallMesh(
        entry("workloadSelector: {labels: {app: cart}}"),
        istio("WorkloadEntry", "vm", machine.format("10.2.0.1")),
        istio("WorkloadEntry", "far", machine.format("10.2.0.2"), namespace="bank"),
        istio("WorkloadEntry", "else", "    address: 10.2.0.3\n    labels: {app: web}"),
        pod("10.0.0.1", "cart"),
        pod("10.0.0.2", "web"),
        pod("10.0.0.3", "cart").replace("status: {podIP: 10.0.0.3}", ""),
    )
    assert addresses(mesh, cluster(ENTRY)) == ["10.0.0.1:8080", "10.2.0.1:8080"]
    mesh.delete("WorkloadEntry", "vm")
    mesh.delete("Pod", "p-10-0-0-1")
    assert addresses(mesh, cluster(ENTRY)) == []


def test_endpoints_are_made_from_the_workload_entries_in_them() -> None:
    """So that it is known on which proxies an entry is live."""
    machine = "    address: 10.2.0.{0}\n    labels: {{app: cart}}"
    mesh = SmallMesh(
        entry("workloadSelector: {labels: {app: cart}}"),
        istio("WorkloadEntry", "b", machine.format(1)),
        istio("WorkloadEntry", "a", machine.format(2)),
        pod("10.0.0.1", "cart"),
    )
    made_from = endpoint_group(mesh.db, cluster(ENTRY)).origins
    assert [key.label for key in made_from] == [
        "ServiceEntry e",
        "WorkloadEntry a",
        "WorkloadEntry b",
    ]


@pytest.mark.parametrize(
    ("endpoint", "mtls"),
    [
        ("{address: 10.1.0.1}", False),
        ("{address: 10.1.0.1, serviceAccount: vm}", True),
        ("{address: 10.1.0.1, labels: {security.istio.io/tlsMode: istio}}", True),
        ("{address: 10.1.0.1, labels: {security.istio.io/tlsMode: disabled}}", False),
    ],
)
def test_a_workload_entry_takes_mutual_tls_with_an_account_or_a_label(
    endpoint: str, *, mtls: bool
) -> None:
    """Istio: tlsMode, or a service account."""
    mesh = SmallMesh(entry(f"endpoints: [{endpoint}]"))
    assert [e.mtls for e in found(mesh, cluster(ENTRY))] == [mtls]


@pytest.mark.parametrize(
    ("ports", "mtls"),
    [("", False), ("portLevelMtls: {8080: {mode: STRICT}}", True)],
)
def test_the_workloads_policy_has_the_last_word(ports: str, *, mtls: bool) -> None:
    """DISABLE on the port that the endpoint serves."""
    policy = f"""
        selector: {{matchLabels: {{app: cart}}}}
        mtls: {{mode: DISABLE}}
        {ports}
    """
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        pod("10.0.0.1", "cart"),
        istio("PeerAuthentication", "p", policy),
    )
    assert [e.mtls for e in found(mesh)] == [mtls]


def test_a_list_of_identities_with_a_hole_is_none() -> None:
    """A server whose account is not known must not be refused for it."""
    mesh = SmallMesh(
        entry(
            "endpoints: [{address: 10.1.0.1, serviceAccount: vm},"
            " {address: 10.1.0.2, labels: {security.istio.io/tlsMode: istio}}]"
        )
    )
    assert identities(mesh.db, (ENTRY, host("cart"))) == ()
    mesh.apply(entry("endpoints: [{address: 10.1.0.1, serviceAccount: vm}]"))
    assert identities(mesh.db, (ENTRY, host("cart"))) == ("spiffe://cluster.local/ns/shop/sa/vm",)


def test_what_an_entry_says_of_certificates_counts_beside_accounts() -> None:
    """subjectAltNames; they fill the holes."""
    mesh = SmallMesh(
        entry(
            "endpoints: [{address: 10.1.0.1, serviceAccount: vm}, {address: 10.1.0.2}]\n"
            "        subjectAltNames: ['spiffe://cluster.local/ns/other/sa/b']"
        )
    )
    assert identities(mesh.db, (ENTRY, host("cart"))) == (
        "spiffe://cluster.local/ns/other/sa/b",
        "spiffe://cluster.local/ns/shop/sa/vm",
    )


def test_endpoints_of_one_host_are_joined_within_a_namespace() -> None:
    """A Service's with those of the entries that give its host; another namespace's are others."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        entry("endpoints: [{address: 10.1.0.2}, {address: 10.0.0.1}]"),
        istio(
            "ServiceEntry",
            "far",
            f"""
            hosts: [{host("cart")}]
            resolution: STATIC
            ports: [{{number: 80, name: http, protocol: HTTP}}]
            endpoints: [{{address: 10.3.0.1}}]
            """,
            namespace="bank",
        ),
    )
    assert addresses(mesh) == ["10.0.0.1:8080", "10.1.0.2:8080"]
    assert addresses(mesh, cluster(ENTRY)) == ["10.0.0.1:8080", "10.1.0.2:8080"]
    made_from = endpoint_group(mesh.db, cluster()).origins
    assert made_from == (CART, ENTRY)


def test_ports_of_one_host_are_joined_too() -> None:
    """What the first has not, another one of the namespace adds; its endpoints come with it."""
    mesh = SmallMesh(
        service("cart", "http:80:8080", "tcp:90"),
        entry("endpoints: [{address: 10.1.0.2}]"),
    )
    found = service_at(mesh.db, SHOP, host("cart"))
    assert found is not None
    assert [(p.number, p.name) for p in found.ports] == [(80, "http"), (90, "tcp"), (81, "other")]
    assert addresses(mesh, cluster(port=81)) == ["10.1.0.2:81"]


@pytest.mark.parametrize(
    ("target", "ports", "found_at"),
    [
        ("8080", "", ["10.2.0.1:8080"]),
        ("8080", "{http: 7000}", ["10.2.0.1:7000"]),
        ("web", "{web: 7001}", ["10.2.0.1:7001"]),
        ("web", "{http: 7002}", ["10.2.0.1:7002"]),
        ("web", "{}", []),
    ],
)
def test_a_service_selects_workload_entries(target: str, ports: str, found_at: list[str]) -> None:
    """As it does pods; a target's name is looked for among the entry's ports."""
    machine = (
        f"    address: 10.2.0.1\n    labels: {{app: cart, at: vm}}\n    ports: {ports or '{}'}"
    )
    mesh = SmallMesh(service("cart", f"http:80:{target}"), istio("WorkloadEntry", "vm", machine))
    assert addresses(mesh) == found_at


def test_a_service_without_selector_selects_nothing() -> None:
    """Its endpoints are somebody's own business."""
    machine = "    address: 10.2.0.1\n    labels: {app: cart}"
    text = service("cart").replace("selector: {app: cart}", "selector: {}")
    assert addresses(SmallMesh(text, istio("WorkloadEntry", "vm", machine))) == []


def test_names_and_sockets_are_where_they_are_of_use() -> None:
    """EDS takes addresses and sockets; what it cannot take is left out."""
    machine = "    address: {0}\n    labels: {{app: cart}}"
    mesh = SmallMesh(
        entry("workloadSelector: {labels: {app: cart}}"),
        istio("WorkloadEntry", "name", machine.format("vm.lan")),
        istio("WorkloadEntry", "socket", machine.format("unix:///vm")),
        istio("WorkloadEntry", "elsewhere", "    network: far\n    labels: {app: cart}"),
        istio("WorkloadEntry", "six", machine.format("'2001:db8::1'")),
    )
    assert addresses(mesh, cluster(ENTRY)) == ["2001:db8::1:8080", "unix:///vm:0"]


def test_a_pod_of_both_versions_of_ip_is_one_endpoint() -> None:
    """It stands in a slice of each; clients get the addresses of the versions that they have."""
    mesh = SmallMesh(
        service("cart"),
        endpoints("cart", "10.0.0.1"),
        endpoints("cart", "fd00::1", name="a").replace("p-fd00::1", "p-10-0-0-1"),
        endpoints("cart", "fd00::2", name="b"),
        pod("10.0.0.1", "cart"),
    )
    seen = {
        families: [
            (one.address, one.also) for one in found(mesh, replace(cluster(), families=families))
        ]
        for families in Families
    }
    assert seen == {
        Families.V4: [("10.0.0.1", ())],
        Families.V6: [("fd00::1", ()), ("fd00::2", ())],
        Families.BOTH: [("10.0.0.1", ("fd00::1",)), ("fd00::2", ())],
    }


def test_an_address_that_somebody_wrote_is_used_by_all() -> None:
    """Who has no way to it is not for the mesh to know."""
    mesh = SmallMesh(entry("endpoints: [{address: 'fd00::1'}]"))
    assert addresses(mesh, cluster(ENTRY)) == ["fd00::1:8080"]


def test_what_does_not_exist_has_no_endpoints() -> None:
    """Queries are total."""
    mesh = SmallMesh()
    assert instances(mesh.db, AT_CART) == ()
    assert found(mesh) == []
    assert eds_clusters(mesh.db, (Scope(namespace="x"), host("cart"))) == ()
