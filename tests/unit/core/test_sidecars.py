"""Which Sidecar holds for a workload, what its proxies see then, and what they serve."""

from __future__ import annotations

import pytest

from mizzen.ir import CatchAll, InboundPort
from mizzen.model.kube import Protocol
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import NO_LABELS, labels
from mizzen.model.proxy import Scope
from mizzen.model.security import MtlsMode
from mizzen.names import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER
from mizzen.resolve.inbound import inbound_policy
from mizzen.resolve.listeners import shared_listener, shared_table
from mizzen.resolve.proxies import proxy_class
from mizzen.resolve.routes import reach, viewer
from mizzen.resolve.sidecars import Reach, scope_of, sidecar_for
from mizzen.tables import SCOPE_TABLES, ScopeTables
from tests.support.small_mesh import (
    SmallMesh,
    host,
    istio,
    key,
    router,
    service,
    sidecar,
    workload,
)

WEB = labels({"app": "web"})
_MESH = (
    service("web"),
    service("cart", "http:80:8080", "tcp-raw:9000"),
    service("db", "tcp:3306", namespace="bank", ip="10.96.0.3"),
    service("api", namespace="bank", ip="10.96.0.4"),
)


def limited(name: str, *hosts: str, more: str = "", **meta: object) -> str:
    """Return a Sidecar that imports hosts."""
    wanted = ", ".join(f"'{one}'" for one in hosts)
    return istio("Sidecar", name, f"{more}\negress: [{{hosts: [{wanted}]}}]", **meta)  # type: ignore[arg-type]


def chosen(mesh: SmallMesh, namespace: str = "shop", of: dict[str, str] | None = None) -> str:
    """Return the name of the Sidecar that holds for a workload."""
    item = sidecar_for(mesh.db, namespace, labels(of or {}))
    return f"{item.meta.namespace}/{item.meta.name}" if item else ""


def seen(mesh: SmallMesh, namespace: str = "shop") -> tuple[list[str], list[str], list[str]]:
    """Return the clusters, listeners and virtual hosts of a namespace's proxies."""
    tables = tables_of(mesh, namespace)
    return tuple(  # type: ignore[return-value]  # three of them
        sorted(table) for table in (tables.clusters, tables.listeners, tables.virtual_hosts)
    )


def tables_of(mesh: SmallMesh, namespace: str = "shop") -> ScopeTables:
    return SCOPE_TABLES(mesh.db, scope_of(mesh.db, (namespace, NO_LABELS)))


def test_the_nearest_and_oldest_sidecar_holds() -> None:
    """By labels, of the namespace, of the mesh; in the root namespace only without labels."""
    mesh = SmallMesh()
    assert chosen(mesh, of={"app": "web"}) == ""
    selector = "workloadSelector: {labels: {app: web}}"
    mesh.apply(limited("all", "*/*", namespace="istio-system"))
    mesh.apply(limited("web", "*/*", namespace="istio-system", more=selector))
    assert chosen(mesh, of={"app": "web"}) == "istio-system/all"
    mesh.apply(limited("young", "*/*", age=2), limited("old", "*/*", age=1))
    assert chosen(mesh, of={"app": "web"}) == "shop/old"
    mesh.apply(limited("mine", "*/*", more=selector, age=5))
    assert chosen(mesh, of={"app": "web"}) == "shop/mine"
    assert chosen(mesh, of={"app": "cart"}) == "shop/old"
    assert chosen(mesh, "bank") == "istio-system/all"
    mesh.delete("Sidecar", "mine")
    assert chosen(mesh, of={"app": "web"}) == "shop/old"


def test_a_proxys_class_follows_its_sidecar() -> None:
    """Routers have none."""
    mesh = SmallMesh(limited("some", "./*"))
    assert proxy_class(mesh.db, sidecar(of=WEB)).scope.sidecar == key("Sidecar", "some")
    assert proxy_class(mesh.db, router("shop")).scope.sidecar is None
    mesh.delete("Sidecar", "some")
    assert proxy_class(mesh.db, sidecar(of=WEB)).scope == Scope(namespace="shop")


@pytest.mark.parametrize(
    ("hosts", "clusters"),
    [
        (("*/*",), {"web:80", "cart:80", "cart:9000", "db:3306", "api:80"}),
        (("./*",), {"web:80", "cart:80", "cart:9000"}),
        (("shop/*",), {"web:80", "cart:80", "cart:9000"}),
        (("bank/*",), {"db:3306", "api:80"}),
        (("~/*",), set()),
        (("bank/db.bank.svc.cluster.local",), {"db:3306"}),
        (("*/db.bank.svc.cluster.local", "./web.shop.svc.cluster.local"), {"web:80", "db:3306"}),
        (("shop/db.bank.svc.cluster.local",), set()),
        (("*/*.bank.svc.cluster.local",), {"db:3306", "api:80"}),
        (("*/*", "~bank/*"), {"web:80", "cart:80", "cart:9000"}),
        (("*/*", "~*/api.bank.svc.cluster.local"), {"web:80", "cart:80", "cart:9000", "db:3306"}),
    ],
)
def test_only_what_is_imported_is_there(hosts: tuple[str, ...], clusters: set[str]) -> None:
    """Clusters, listeners and virtual hosts; and it follows the Sidecar."""
    mesh = SmallMesh(*_MESH)
    everything = seen(mesh)
    mesh.apply(limited("some", *hosts))
    found, listening, routed = seen(mesh)
    names = {f"{n.split('|')[3].split('.')[0]}:{n.split('|')[1]}" for n in found}
    assert names == clusters
    http = {name.rsplit("/", 1)[1] for name in routed}
    assert {f"{one.split('.')[0]}:80" for one in http} == {c for c in clusters if c.endswith(":80")}
    assert any(name == "10.96.0.3_3306" for name in listening) is ("db:3306" in clusters)
    mesh.delete("Sidecar", "some")
    assert seen(mesh) == everything


def test_what_is_seen_as_by_all_is_shared_with_all() -> None:
    """A whole host is made once, whatever else a Sidecar leaves out."""
    mesh = SmallMesh(*_MESH, limited("some", "bank/api.bank.svc.cluster.local"))
    scope = scope_of(mesh.db, ("shop", NO_LABELS))
    assert viewer(mesh.db, (scope, host("api", "bank"))) == Scope(namespace="")
    mine = tables_of(mesh).clusters["outbound|80||api.bank.svc.cluster.local"]
    theirs = tables_of(mesh, "other").clusters["outbound|80||api.bank.svc.cluster.local"]
    assert mine.resource is theirs.resource


def test_a_port_of_its_own_says_alone_what_is_there_on_it() -> None:
    """Other entries do not hold there; without an entry for all others nothing else is there."""
    egress = """
        egress:
        - port: {number: 80, protocol: HTTP}
          hosts: ["bank/*"]
        - hosts: ["./*"]
    """
    mesh = SmallMesh(*_MESH, istio("Sidecar", "some", egress))
    _clusters, listening, routed = seen(mesh)
    assert routed == ["80/api.bank.svc.cluster.local"]
    assert listening == ["0.0.0.0_80", "10.96.0.1_9000"]
    alone = "egress: [{port: {number: 3306, protocol: TCP}, hosts: ['*/*']}]"
    mesh.apply(istio("Sidecar", "some", alone))
    assert seen(mesh)[1:] == (["10.96.0.3_3306"], [])


def test_where_an_imported_route_sends_clusters_are_there_too() -> None:
    """Without listeners or virtual hosts of their own; a route that is not imported brings none."""
    route = "hosts: [web]\nhttp: [{route: [{destination: {host: api.bank.svc.cluster.local}}]}]"
    mesh = SmallMesh(*_MESH, limited("some", "./*"), istio("VirtualService", "web", route))
    scope = scope_of(mesh.db, ("shop", NO_LABELS))
    assert reach(mesh.db, (scope, host("api", "bank"))) is Reach.CLUSTERS
    clusters, _, routed = seen(mesh)
    assert "outbound|80||api.bank.svc.cluster.local" in clusters
    assert "80/api.bank.svc.cluster.local" not in routed
    mesh.apply(limited("some", "./cart.shop.svc.cluster.local"))
    assert reach(mesh.db, (scope, host("api", "bank"))) is Reach.NOTHING


def test_a_route_of_a_namespace_that_is_not_imported_has_no_effect() -> None:
    """The host's own routes hold again."""
    route = "hosts: [cart.shop.svc.cluster.local]\nhttp: [{directResponse: {status: 222}}]"
    far = istio("VirtualService", "cart", route, namespace="bank")
    mesh = SmallMesh(*_MESH, far)
    name = "80/cart.shop.svc.cluster.local"
    before = tables_of(mesh).virtual_hosts[name].resource
    mesh.apply(limited("some", "./*"))
    after = tables_of(mesh).virtual_hosts[name].resource
    assert before != after
    mesh.delete("VirtualService", "cart", "bank")
    assert tables_of(mesh).virtual_hosts[name].resource == after


def test_a_name_is_not_contended_for_by_what_is_not_there() -> None:
    """A ServiceEntry that is really called so takes a service's short name, but only where it is seen."""
    entry = istio(
        "ServiceEntry",
        "real",
        "hosts: [cart.shop]\nresolution: STATIC\nports: [{number: 80, name: a, protocol: HTTP}]\n"
        "endpoints: [{address: 10.1.0.1}]",
        namespace="bank",
    )
    mesh = SmallMesh(*_MESH, entry)
    name = "80/cart.shop.svc.cluster.local"
    assert b"\x09cart.shop\x1a" not in tables_of(mesh).virtual_hosts[name].resource.body
    contended = tables_of(mesh).virtual_hosts[name].resource
    mesh.apply(limited("some", "./*"))
    alone = tables_of(mesh).virtual_hosts[name].resource
    assert alone != contended
    mesh.delete("ServiceEntry", "real", "bank")
    assert tables_of(mesh).virtual_hosts[name].resource == alone


@pytest.mark.parametrize(
    ("policy", "registry_only", "unknown"),
    [
        ("{mode: REGISTRY_ONLY}", False, BLACK_HOLE_CLUSTER),
        ("{mode: REGISTRY_ONLY}", True, ""),
        ("{mode: ALLOW_ANY}", True, PASSTHROUGH_CLUSTER),
        ("{mode: ALLOW_ANY}", False, ""),
        (
            "{mode: ALLOW_ANY, egressProxy: {host: api.bank.svc.cluster.local, port: {number: 80}}}",
            False,
            "outbound|80||api.bank.svc.cluster.local",
        ),
    ],
)
def test_unknown_destinations_go_where_the_sidecar_says(
    policy: str, *, registry_only: bool, unknown: str
) -> None:
    """Empty where that is as for the mesh, so that scopes are shared."""
    settings = MeshSettings(registry_only=registry_only)
    mesh = SmallMesh(
        *_MESH, istio("Sidecar", "some", f"outboundTrafficPolicy: {policy}"), settings=settings
    )
    scope = scope_of(mesh.db, ("shop", NO_LABELS))
    assert (scope.unknown, scope.sidecar) == (unknown, None)
    listener = tables_of(mesh).listeners["0.0.0.0_80"].resource.body
    of_mesh = BLACK_HOLE_CLUSTER if registry_only else PASSTHROUGH_CLUSTER
    assert (unknown or of_mesh).encode() in listener
    table = shared_table(mesh.db, 80, unknown)
    is_closed = (unknown or of_mesh) == BLACK_HOLE_CLUSTER
    assert table.catch_all is (CatchAll.BLOCK if is_closed else CatchAll.PASSTHROUGH)
    assert shared_listener(mesh.db, 80, unknown).tcp.cluster == (unknown or of_mesh)


def test_the_egress_proxy_is_there_though_it_is_not_imported() -> None:
    """Its clusters are."""
    proxy = "egressProxy: {host: api.bank.svc.cluster.local, port: {number: 80}}"
    more = f"outboundTrafficPolicy: {{mode: ALLOW_ANY, {proxy}}}"
    mesh = SmallMesh(*_MESH, limited("some", "./*", more=more))
    assert "outbound|80||api.bank.svc.cluster.local" in seen(mesh)[0]


def _ports(mesh: SmallMesh) -> tuple[InboundPort, ...]:
    return inbound_policy(mesh.db, workload("web")).ports


def test_ingress_stands_for_the_ports_of_services() -> None:
    """What it does not say of a port is as the service says it; modes are those of policies."""
    ingress = """
        workloadSelector: {labels: {app: web}}
        ingress:
        - port: {number: 8081, protocol: TCP}
          defaultEndpoint: 0.0.0.0:9091
        - port: {number: 8080, protocol: GRPC}
          defaultEndpoint: 127.0.0.1:9090
    """
    strict = istio("PeerAuthentication", "strict", "mtls: {mode: STRICT}")
    mesh = SmallMesh(service("web"), istio("Sidecar", "web", ingress), strict)
    grpc, tcp = _ports(mesh)
    assert (grpc.port, grpc.service_port, grpc.host) == (8080, 80, host("web"))
    assert (grpc.protocol, grpc.endpoint, grpc.own_port) == (Protocol.GRPC, "127.0.0.1:9090", None)
    assert (tcp.port, tcp.service_port, tcp.host) == (8081, 8081, "")
    assert (tcp.endpoint, tcp.own_port) == ("", 9091)
    assert {grpc.mode, tcp.mode} == {MtlsMode.STRICT}
    assert grpc.origins == (key("Sidecar", "web"), key("Service", "web"))
    mesh.delete("Sidecar", "web")
    assert [port.port for port in _ports(mesh)] == [8080]


def test_limits_are_the_ports_then_the_sidecars_then_the_rules() -> None:
    """Each replaces the next as a whole."""
    rule = "host: web\ntrafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}"
    mesh = SmallMesh(service("web"), istio("DestinationRule", "web", rule))

    def _limit() -> int | None:
        (port,) = _ports(mesh)
        return port.connection_pool.max_connections if port.connection_pool else None

    assert _limit() == 1
    pool = "inboundConnectionPool: {tcp: {maxConnections: 2}}"
    mesh.apply(istio("Sidecar", "web", pool))
    assert _limit() == 2
    own = "ingress: [{port: {number: 8080}, connectionPool: {tcp: {maxConnections: 3}}}]"
    mesh.apply(istio("Sidecar", "web", f"{pool}\n{own}"))
    assert _limit() == 3
    mesh.apply(istio("Sidecar", "web", "ingress: [{port: {number: 8080}}]"))
    assert _limit() == 1


def test_what_is_wrong_with_a_sidecar_is_told() -> None:
    """A selector and imports that mean nothing; and of two that contend, the winner on both."""
    mesh = SmallMesh(
        *_MESH,
        limited("old", "./*", "bank/gone.bank.svc.cluster.local", "*/api.bank.svc.cluster.local"),
        limited("young", "*/*", "~shop/gone.example.com", age=1),
        limited("gone", "*/*.example.com", more="workloadSelector: {labels: {app: gone}}"),
    )
    assert mesh.findings() == [
        ("MZ0308", "Sidecar shop/gone", "spec.workloadSelector.labels"),
        ("MZ0410", "Sidecar shop/old", "spec.workloadSelector"),
        ("MZ0313", "Sidecar shop/old", "spec.egress[0].hosts"),
        ("MZ0410", "Sidecar shop/young", "spec.workloadSelector"),
    ]
    assert sum("Sidecar shop/old" in text for text in mesh.messages()) == 1
    mesh.delete("Sidecar", "young")
    assert [code for code, _, _ in mesh.findings()] == ["MZ0308", "MZ0313"]


def test_tls_of_a_port_ends_where_the_meshs_does_not() -> None:
    """Elsewhere it is told of."""
    own = "mode: SIMPLE, serverCertificate: /c, privateKey: /k"
    ports = "".join(
        f"\n- {{port: {{number: {number}, protocol: {protocol}}}, tls: {{{own}}}}}"
        for number, protocol in ((8443, "HTTPS"), (9443, "TLS"))
    )
    mesh = SmallMesh(service("web"), istio("Sidecar", "web", f"ingress:{ports}"))
    assert [(port.end, port.protocol) for port in _ports(mesh)] == [
        (None, Protocol.HTTPS),
        (None, Protocol.TLS),
    ]
    assert mesh.findings() == [
        ("MZ0203", "Sidecar shop/web", f"spec.ingress[{number}].tls") for number in (0, 1)
    ]
    mesh.apply(istio("PeerAuthentication", "plain", "mtls: {mode: DISABLE}"))
    assert [(bool(port.end), port.protocol) for port in _ports(mesh)] == [
        (True, Protocol.HTTP),
        (True, Protocol.TCP),
    ]
    assert mesh.findings() == []


_FREE = "annotations: {sidecar.istio.io/interceptionMode: NONE}"


def _pod(name: str, app: str, more: str = "", namespace: str = "shop") -> str:
    meta = f"{{name: {name}, namespace: {namespace}, labels: {{app: {app}}}{more}}}"
    spec = "spec: {containers: [{name: app}]}\nstatus: {podIP: 10.0.0.9}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {meta}\n{spec}\n"


_PLACES = """
egress:
- {port: {number: 80}, bind: 127.0.0.2, hosts: ['*/*']}
- {port: {number: 0}, bind: 'unix:///a', hosts: ['*/*']}
- {hosts: ['*/*']}
ingress:
- {port: {number: 8080}, defaultEndpoint: '127.0.0.1:9090'}
- {port: {number: 8081}, defaultEndpoint: '127.0.0.1:9091', captureMode: IPTABLES}
"""


def test_where_nothing_is_captured_the_proxy_is_called() -> None:
    """Every entry is as with captureMode NONE there, unless it is said to be captured."""
    free, other = sidecar(name="free"), sidecar(name="other")
    mesh = SmallMesh(
        *_MESH,
        istio("Sidecar", "all", _PLACES),
        _pod("free", "web", f", {_FREE}"),
        _pod("other", "web"),
    )
    found, usual = proxy_class(mesh.db, free), proxy_class(mesh.db, other)
    listeners = SCOPE_TABLES(mesh.db, found.scope).listeners
    captured = SCOPE_TABLES(mesh.db, usual.scope).listeners
    assert {"127.0.0.2_80", "127.0.0.1_9000", "127.0.0.1_3306"} <= set(listeners)
    assert {"127.0.0.2_80", "10.96.0.1_9000", "10.96.0.3_3306"} <= set(captured)
    assert listeners["127.0.0.2_80"] != captured["127.0.0.2_80"]
    ports = [inbound_policy(mesh.db, one.workload).ports for one in (found, usual)]
    assert [[port.bind for port in each] for each in ports] == [["0.0.0.0", ""], ["", ""]]
    assert viewer(mesh.db, (found.scope, host("web"))) == viewer(
        mesh.db, (usual.scope, host("web"))
    )
    mesh.delete("Sidecar", "all")
    assert proxy_class(mesh.db, free).scope == proxy_class(mesh.db, other).scope


def test_what_is_of_no_use_without_capture_is_told() -> None:
    """A port that nobody can call in a pod, and an address at which no pod's proxy listens."""
    unserved = "ingress: [{port: {number: 8080}}]"
    bound = "ingress: [{port: {number: 8080}, bind: 10.0.0.9, defaultEndpoint: '127.0.0.1:90'}]"
    mesh = SmallMesh(*_MESH, _pod("free", "web", f", {_FREE}", namespace="bank"))
    mesh.apply(istio("Sidecar", "all", unserved, namespace="bank"))
    assert mesh.findings() == [("MZ0203", "Sidecar bank/all", "spec.ingress[0].captureMode")]
    assert "Pod bank/free" in mesh.messages()[0]
    mesh.apply(istio("Sidecar", "all", bound, namespace="bank"))
    assert mesh.findings() == []
    mesh.apply(_pod("free", "web", namespace="bank"))
    assert mesh.findings() == [("MZ0203", "Sidecar bank/all", "spec.ingress[0].bind")]
    mesh.delete("Sidecar", "all", "bank")
    mesh.apply(istio("Sidecar", "all", bound, namespace="istio-system"))
    assert [code for code, _, _ in mesh.findings()] == ["MZ0203"]
    mesh.apply(_pod("free", "web", f", {_FREE}", namespace="bank"))
    assert mesh.findings() == []
    mesh.apply(istio("Sidecar", "own", "ingress: [{port: {number: 8080}}]", namespace="bank"))
    assert [(one, path) for _, one, path in mesh.findings()] == [
        ("Sidecar bank/own", "spec.ingress[0].captureMode"),
        ("Sidecar istio-system/all", "spec.ingress[0].bind"),
    ]
