"""Mutual TLS that passes through a router: to which hosts, which of their endpoints, and by which names."""

from __future__ import annotations

import pytest

from mizzen.compile import Compiler
from mizzen.ir import Discovery, Plaintext
from mizzen.model.meta import labels
from mizzen.model.proxy import NodeInfo, ProxyKind, Workload
from mizzen.model.world import Batch
from mizzen.resolve.endpoints import endpoint_group
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.passing import (
    passed_eds_clusters,
    passed_upstreams,
    passing_of,
)
from mizzen.wire import TypeUrl
from tests.support.small_mesh import (
    GATEWAY,
    SmallMesh,
    endpoints,
    host,
    istio,
    key,
    pod,
    read,
    service,
)

GATE = Workload(namespace="ingress", labels=labels({"app": "gate"}))
WEB = host("web")


def gateway(*servers: tuple[int, str, str], name: str = "door", age: int = 0) -> str:
    """Return a Gateway; a server is its port, its hosts and its mode."""
    lines = "\n".join(
        f"- {{port: {{number: {port}, name: p{n}, protocol: TLS}}, hosts: [{hosts}], tls: {{mode: {mode}}}}}"
        for n, (port, hosts, mode) in enumerate(servers)
    )
    spec = f"selector: {{app: gate}}\nservers:\n{lines}"
    return istio("Gateway", name, spec, namespace="ingress", age=age)


AUTO = "AUTO_PASSTHROUGH"


def entry(name: str, resolution: str, *addresses: str, more: str = "") -> str:
    known = ", ".join(addresses)
    return istio(
        "ServiceEntry",
        name,
        f"hosts: [{name}.example]\nlocation: MESH_INTERNAL\nresolution: {resolution}\n"
        f"ports: [{{number: 80, name: http, protocol: HTTP}}]\nendpoints: [{known}]\n{more}",
    )


def chains(mesh: SmallMesh) -> list[tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Return port, server names and hosts of the chains through which mutual TLS passes."""
    return [
        (listener.port, chain.server_names, chain.passing)
        for listener in gateway_listeners(mesh.db, GATE)
        for chain in listener.chains
        if chain.passing
    ]


def test_who_passes_on_has_a_chain_for_its_hosts() -> None:
    """Of the names that sidecars send, all of which are below a host's own; ``*`` is every other connection."""
    mesh = SmallMesh(gateway((1, "a.example, ns/*.b.example", AUTO), (2, "'*'", AUTO)))
    assert chains(mesh) == [
        (1, ("*.a.example", "*.b.example"), ("a.example", "*.b.example")),
        (2, (), ("*",)),
    ]


def test_names_below_a_host_are_passed_on_by_its_chain() -> None:
    """They come to it and to no other, and may be another server's of the port; not of another port."""
    mesh = SmallMesh(
        gateway((1, "a.example", AUTO), (2, "a.example", AUTO)),
        gateway((1, "'*.example'", AUTO), name="more", age=1),
    )
    assert chains(mesh) == [
        (1, ("*.a.example",), ("a.example", "*.a.example")),
        (1, ("*.example",), ("*.example",)),
        (2, ("*.a.example",), ("a.example",)),
    ]


def test_what_somebody_ends_is_not_passed_on() -> None:
    """The oldest has a name; of two that pass on, none takes anything from the other."""
    ending = gateway((1, "'*.a.example'", "ISTIO_MUTUAL"), name="first")
    router = pod("10.0.0.9", "gate", namespace="ingress")
    mesh = SmallMesh(router, ending, gateway((1, "a.example", AUTO), (1, "a.example", AUTO), age=1))
    told = [one for one in mesh.findings() if one[0] == "MZ0420"]
    assert told == [
        ("MZ0420", "Gateway ingress/door", "spec.servers[0].hosts"),
        ("MZ0420", "Gateway ingress/door", "spec.servers[1].hosts"),
        ("MZ0420", "Gateway ingress/first", "spec.servers[0].hosts"),
    ]
    alone = SmallMesh(router, gateway((1, "a.example", AUTO), (1, "a.example", AUTO)))
    assert alone.findings() == []


def test_routers_without_such_a_server_pass_nothing_on() -> None:
    """The hosts of all such servers of a router are together."""
    assert passing_of(SmallMesh(gateway((1, "a.example", "PASSTHROUGH"))).db, GATE) is None
    found = passing_of(SmallMesh(gateway((1, "b.x, '*.a'", AUTO), (2, "b.x", AUTO))).db, GATE)
    assert found is not None
    assert found.hosts == ("*.a", "b.x")


def test_it_goes_to_endpoints_that_take_it() -> None:
    """Without TLS of the router's own, by port and subset; what does not take mutual TLS is left out."""
    mesh = SmallMesh(
        service("web", "http:80:8080", "udp-dns:53"),
        pod("10.0.0.1", "web"),
        pod("10.0.0.2", "web", mtls=False),
        endpoints("web", "10.0.0.1", "10.0.0.2"),
        istio("DestinationRule", "r", "host: web\nsubsets: [{name: v1, labels: {app: web}}]"),
    )
    found = passed_upstreams(mesh.db, (GATEWAY, WEB))
    assert [one.name for one in found] == [f"outbound_.80_.{s}_.{WEB}" for s in ("", "v1")]
    assert {one.tls for one in found} == {Plaintext()}
    assert {one.passing for one in passed_eds_clusters(mesh.db, (GATEWAY, WEB))} == {True}


@pytest.mark.parametrize(
    ("resolution", "addresses", "discovery"),
    [
        ("DNS", ("{address: a.lan, serviceAccount: vm}", "{address: b.lan}"), Discovery.DNS),
        (
            "DNS_ROUND_ROBIN",
            ("{address: a.lan, serviceAccount: vm}",),
            Discovery.DNS_ROUND_ROBIN,
        ),
        ("DNS_ROUND_ROBIN", ("{address: b.lan}",), Discovery.DNS),
        ("STATIC", ("{address: 10.0.0.1}",), Discovery.EDS),
        ("NONE", (), Discovery.EDS),
    ],
)
def test_it_goes_by_whatever_way_endpoints_are_found(
    resolution: str, addresses: tuple[str, ...], discovery: Discovery
) -> None:
    """Names are looked up, but of what takes mutual TLS alone."""
    mesh = SmallMesh(entry("e", resolution, *addresses))
    (found,) = passed_upstreams(mesh.db, (GATEWAY, "e.example"))
    wanted = sum("serviceAccount" in one for one in addresses)
    assert found.discovery is discovery
    assert found.endpoints is None or found.endpoints.size == wanted


def test_what_is_outside_or_nowhere_has_no_way() -> None:
    """Nor has what is called as requests say, nor a host whose rule's certificate is not there."""
    outside = entry("o", "STATIC", "{address: 10.0.0.1}").replace("MESH_INTERNAL", "MESH_EXTERNAL")
    lacking = "trafficPolicy: {tls: {mode: SIMPLE, credentialName: none}}"
    mesh = SmallMesh(
        outside,
        entry("d", "DYNAMIC_DNS").replace("[d.example]", "['*.d.example']"),
        entry("n", "STATIC", "{address: 10.0.0.1, serviceAccount: vm}"),
        istio("DestinationRule", "n", f"host: n.example\n{lacking}"),
    )
    for name in ("o.example", "*.d.example", "n.example", "unknown.example"):
        assert passed_upstreams(mesh.db, (GATEWAY, name)) == ()


def test_a_rule_says_what_concerns_connections() -> None:
    """Requests are not seen; a client behind a router knows no addresses."""
    policy = (
        "loadBalancer: {simple: PASSTHROUGH}, outlierDetection: {consecutive5xxErrors: 3},"
        " connectionPool: {tcp: {maxConnections: 7, connectTimeout: 3s}, http: {maxRetries: 1}}"
    )
    mesh = SmallMesh(
        service("web"), istio("DestinationRule", "r", f"{{host: web, trafficPolicy: {{{policy}}}}}")
    )
    (found,) = passed_upstreams(mesh.db, (GATEWAY, WEB))
    pool = found.connection_pool
    assert found.discovery is Discovery.EDS
    assert (pool.max_connections, pool.max_retries) == (7, None)
    assert found.connect_timeout.total_seconds() == 3
    assert found.outlier_detection is not None


def test_a_router_does_not_call_itself() -> None:
    """Whoever passes on to the same again is left out; a router that sees something else in a host is not."""
    doors = [
        pod("10.0.0.9", "gate", namespace="ingress"),
        pod("10.0.0.8", "gate", namespace="other"),
        pod("10.0.0.7", "web"),
    ]
    addresses = [f"{{address: 10.0.0.{n}, serviceAccount: web}}" for n in (6, 7, 8, 9)]
    elsewhere = entry("e", "STATIC", more="exportTo: ['.']").replace(
        "namespace: shop", "namespace: other"
    )
    mesh = SmallMesh(
        *doors, entry("e", "STATIC", *addresses), elsewhere, gateway((1, "e.example", AUTO))
    )

    def called() -> list[str]:
        (cluster,) = passed_eds_clusters(mesh.db, (GATEWAY, "e.example"))
        groups = endpoint_group(mesh.db, cluster).groups
        return [one.address for group in groups for one in group.endpoints]

    assert called() == ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
    mesh.apply(gateway((1, "f.example", AUTO)))
    assert called() == ["10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"]


NODE = NodeInfo(
    id="router~10.0.0.9~gate.ingress~ingress.svc.cluster.local",
    kind=ProxyKind.ROUTER,
    ip="10.0.0.9",
    name="gate",
    namespace="ingress",
    labels=labels({"app": "gate"}),
)


def names(compiler: Compiler, type_url: TypeUrl) -> set[str]:
    """Return what a router has for passing on, of a type."""
    layers = compiler.bundle(compiler.classify(NODE)).layers(type_url)
    return {name for table in layers for name in table if name.startswith("outbound_.")}


def test_clusters_come_and_go_with_the_server_and_its_hosts() -> None:
    """Endpoints that are used by place come to a place's table, and count for the class."""
    compiler = Compiler()
    near = "trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}"
    world = (
        service("web"),
        service("other"),
        istio("DestinationRule", "r", f"host: web\n{near}"),
        gateway((1, WEB, AUTO)),
    )
    compiler.commit(Batch(changes=dict(read(*world))))
    called = {f"outbound_.80_._.{WEB}"}
    assert names(compiler, TypeUrl.CLUSTER) == names(compiler, TypeUrl.ENDPOINT) == called
    compiler.commit(Batch(changes=dict(read(gateway((1, "'*.local'", AUTO))))))
    both = called | {f"outbound_.80_._.{host('other')}"}
    assert names(compiler, TypeUrl.CLUSTER) == names(compiler, TypeUrl.ENDPOINT) == both
    compiler.commit(Batch(changes={key("Gateway", "door", "ingress"): None}))
    assert names(compiler, TypeUrl.CLUSTER) == names(compiler, TypeUrl.ENDPOINT) == set()
