"""Random worlds: small pools of names, so that edits meet, collide, shadow and leave one another."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st

from mizzen.model.destination import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    DestinationRule,
    LoadBalancer,
    LocalityLb,
    OutlierDetection,
    PortPolicy,
    ProxyProtocol,
    SimpleLb,
    Subset,
    TlsMode,
    TrafficPolicy,
    Tunnel,
    ZoneLb,
)
from mizzen.model.edge import Edge
from mizzen.model.gateway import CertificateFiles, ServerTls, ServerTlsMode
from mizzen.model.kube import (
    ConfigMap,
    ContainerPort,
    Distribution,
    EndpointSlice,
    Node,
    Pod,
    Protocol,
    Service,
    ServicePort,
    SliceEndpoint,
)
from mizzen.model.mesh import MeshConfig, Paths, TlsLimits
from mizzen.model.meta import NO_LABELS, ExportTo, Labels, Meta, labels
from mizzen.model.place import Locality
from mizzen.model.providers import Authorizer, HttpCheck
from mizzen.model.proxy import NodeInfo, ProxyKind
from mizzen.model.routing import Retries
from mizzen.model.security import (
    AuthorizationPolicy,
    Condition,
    IssuerKeys,
    JwtRule,
    MtlsMode,
    Operation,
    PeerAuthentication,
    PolicyAction,
    RequestAuthentication,
    Rule,
    Source,
    Target,
    issuer_meta,
)
from mizzen.model.sidecar import (
    Egress,
    EgressProxy,
    Import,
    Ingress,
    OutboundPolicy,
    Sidecar,
)
from mizzen.model.traffic import (
    Resolution,
    ServiceEntry,
    WorkloadEndpoint,
    WorkloadEntry,
)
from mizzen.model.world import Object
from mizzen.names import ObjectKey
from tests.support.worlds_gateways import gateways, passing_gateways, secrets
from tests.support.worlds_namespaces import MESHES_BY_NAMESPACE, as_written, namespaces
from tests.support.worlds_routing import virtual_services

NAMESPACES: Final = ("shop", "bank", "istio-system")
NAMES: Final = ("web", "cart", "db")
HOSTS: Final = (
    "web",
    "cart",
    "cart.shop.svc.cluster.local",
    "db.bank.svc.cluster.local",
    "api.example.com",
    # Literally this, not the Service's short form: the two contend for one domain.
    "cart.shop",
    "*.example.com",
    "*.shop.svc.cluster.local",
)
_APP_LABELS: Final = (
    labels({"app": "web", "version": "v1", "security.istio.io/tlsMode": "istio"}),
    labels({"app": "web", "version": "v2"}),
    labels({"app": "cart", "security.istio.io/tlsMode": "istio"}),
    labels({"istio": "ingressgateway", "gateway.networking.k8s.io/gateway-name": "edge"}),
)
_PLACED_LABELS: Final = tuple(
    labels({"app": "web", "version": "v1", "topology.istio.io/locality": place})
    for place in ("eu.a", "eu.b.1", "us.a")
)
_SELECTORS: Final = (
    labels({"app": "web"}),
    labels({"app": "cart"}),
    labels({"version": "v1"}),
    labels({"istio": "ingressgateway"}),
)
_AUTHORIZERS: Final = (
    Authorizer(name="council", host="web.shop.svc.cluster.local", port=80, http=HttpCheck()),
    Authorizer(name="judge", host="cart.bank.svc.cluster.local", namespace="bank", port=8080),
)
_ADDRESSES: Final = tuple(f"10.0.0.{number}" for number in range(1, 7))
_EXPORTS: Final = tuple(ExportTo(e) for e in (("*",), (".",), ("bank",), ("~",)))

PROXIES: Final = (
    *tuple(
        NodeInfo(
            id=f"sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local",
            kind=ProxyKind.SIDECAR,
            ip=ip,
            name=name,
            namespace=namespace,
            labels=app,
            has_local_cluster=keeps,
        )
        for ip, name, namespace, app, keeps in (
            ("10.0.0.1", "web", "shop", _APP_LABELS[0], True),
            ("10.0.0.2", "cart", "bank", _APP_LABELS[2], False),
            ("10.0.9.9", "stranger", "shop", NO_LABELS, True),
        )
    ),
    NodeInfo(
        id="router~10.0.0.4~gate.istio-system~istio-system.svc.cluster.local",
        kind=ProxyKind.ROUTER,
        ip="10.0.0.4",
        name="gate",
        namespace="istio-system",
        labels=_APP_LABELS[3],
        locality=Locality(region="eu", zone="a"),
        has_local_cluster=True,
    ),
)

_namespaces = st.sampled_from(NAMESPACES)
_names = st.sampled_from(NAMES)
_hosts = st.sampled_from(HOSTS)
_exports = st.sampled_from(_EXPORTS)
_selectors = st.sampled_from(_SELECTORS)
_port_numbers = st.sampled_from((80, 8080, 9000))


def _metas(kind: str) -> st.SearchStrategy[Meta]:
    return st.builds(
        Meta,
        kind=st.just(kind),
        namespace=_namespaces,
        name=_names,
        created_s=st.sampled_from((0.0, 1.0, 2.0)),
    )


_ports = st.lists(
    st.builds(
        ServicePort,
        name=st.sampled_from(("http", "tcp", "any")),
        number=_port_numbers,
        protocol=st.sampled_from(
            (Protocol.HTTP, Protocol.GRPC, Protocol.TCP, Protocol.TLS, Protocol.UNSET)
        ),
        target=st.sampled_from((None, 8080, "main")),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda port: port.number,
).map(tuple)

_services = st.builds(
    Service,
    meta=_metas("Service"),
    ports=_ports,
    cluster_ips=st.sampled_from((("10.96.0.1",), ("10.96.0.2",), ())),
    headless=st.booleans(),
    selector=_selectors,
    export_to=_exports,
    external_name=st.sampled_from(("", "", "", "api.example.com", "cart.shop.svc.cluster.local")),
    distribution=st.sampled_from((None, None, None, *Distribution)),
).map(lambda s: s if s.headless != bool(s.cluster_ips) else _fixed(s))


def _fixed(service: Service) -> Service:
    """Make headless and having an address exclude each other."""
    return replace(service, cluster_ips=() if service.headless else ("10.96.0.3",))


_slices = st.builds(
    EndpointSlice,
    meta=_metas("EndpointSlice"),
    service=_names,
    ports=st.sampled_from(((("http", 8080), ("tcp", 9000)), (("any", 8080),))),
    endpoints=st.lists(
        st.builds(
            SliceEndpoint,
            addresses=st.sampled_from((*_ADDRESSES, "fd00::1")).map(lambda address: (address,)),
            ready=st.booleans(),
            terminating=st.sampled_from((False, False, True)),
            pod=st.sampled_from(("", *NAMES)),
        ),
        max_size=3,
    ).map(tuple),
)


def _ips(four: str, versions: int) -> tuple[str, ...]:
    six = f"fd00::{four.rpartition('.')[2]}"
    return {4: (four,), 6: (six,), 46: (four, six)}[versions]


_notes = st.sampled_from(
    (
        NO_LABELS,
        labels({"sidecar.mizzen.dev/dnsCapture": "true"}),
        labels({"sidecar.istio.io/interceptionMode": "NONE"}),
    )
)
_pods = st.builds(
    Pod,
    meta=st.builds(
        Meta,
        kind=st.just("Pod"),
        annotations=_notes,
        namespace=_namespaces,
        name=st.sampled_from((*NAMES, "gate")),
        labels=st.sampled_from((*_APP_LABELS, *_PLACED_LABELS)),
    ),
    ips=st.builds(_ips, st.sampled_from(_ADDRESSES), st.sampled_from((4, 4, 6, 46))),
    node=st.sampled_from(("", "n1")),
    service_account=st.sampled_from(("default", "robot")),
    ports=st.just((ContainerPort(name="main", number=8080),)),
    edge=st.sampled_from((None, None, Edge(max_streams=5, trusted_hops=1))),
    is_ending=st.sampled_from((False, False, True)),
)
_nodes = st.builds(
    Node,
    meta=st.builds(Meta, kind=st.just("Node"), namespace=st.just(""), name=st.just("n1")),
    region=st.sampled_from(("", "eu")),
    zone=st.sampled_from(("a", "b")),
)
_virtual_services = virtual_services(
    meta=_metas("VirtualService"), hosts=_hosts, export_to=_exports, names=NAMES, of=HOSTS[:5]
)
_port_policies = st.builds(
    PortPolicy,
    load_balancer=st.sampled_from(
        (
            None,
            LoadBalancer(simple=SimpleLb.ROUND_ROBIN),
            LoadBalancer(simple=SimpleLb.PASSTHROUGH),
            LoadBalancer(consistent_hash=ConsistentHash(http_header_name="user")),
            LoadBalancer(locality=LocalityLb(enabled=False)),
            LoadBalancer(locality=LocalityLb(failover=(("eu", "us"),))),
            LoadBalancer(locality=LocalityLb(failover_priority=("version", "app=web"))),
            LoadBalancer(locality=LocalityLb(distribute=(("eu/*", (("eu/a", 60), ("*", 40))),))),
            LoadBalancer(zones=ZoneLb(failover=(("eu", "us"),), minimum=2)),
            LoadBalancer(zones=ZoneLb(failover_priority=("version",))),
            LoadBalancer(zones=ZoneLb(enabled=False)),
        )
    ),
    connection_pool=st.sampled_from((None, ConnectionPool(max_connections=5))),
    outlier_detection=st.sampled_from(
        (None, OutlierDetection(min_health_percent=2), OutlierDetection(http_error_codes=(429,)))
    ),
    tls=st.sampled_from(
        (
            None,
            None,
            *(ClientTls(mode=mode) for mode in TlsMode if mode is not TlsMode.MUTUAL),
            ClientTls(mode=TlsMode.MUTUAL, certificate="/c", key="/k", roots="/r", revoked="/x"),
            ClientTls(mode=TlsMode.SIMPLE, credential_name="one"),
            ClientTls(mode=TlsMode.MUTUAL, credential_name="two"),
        )
    ),
)
_policies = st.none() | st.builds(
    TrafficPolicy,
    base=_port_policies,
    ports=st.sampled_from(((), ((80, PortPolicy(tls=ClientTls(mode=TlsMode.DISABLE))),))),
    tunnel=st.sampled_from((None, None, Tunnel(target="proxy:443"))),
    proxy_protocol=st.sampled_from((None, None, ProxyProtocol.V2)),
)


def _for_some_at_home(rule: DestinationRule) -> DestinationRule:
    """Make what is for some clients visible in its own namespace alone, as it is read."""
    return rule if rule.selector is None else replace(rule, export_to=ExportTo((".",)))


_rules = st.builds(
    DestinationRule,
    meta=_metas("DestinationRule"),
    host=_hosts,
    policy=_policies,
    subsets=st.lists(
        st.builds(
            Subset,
            name=st.sampled_from(("v1", "v2")),
            labels=st.sampled_from((labels({"version": "v1"}), labels({"version": "v2"}))),
            policy=_policies,
        ),
        max_size=2,
        unique_by=lambda subset: subset.name,
    ).map(tuple),
    export_to=_exports,
    selector=st.sampled_from((None, None, NO_LABELS, *_SELECTORS)),
).map(_for_some_at_home)


_gateways = gateways(meta=_metas("Gateway"), selectors=_selectors)
_endpoints = st.builds(
    WorkloadEndpoint,
    address=st.sampled_from((*_ADDRESSES, "vm.lan", "unix:///vm")),
    labels=st.sampled_from(_APP_LABELS),
    ports=st.sampled_from(((), (("http", 7000),))),
    service_account=st.sampled_from(("", "vm")),
    locality=st.sampled_from(("", "eu/a")),
)
_entries = st.builds(
    ServiceEntry,
    meta=_metas("ServiceEntry"),
    hosts=st.sampled_from(
        (
            ("api.example.com",),
            ("web.shop.svc.cluster.local", "x.example.com"),
            ("cart.shop",),
            ("*.example.com",),
        )
    ),
    addresses=st.sampled_from(((), ("240.0.0.1",), ("10.96.0.1",), ("10.5.0.0/16",))),
    ports=_ports,
    external=st.booleans(),
    resolution=st.sampled_from((Resolution.STATIC, *Resolution)),
    endpoints=st.lists(_endpoints, max_size=2).map(tuple),
    selector=st.sampled_from((None, None, *_SELECTORS[:2])),
    export_to=_exports,
)
_workload_entries = st.builds(WorkloadEntry, meta=_metas("WorkloadEntry"), endpoint=_endpoints)
_peer_authentications = st.builds(
    PeerAuthentication,
    meta=_metas("PeerAuthentication"),
    selector=st.none() | _selectors,
    mode=st.sampled_from(tuple(MtlsMode)),
    port_modes=st.sampled_from(((), ((8080, MtlsMode.DISABLE),), ((9999, MtlsMode.STRICT),))),
)
_targets = st.sampled_from(
    (
        *((), (), ()),
        (Target(kind="Service", name="web"), Target(kind="ServiceEntry", name="cart")),
        (Target(kind="Gateway", name="edge"),),
        (Target(kind="GatewayClass", name="istio-waypoint"),),
    )
)
_authorization_policies = st.builds(
    AuthorizationPolicy,
    meta=_metas("AuthorizationPolicy"),
    selector=st.just(NO_LABELS) | _selectors,
    action=st.sampled_from((PolicyAction.ALLOW, PolicyAction.DENY, PolicyAction.CUSTOM)),
    provider=st.sampled_from(("judge", "council", "nobody")),
    targets=_targets,
    rules=st.lists(
        st.builds(
            Rule,
            sources=st.sampled_from(
                (
                    (),
                    (Source(namespaces=("shop",), not_ip_blocks=("10.1.0.0/16",)),),
                    (Source(request_principals=("a.example/*",)),),
                    (Source(principals=("cluster.local/ns/shop/sa/web",)),),
                )
            ),
            operations=st.sampled_from(((), (Operation(paths=("/x*",), methods=("GET",)),))),
            conditions=st.sampled_from(
                (
                    (),
                    (Condition(key="destination.port", values=("80",)),),
                    (Condition(key="request.auth.claims[iss]", values=("b.example",)),),
                )
            ),
        ),
        max_size=2,
    ).map(tuple),
)
_request_authentications = st.builds(
    RequestAuthentication,
    meta=_metas("RequestAuthentication"),
    targets=_targets,
    selector=st.just(NO_LABELS) | _selectors,
    rules=st.lists(
        st.builds(
            JwtRule,
            issuer=st.sampled_from(("a.example", "b.example")),
            jwks_uri=st.sampled_from(
                (
                    "",
                    "http://web.shop.svc.cluster.local/keys",
                    "https://api.example.com:8080/keys",
                    "https://issuer.example/keys",
                )
            ),
        ),
        max_size=2,
    ).map(tuple),
)
_issuer_keys = st.builds(
    IssuerKeys,
    meta=st.sampled_from(("a.example", "b.example")).map(issuer_meta),
    jwks_uri=st.sampled_from(
        ("", "https://issuer.example/keys", "http://web.shop.svc.cluster.local/")
    ),
    failure=st.sampled_from(("", "nobody there")),
)
_imports = st.builds(
    Import,
    namespace=st.sampled_from(("*", *NAMESPACES)),
    host=st.sampled_from(("*", "*.shop.svc.cluster.local", *HOSTS[2:5])),
    excluded=st.sampled_from((False, False, True)),
)
_sidecars = st.builds(
    Sidecar,
    meta=_metas("Sidecar"),
    selector=st.just(NO_LABELS) | _selectors,
    egress=st.lists(
        st.builds(
            Egress,
            port=st.sampled_from((None, None, 80)),
            hosts=st.lists(_imports, max_size=2).map(tuple),
            bind=st.sampled_from(("", "", "127.0.0.2")),
            captured=st.sampled_from((True, True, False)),
        )
        | st.builds(
            Egress,
            port=st.just(0),
            hosts=st.lists(_imports, max_size=2).map(tuple),
            bind=st.just("unix:///run/web"),
        ),
        max_size=2,
    ).map(tuple),
    ingress=st.sampled_from(
        (
            (),
            (),
            (Ingress(port=8080, protocol=Protocol.HTTP, endpoint="127.0.0.1:80"),),
            (Ingress(port=9000, protocol=Protocol.TCP, own_port=9001),),
            (
                Ingress(
                    port=8080,
                    protocol=Protocol.HTTP,
                    endpoint="127.0.0.1:80",
                    free_bind="127.0.0.1",
                ),
            ),
            (
                Ingress(
                    port=8080,
                    protocol=Protocol.HTTPS,
                    tls=ServerTls(
                        mode=ServerTlsMode.MUTUAL,
                        files=(CertificateFiles(certificate="/c", key="/k"),),
                        ca_file="/ca",
                    ),
                ),
            ),
            (Ingress(port=80, protocol=Protocol.HTTP, endpoint="127.0.0.1:8080", bind="0.0.0.0"),),
        )
    ),
    inbound_pool=st.sampled_from((None, ConnectionPool(max_connections=7))),
    outbound=st.sampled_from(
        (
            None,
            OutboundPolicy(registry_only=True),
            OutboundPolicy(registry_only=False),
            OutboundPolicy(
                registry_only=False,
                egress_proxy=EgressProxy(host="cart.shop.svc.cluster.local", port=80),
            ),
        )
    ),
)
_config_maps = st.builds(
    ConfigMap,
    meta=st.builds(
        Meta,
        kind=st.just("ConfigMap"),
        namespace=st.sampled_from(("istio-system", "shop")),
        name=st.sampled_from(("istio", "mizzen")),
    ),
    mesh=st.sampled_from(
        (
            None,
            MeshConfig(registry_only=True),
            MeshConfig(automatic_mtls=False, loopback=True, paths=Paths.MERGE_SLASHES),
            MeshConfig(
                retries=Retries(attempts=0),
                inbound_retries=Retries(attempts=1, retry_on="reset"),
                dns_refresh=timedelta(seconds=5),
                detection=timedelta(seconds=1),
                server_tls=TlsLimits(version="TLSV1_3"),
                gateway_tls=TlsLimits(version="TLSV1_3", curves=("X25519",)),
            ),
            MeshConfig(
                connection_pool=ConnectionPool(max_connections=3),
                outlier_detection=OutlierDetection(consecutive_5xx_errors=2),
                upgrades=True,
            ),
            MeshConfig(locality=LocalityLb(enabled=False)),
            MeshConfig(zones=ZoneLb()),
            MeshConfig(authorizers=_AUTHORIZERS),
            MeshConfig(authorizers=_AUTHORIZERS[:1]),
            MeshConfig(connect_timeout=timedelta(seconds=3), trust_domain_aliases=("old",)),
            *MESHES_BY_NAMESPACE,
        )
    ),
)

objects: Final[st.SearchStrategy[Object]] = st.one_of(
    as_written(_services),
    _slices,
    _pods,
    _nodes,
    namespaces(NAMESPACES),
    as_written(_virtual_services),
    as_written(_rules),
    _gateways,
    secrets(NAMESPACES),
    as_written(_entries),
    _workload_entries,
    _peer_authentications,
    _authorization_policies,
    _request_authentications,
    _issuer_keys,
    _sidecars,
    _config_maps,
)
# An edit: an object to set, or the place among the known keys (by remainder) of one to delete.
edits: Final[st.SearchStrategy[Object | int]] = objects | st.integers(0, 99)


# Edits of what matters to routers that pass mutual TLS on.
passing_edits: Final[st.SearchStrategy[Object | int]] = st.one_of(
    passing_gateways(meta=_metas("Gateway"), selector=_SELECTORS[3]),
    as_written(_services),
    as_written(_entries),
    as_written(_rules),
    _slices,
    _pods,
    _workload_entries,
    _peer_authentications,
    st.integers(0, 99),
)


def batch_of(
    chosen: list[Object | int], known: dict[ObjectKey, Object]
) -> dict[ObjectKey, Object | None]:
    """Apply edits to ``known`` and return them as the changes of one batch."""
    changes: dict[ObjectKey, Object | None] = {}
    for edit in chosen:
        if not isinstance(edit, int):
            known[edit.meta.key] = edit
            changes[edit.meta.key] = edit
        elif known:
            gone = sorted(known)[edit % len(known)]
            del known[gone]
            changes[gone] = None
    return changes


__all__ = ["PROXIES", "Labels", "batch_of", "edits", "objects", "passing_edits"]
