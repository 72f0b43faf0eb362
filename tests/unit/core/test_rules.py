"""Which DestinationRule holds, and what it says for a port and a subset."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mizzen.ir import Discovery, MeshTls, Plaintext, SimpleTls, UpstreamHttp, UpstreamTls
from mizzen.model.destination import (
    ConnectionPool,
    OutlierDetection,
    PortPolicy,
    ProxyProtocol,
    RetryBudget,
    SimpleLb,
    Subset,
    TcpKeepalive,
)
from mizzen.model.mesh import MeshSettings
from mizzen.model.proxy import Scope
from mizzen.resolve.rules import NO_RULE, policy_for, rule_for
from mizzen.resolve.upstreams import upstreams
from tests.support.small_mesh import (
    BANK,
    GATEWAY,
    SHOP,
    SmallMesh,
    endpoints,
    host,
    istio,
    pod,
    service,
)

CART = host("cart")
THIRD = Scope(namespace="third")


def rule(name: str, spec: str = "", *, of: str = CART, **meta: object) -> str:
    return istio("DestinationRule", name, f"    host: {of!r}\n{spec}", **meta)  # type: ignore[arg-type]


def names(mesh: SmallMesh, scope: Scope = SHOP) -> list[str]:
    return [f"{k.namespace}/{k.name}" for k in rule_for(mesh.db, (scope, CART)).origins]


def test_without_a_rule_there_is_an_empty_one() -> None:
    """No subsets, no policy, no origins."""
    mesh = SmallMesh(service("cart"))
    assert rule_for(mesh.db, (SHOP, CART)) == NO_RULE
    assert policy_for(NO_RULE, 80) == PortPolicy()
    assert NO_RULE.subset("v1") is None


@pytest.mark.parametrize(
    ("levels", "found"),
    [
        (("bank", "shop", "istio-system"), "bank"),
        (("shop", "istio-system"), "shop"),
        (("istio-system",), "istio-system"),
        (("third",), ""),
    ],
)
def test_the_client_goes_before_the_service_and_the_root(
    levels: tuple[str, ...], found: str
) -> None:
    """The first of these namespaces that has any match is the only one that counts."""
    mesh = SmallMesh(service("cart"), *(rule("r", namespace=level) for level in levels))
    assert names(mesh, BANK) == ([f"{found}/r"] if found else [])


def test_the_level_is_chosen_before_the_host() -> None:
    """A wildcard in the client's namespace beats the exact host in the service's."""
    mesh = SmallMesh(
        service("cart"),
        rule("wide", of="*.svc.cluster.local", namespace="bank"),
        rule("exact", namespace="shop"),
    )
    assert names(mesh, BANK) == ["bank/wide"]
    assert names(mesh, SHOP) == ["shop/exact"]


def test_within_a_namespace_the_most_specific_host_wins() -> None:
    """Wildcards by length, the exact host before all."""
    patterns = ["*", "*.local", "*.shop.svc.cluster.local", CART]
    mesh = SmallMesh(service("cart"), *(rule(f"r{n}", of=p) for n, p in enumerate(patterns)))
    for number in (3, 2, 1, 0):
        assert names(mesh) == [f"shop/r{number}"]
        mesh.delete("DestinationRule", f"r{number}")
    assert names(mesh) == []


@pytest.mark.parametrize(
    ("export_to", "scopes"),
    [("'*'", (SHOP, BANK, THIRD)), ("'.'", (SHOP,)), ("bank", (BANK,)), ("elsewhere", ())],
)
def test_a_rule_is_seen_where_it_is_exported(export_to: str, scopes: tuple[Scope, ...]) -> None:
    """exportTo of the service's own rule."""
    mesh = SmallMesh(service("cart"), rule("r", f"    exportTo: [{export_to}]"))
    assert tuple(s for s in (SHOP, BANK, THIRD) if names(mesh, s)) == scopes


TWO = """
    subsets: [{name: a, labels: {v: first}}, {name: b}]
    trafficPolicy: {loadBalancer: {simple: RANDOM}}
"""


def test_rules_of_one_host_are_merged() -> None:
    """All subsets, the oldest of each name; the policy of the oldest that has one."""
    mesh = SmallMesh(
        service("cart"),
        rule("young", "    subsets: [{name: b, labels: {v: lost}}, {name: c}]", age=3),
        rule("middle", TWO, age=2),
        rule("old", "    subsets: [{name: d}]", age=1),
    )
    merged = rule_for(mesh.db, (SHOP, CART))
    assert [s.name for s in merged.subsets] == ["d", "a", "b", "c"]
    assert merged.subset("b") == Subset(name="b")
    assert policy_for(merged, 80).load_balancer is not None
    assert names(mesh) == ["shop/middle", "shop/old", "shop/young"]


def test_rules_that_are_exported_differently_are_not_merged() -> None:
    """The oldest one's company is what is exported at least as widely."""
    mesh = SmallMesh(
        service("cart"),
        rule("old", "    exportTo: ['.']\n    subsets: [{name: a}]", age=1),
        rule("young", "    subsets: [{name: b}]", age=2),
    )
    assert names(mesh) == ["shop/old"]
    assert names(mesh, BANK) == ["shop/young"]


POLICY = """
    trafficPolicy:
      loadBalancer: {simple: RANDOM}
      connectionPool: {tcp: {maxConnections: 1}}
      portLevelSettings:
      - port: {number: 81}
        loadBalancer: {simple: ROUND_ROBIN}
    subsets:
    - name: plain
    - name: own
      trafficPolicy:
        outlierDetection: {consecutive5xxErrors: 7}
        portLevelSettings:
        - port: {number: 80}
          connectionPool: {tcp: {maxConnections: 9}}
"""


@pytest.mark.parametrize(
    ("port", "subset", "balancer", "connections", "detects"),
    [
        (80, None, SimpleLb.RANDOM, 1, False),
        (81, None, SimpleLb.ROUND_ROBIN, None, False),
        (82, None, SimpleLb.RANDOM, 1, False),
        (80, "plain", SimpleLb.RANDOM, 1, False),
        (81, "plain", SimpleLb.ROUND_ROBIN, None, False),
        (80, "own", None, 9, False),
        (81, "own", SimpleLb.ROUND_ROBIN, None, True),
        (82, "own", SimpleLb.RANDOM, 1, True),
    ],
)
def test_a_port_inherits_nothing_and_a_subset_what_it_leaves_out(
    port: int,
    subset: str | None,
    balancer: SimpleLb | None,
    connections: int | None,
    *,
    detects: bool,
) -> None:
    """What is written for a port has defaults for the rest; a subset's blocks stand over the rule's."""
    found = rule_for(SmallMesh(service("cart"), rule("r", POLICY)).db, (SHOP, CART))
    policy = policy_for(found, port, found.subset(subset) if subset else None)
    pool = policy.connection_pool
    assert (policy.load_balancer and policy.load_balancer.simple) == balancer
    assert (pool and pool.max_connections) == connections
    assert (policy.outlier_detection is not None) is detects


def test_a_cluster_for_each_port_and_subset() -> None:
    """UDP has none; the default cluster comes before the subsets'."""
    mesh = SmallMesh(
        service("cart", "http:80", "udp-x:81", "tcp-x:82"), rule("r", "    subsets: [{name: v1}]")
    )
    made = upstreams(mesh.db, (SHOP, CART))
    assert [(u.port, u.subset) for u in made] == [(80, ""), (80, "v1"), (82, ""), (82, "v1")]
    assert made[0].rule is not None
    assert [k.kind for k in made[0].origins] == ["Service", "DestinationRule"]


@pytest.mark.parametrize(
    ("port", "spec", "http"),
    [
        ("http:80", "", UpstreamHttp.HTTP1),
        ("grpc:80", "", UpstreamHttp.HTTP2),
        ("tcp-x:80", "", UpstreamHttp.HTTP1),
        ("x:80", "", UpstreamHttp.CLIENT),
        ("http:80", "{h2UpgradePolicy: UPGRADE}", UpstreamHttp.HTTP2),
        ("http:80", "{h2UpgradePolicy: DO_NOT_UPGRADE}", UpstreamHttp.HTTP1),
        ("tcp-x:80", "{h2UpgradePolicy: UPGRADE}", UpstreamHttp.HTTP2),
        ("x:80", "{h2UpgradePolicy: UPGRADE}", UpstreamHttp.HTTP2),
        ("http:80", "{useClientProtocol: true}", UpstreamHttp.CLIENT),
    ],
)
def test_which_http_is_spoken(port: str, spec: str, http: UpstreamHttp) -> None:
    """By declaration, by upgrade whatever is declared, or whatever the client spoke."""
    written = f"    trafficPolicy: {{connectionPool: {{http: {spec or '{}'}}}}}"
    mesh = SmallMesh(service("cart", port), rule("r", written))
    assert upstreams(mesh.db, (SHOP, CART))[0].http is http


@pytest.mark.parametrize(("written", "seconds"), [("", 3), ("connectTimeout: 250ms", 0.25)])
def test_the_rule_may_say_how_long_to_connect(written: str, seconds: float) -> None:
    """Else the mesh does."""
    mesh = SmallMesh(
        service("cart"),
        rule("r", f"    trafficPolicy: {{connectionPool: {{tcp: {{{written}}}}}}}"),
        settings=MeshSettings(connect_timeout=timedelta(seconds=3)),
    )
    assert upstreams(mesh.db, (SHOP, CART))[0].connect_timeout == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("scope", "ip", "spec", "discovery"),
    [
        (SHOP, "10.96.0.1", "", Discovery.EDS),
        (SHOP, "None", "", Discovery.ORIGINAL_DESTINATION),
        (GATEWAY, "None", "", Discovery.EDS),
        (SHOP, "10.96.0.1", "simple: PASSTHROUGH", Discovery.ORIGINAL_DESTINATION),
    ],
)
def test_how_endpoints_are_found(scope: Scope, ip: str, spec: str, discovery: Discovery) -> None:
    """A sidecar leaves the choice among headless pods to the client; a gateway makes it."""
    written = f"    trafficPolicy: {{loadBalancer: {{{spec}}}}}" if spec else ""
    mesh = SmallMesh(service("cart", ip=ip), rule("r", written))
    assert upstreams(mesh.db, (scope, CART))[0].discovery is discovery


SNI = f"outbound_.80_._.{CART}"
WORKERS = (endpoints("cart", "10.0.0.1", "10.0.0.2"), pod("10.0.0.1", "cart", account="a"))
BOTH = (*WORKERS, pod("10.0.0.2", "cart", account="b"))
IDS = ("spiffe://cluster.local/ns/shop/sa/a", "spiffe://cluster.local/ns/shop/sa/b")
DISABLED = "    mtls: {mode: DISABLE}"


def tls_of(
    *objects: str, ip: str = "10.96.0.1", settings: MeshSettings | None = None
) -> UpstreamTls:
    mesh = SmallMesh(service("cart", ip=ip), *objects, settings=settings)
    return upstreams(mesh.db, (SHOP, CART))[0].tls


@pytest.mark.parametrize(
    ("objects", "identities"),
    [
        (BOTH, IDS),
        ((*WORKERS, pod("10.0.0.2", "cart", mtls=False, account="b")), IDS[:1]),
        ((), ()),
    ],
)
def test_mutual_tls_is_automatic(objects: tuple[str, ...], identities: tuple[str, ...]) -> None:
    """Of those in the mesh, whoever they are; each endpoint says whether it takes part."""
    assert tls_of(*objects) == MeshTls(automatic=True, identities=identities, sni=SNI)


def test_every_trust_domain_of_ours_counts() -> None:
    """Aliases multiply the identities that a server may have."""
    made = tls_of(*BOTH, settings=MeshSettings(trust_domain_aliases=("old",)))
    assert isinstance(made, MeshTls)
    assert made.identities == tuple(
        sorted((*IDS, *(i.replace("cluster.local", "old") for i in IDS)))
    )


@pytest.mark.parametrize(
    "policy",
    [
        istio("PeerAuthentication", "p", DISABLED),
        istio("PeerAuthentication", "p", DISABLED, namespace="istio-system"),
    ],
)
def test_a_namespace_may_switch_mutual_tls_off(policy: str) -> None:
    """Its own policy, or the mesh's."""
    assert tls_of(*BOTH, policy) == Plaintext()


def test_a_workload_of_ones_own_mind_changes_no_cluster() -> None:
    """DISABLE for one workload is said by its endpoints."""
    policy = istio(
        "PeerAuthentication", "p", f"    selector: {{matchLabels: {{app: cart}}}}\n{DISABLED}"
    )
    assert isinstance(tls_of(*BOTH, policy), MeshTls)


@pytest.mark.parametrize(
    ("objects", "mutual"),
    [
        (BOTH, True),
        ((*WORKERS, pod("10.0.0.2", "cart", mtls=False)), False),
        ((), False),
        (
            (
                *BOTH,
                istio(
                    "PeerAuthentication",
                    "p",
                    f"    selector: {{matchLabels: {{app: cart}}}}\n{DISABLED}",
                ),
            ),
            False,
        ),
    ],
)
def test_headless_endpoints_take_it_all_or_not(objects: tuple[str, ...], *, mutual: bool) -> None:
    """Where the client chooses the address, nothing says which endpoint takes mutual TLS."""
    made = tls_of(*objects, ip="None")
    expected = MeshTls(automatic=False, identities=IDS, sni=SNI)
    assert made == (expected if mutual else Plaintext())


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("{mode: DISABLE}", Plaintext()),
        ("{mode: ISTIO_MUTUAL}", MeshTls(automatic=False, identities=IDS, sni=SNI)),
        (
            "{mode: ISTIO_MUTUAL, sni: s, subjectAltNames: [x]}",
            MeshTls(automatic=False, identities=("x",), sni="s"),
        ),
        ("{mode: SIMPLE}", SimpleTls()),
        ("{mode: SIMPLE, insecureSkipVerify: true}", SimpleTls(insecure_skip_verify=True)),
        (
            "{mode: SIMPLE, sni: s, subjectAltNames: [x]}",
            SimpleTls(sni="s", subject_alt_names=("x",)),
        ),
    ],
)
def test_written_tls_ends_the_automatic_one(written: str, made: UpstreamTls) -> None:
    """DestinationRule.trafficPolicy.tls."""
    assert tls_of(*BOTH, rule("r", f"    trafficPolicy: {{tls: {written}}}")) == made


def test_an_entry_outside_is_plain_and_lends_its_names() -> None:
    """MESH_EXTERNAL: no automatic TLS; its subjectAltNames are checked where a rule asks for TLS."""
    entry = istio(
        "ServiceEntry",
        "e",
        """
        hosts: [api.example.com]
        resolution: STATIC
        subjectAltNames: [api.test]
        ports: [{number: 80, name: http, protocol: HTTP}]
        endpoints: [{address: 10.1.0.1, serviceAccount: x}]
        """,
    )
    mesh = SmallMesh(entry)
    assert upstreams(mesh.db, (SHOP, "api.example.com"))[0].tls == Plaintext()
    mesh.apply(rule("r", "    trafficPolicy: {tls: {mode: SIMPLE}}", of="api.example.com"))
    found = upstreams(mesh.db, (SHOP, "api.example.com"))[0]
    assert found.tls == SimpleTls(subject_alt_names=("api.test",))
    assert found.external


def test_what_no_rule_says_the_mesh_says() -> None:
    """A block that is written replaces the mesh's as a whole; keepalive is completed."""
    mesh = SmallMesh(
        service("cart", "http:80", "tcp:81"),
        settings=MeshSettings(
            connection_pool=ConnectionPool(max_connections=5, max_retries=1),
            outlier_detection=OutlierDetection(consecutive_5xx_errors=2),
            keepalive=TcpKeepalive(probes=3, time=timedelta(seconds=60)),
            upgrades=True,
        ),
    )
    http, tcp = upstreams(mesh.db, (SHOP, CART))
    assert (http.http, tcp.http) == (UpstreamHttp.HTTP2, UpstreamHttp.HTTP1)
    assert http.outlier_detection == OutlierDetection(consecutive_5xx_errors=2)
    general = TcpKeepalive(probes=3, time=timedelta(seconds=60))
    assert http.connection_pool == ConnectionPool(
        max_connections=5, max_retries=1, tcp_keepalive=general
    )
    written = """
    trafficPolicy:
      outlierDetection: {consecutiveGatewayErrors: 1}
      connectionPool:
        http: {h2UpgradePolicy: DO_NOT_UPGRADE}
        tcp: {tcpKeepalive: {probes: 9, interval: 5s}}
    """
    mesh.apply(rule("r", written))
    http, _ = upstreams(mesh.db, (SHOP, CART))
    assert http.http is UpstreamHttp.HTTP1
    assert http.outlier_detection == OutlierDetection(consecutive_gateway_errors=1)
    assert http.connection_pool == ConnectionPool(
        h2_upgrade_policy="DO_NOT_UPGRADE",
        tcp_keepalive=TcpKeepalive(
            probes=9, time=timedelta(seconds=60), interval=timedelta(seconds=5)
        ),
    )


def test_clients_are_announced_as_the_subset_or_the_rule_says() -> None:
    """A port that something is written for is not: blocks that it leaves out have their defaults."""
    mesh = SmallMesh(
        service("cart", "http:80", "http-x:81"),
        rule(
            "r",
            """
    trafficPolicy:
      proxyProtocol: {version: V2}
      portLevelSettings: [{port: {number: 81}, tls: {mode: DISABLE}}]
    subsets:
    - {name: v1}
    - name: v2
      trafficPolicy:
        proxyProtocol: {}
        portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]
""",
        ),
    )
    found = [(u.port, u.subset, u.proxy_protocol) for u in upstreams(mesh.db, (SHOP, CART))]
    assert found == [
        (80, "", ProxyProtocol.V2),
        (80, "v1", ProxyProtocol.V2),
        (80, "v2", ProxyProtocol.V2),
        (81, "", None),
        (81, "v1", None),
        (81, "v2", ProxyProtocol.V1),
    ]


def test_a_budget_of_retries_is_the_subsets_or_the_rules() -> None:
    """Whatever stands for the port."""
    mesh = SmallMesh(
        service("cart"),
        rule(
            "r",
            """
    trafficPolicy:
      retryBudget: {percent: 10}
      portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: 1}}}]
    subsets:
    - {name: v1}
    - {name: v2, trafficPolicy: {retryBudget: {percent: 30}}}
""",
        ),
    )
    found = [(one.subset, one.retry_budget) for one in upstreams(mesh.db, (SHOP, CART))]
    assert found == [
        ("", RetryBudget(percent=10)),
        ("v1", RetryBudget(percent=10)),
        ("v2", RetryBudget(percent=30)),
    ]
