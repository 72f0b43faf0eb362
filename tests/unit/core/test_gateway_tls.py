"""How a router's servers end TLS: what they show, what they ask of clients, and which do not serve."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from mizzen.compile import gateway_listener_tables
from mizzen.ir import (
    CertificateOnDisk,
    GatewayChain,
    HeldCertificate,
    HeldRoots,
    HeldSecret,
    RootsOnDisk,
    TcpProxy,
    TlsEnd,
)
from mizzen.model.gateway import TlsVersion
from mizzen.model.meta import labels
from mizzen.model.proxy import Workload
from mizzen.resolve.credentials import granted
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.gateway_tls import gateway_wishes
from mizzen.resolve.gateways import gateway_hosts, gateway_tables
from tests.support.certificates import secret
from tests.support.small_mesh import SmallMesh, host, istio, key, pod, service

GATE: Final = Workload(namespace="ingress", labels=labels({"app": "gate"}), is_known=True)
PEM: Final = "-----BEGIN CERTIFICATE-----"
CERTIFICATE: Final = {"tls__crt": PEM, "tls__key": "-----BEGIN PRIVATE KEY-----"}
HTTP: Final = ("h2", "http/1.1")
ROUTES: Final = "https.443.https.door.ingress"


def server(tls: str, *hosts: str, protocol: str = "HTTPS", name: str = "https") -> str:
    names = ", ".join(repr(one) for one in hosts or ("a.example.com",))
    port = f"{{number: 443, name: {name}, protocol: {protocol}}}"
    return f"{{port: {port}, hosts: [{names}], tls: {{{tls}}}}}"


def gateway(*servers: str, name: str = "door", age: int = 0) -> str:
    lines = "\n".join(f"- {one}" for one in servers)
    spec = f"selector: {{app: gate}}\nservers:\n{lines}"
    return istio("Gateway", name, spec, namespace="ingress", age=age)


def chains(*objects: str, workload: Workload = GATE) -> list[GatewayChain]:
    found = gateway_listeners(SmallMesh(*objects).db, workload)
    return [chain for listener in found for chain in listener.chains]


def secrets(mesh: SmallMesh, workload: Workload = GATE) -> list[HeldSecret]:
    found = (granted(mesh.db, wish) for wish in gateway_wishes(mesh.db, workload))
    return sorted((held for held in found if held), key=lambda held: held.name)


SIMPLE: Final = "mode: SIMPLE, credentialName: web"
ENDED: Final = TlsEnd(certificates=("kubernetes://web",), protocols=HTTP)
WEB: Final = secret("web", "ingress", **CERTIFICATE)
WITH_ROOTS: Final = secret("web", "ingress", **CERTIFICATE, ca__crt=PEM)


def test_requests_of_a_server_that_ends_tls_have_routes_of_their_own() -> None:
    """Its connections are its hosts', without the namespaces that may route them."""
    found = chains(WEB, gateway(server(SIMPLE, "shop/a.example.com", "*.B.example.com")))
    assert found == [
        GatewayChain(server_names=("a.example.com", "*.b.example.com"), end=ENDED, routes=ROUTES)
    ]


def test_any_host_is_any_server_name_or_none() -> None:
    """Whatever other hosts are written beside."""
    (found,) = chains(WEB, gateway(server(SIMPLE, "a.example.com", "*")))
    assert (found.server_names, found.tls, found.end) == ((), False, ENDED)


ASKING: Final = replace(ENDED, asks=True, demands=True)
FILES: Final = ("file-cert:/t/c~/t/k",)


@pytest.mark.parametrize(
    ("tls", "end"),
    [
        ("mode: MUTUAL, credentialName: web", replace(ASKING, roots="kubernetes://web-cacert")),
        (
            "mode: MUTUAL, credentialName: web, caCertCredentialName: more",
            replace(ASKING, roots="kubernetes://more-cacert"),
        ),
        (
            "mode: OPTIONAL_MUTUAL, credentialName: web",
            replace(ASKING, roots="kubernetes://web-cacert", demands=False),
        ),
        (
            "mode: MUTUAL, credentialNames: [web, more], subjectAltNames: [spiffe://a/b]",
            replace(
                ASKING,
                certificates=("kubernetes://web", "kubernetes://more"),
                roots="kubernetes://web-cacert",
                subject_alt_names=("spiffe://a/b",),
            ),
        ),
        (
            "mode: MUTUAL, serverCertificate: /t/c, privateKey: /t/k, caCertificates: /t/ca, caCrl: /t/r",
            replace(ASKING, certificates=FILES, roots="file-root:/t/ca~/t/r"),
        ),
        (
            "mode: MUTUAL, serverCertificate: /t/c, privateKey: /t/k, insecureSkipVerify: true",
            replace(ASKING, certificates=FILES, insecure_skip_verify=True),
        ),
        ("mode: ISTIO_MUTUAL", replace(ASKING, certificates=("default",), roots="ROOTCA")),
    ],
)
def test_clients_are_asked_for_certificates(tls: str, end: TlsEnd) -> None:
    """And verified with the roots that go with the certificate, unless others are named."""
    more = secret("more", "ingress", **CERTIFICATE, cacert=PEM)
    (found,) = chains(WITH_ROOTS, more, gateway(server(tls)))
    assert found.end == end


@pytest.mark.parametrize(
    ("tls", "versions"),
    [
        ("", (TlsVersion.V1_2, TlsVersion.V1_3)),
        ("minProtocolVersion: TLSV1_3", (TlsVersion.V1_3, TlsVersion.V1_3)),
        ("minProtocolVersion: TLSV1_0", (TlsVersion.V1_0, TlsVersion.V1_3)),
        ("maxProtocolVersion: TLSV1_1", (TlsVersion.V1_1, TlsVersion.V1_1)),
        ("maxProtocolVersion: TLS_AUTO", (TlsVersion.V1_2, TlsVersion.V1_3)),
    ],
)
def test_versions_that_are_not_said_are_safe_ones(
    tls: str, versions: tuple[TlsVersion, TlsVersion]
) -> None:
    """From 1.2 on, unless what is said goes below."""
    (found,) = chains(WEB, gateway(server(f"{SIMPLE}, {tls}")))
    assert found.end is not None
    assert (found.end.min_version, found.end.max_version) == versions


def test_what_servers_do_not_say_the_mesh_says() -> None:
    """``tlsDefaults``; what is said goes first."""
    defaults = (
        "{minProtocolVersion: TLSV1_3, ecdhCurves: [P-256], cipherSuites: [AES128-GCM-SHA256]}"
    )
    config = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: mizzen, namespace: istio-system}}
data: {{mesh: "tlsDefaults: {defaults}"}}
"""
    (found,) = chains(WEB, config, gateway(server(SIMPLE)))
    assert found.end is not None
    assert (found.end.min_version, found.end.curves) == (TlsVersion.V1_3, ("P-256",))
    assert found.end.ciphers == ("AES128-GCM-SHA256",)
    said = "minProtocolVersion: TLSV1_2, cipherSuites: [AES256-GCM-SHA384]"
    (found,) = chains(WEB, config, gateway(server(f"{SIMPLE}, {said}")))
    assert found.end is not None
    assert (found.end.min_version, found.end.ciphers) == (TlsVersion.V1_2, ("AES256-GCM-SHA384",))


def test_bytes_come_out_of_tls_too() -> None:
    """They go where the rule of ``tcp`` says; without one the server does not listen."""
    db = service("db", "tcp:3306")
    route = "{route: [{destination: {host: db, port: {number: 3306}}}]}"
    spec = f"hosts: [a.example.com]\ngateways: [ingress/door]\ntcp: [{route}]"
    tls = gateway(server(SIMPLE, protocol="TLS"))
    assert chains(WEB, db, tls) == []
    assert chains(WEB, db, tls, istio("VirtualService", "v", spec)) == [
        GatewayChain(
            server_names=("a.example.com",),
            end=replace(ENDED, protocols=()),
            tcp=TcpProxy(cluster=f"outbound|3306||{host('db')}"),
        )
    ]


def test_a_server_name_is_of_one_server() -> None:
    """Of the oldest Gateway's; the other hosts of the later one go on being its own."""
    first = gateway(server(SIMPLE, "a.example.com"), name="first", age=1)
    second = gateway(server(SIMPLE, "a.example.com", "b.example.com"), name="second", age=2)
    third = gateway(server(SIMPLE, "a.example.com"), name="third", age=3)
    router = pod("10.0.9.1", "gate", namespace="ingress", mtls=False)
    mesh = SmallMesh(WEB, third, second, first, router)
    (listener,) = gateway_listeners(mesh.db, GATE)
    assert [(chain.server_names, chain.routes) for chain in listener.chains] == [
        (("a.example.com",), "https.443.https.first.ingress"),
        (("b.example.com",), "https.443.https.second.ingress"),
    ]
    path = "spec.servers[0].hosts"
    assert mesh.findings() == [
        ("MZ0420", f"Gateway ingress/{name}", path) for name in ("first", "second", "third")
    ]
    assert mesh.messages() == [
        "a.example.com on port 443 is of this server, not of Gateway ingress/second, Gateway ingress/third",
        "a.example.com on port 443 is of Gateway ingress/first, which goes first",
        "a.example.com on port 443 is of Gateway ingress/first, which goes first",
    ]


def test_plain_text_and_tls_do_not_share_a_port() -> None:
    """The oldest says which of the two it is; TLS that ends and TLS that does not go together."""
    plain = "{port: {number: 443, name: p, protocol: HTTP}, hosts: ['*']}"
    mesh = SmallMesh(WEB, gateway(server(SIMPLE)), gateway(plain, name="late", age=9))
    (listener,) = gateway_listeners(mesh.db, GATE)
    assert [chain.routes for chain in listener.chains] == [ROUTES]
    rule = "{match: [{sniHosts: [b.example.com]}], route: [{destination: {host: db}}]}"
    spec = f"hosts: [b.example.com]\ngateways: [ingress/door]\ntls: [{rule}]"
    through = server("mode: PASSTHROUGH", "b.example.com", name="through")
    both = gateway(server(SIMPLE), through)
    found = chains(WEB, both, service("db", "tls:443"), istio("VirtualService", "v", spec))
    assert [(chain.server_names, chain.end is None) for chain in found] == [
        (("a.example.com",), False),
        (("b.example.com",), True),
    ]


@pytest.mark.parametrize(
    ("tls", "objects", "path", "message"),
    [
        (SIMPLE, (), "credentialName", "there is no Secret ingress/web, where the gateway runs"),
        (
            SIMPLE,
            (secret("web", "ingress", tls__crt=PEM),),
            "credentialName",
            "Secret ingress/web has no tls.crt with tls.key, in PEM",
        ),
        (
            "mode: SIMPLE, credentialNames: [web, more]",
            (WEB,),
            "credentialNames[1]",
            "there is no Secret ingress/more, where the gateway runs",
        ),
        (
            "mode: MUTUAL, credentialName: web",
            (WEB,),
            "credentialName",
            "neither Secret ingress/web-cacert nor ingress/web has ca.crt, in PEM, to verify clients with",
        ),
        (
            "mode: MUTUAL, credentialName: web, caCertCredentialName: more",
            (WITH_ROOTS,),
            "caCertCredentialName",
            "neither Secret ingress/more-cacert nor ingress/more has ca.crt, in PEM, to verify clients with",
        ),
    ],
)
def test_a_server_without_its_credential_does_not_serve(
    tls: str, objects: tuple[str, ...], path: str, message: str
) -> None:
    """The others of its port do; what is missing is told of."""
    router = pod("10.0.9.1", "gate", namespace="ingress", mtls=False)
    other = secret("other", "ingress", **CERTIFICATE)
    beside = server("mode: SIMPLE, credentialName: other", "b.example.com", name="beside")
    mesh = SmallMesh(*objects, router, other, gateway(server(tls), beside))
    (listener,) = gateway_listeners(mesh.db, GATE)
    assert [chain.server_names for chain in listener.chains] == [("b.example.com",)]
    assert listener.awaits
    assert mesh.findings() == [("MZ0320", "Gateway ingress/door", f"spec.servers[0].tls.{path}")]
    assert mesh.messages() == [message]


def test_a_port_waits_for_its_secrets() -> None:
    """It is there though nobody serves it yet, so that who serves it already goes on until they come."""
    asking = "mode: MUTUAL, credentialName: web"
    mesh = SmallMesh(gateway(server(asking)))
    (listener,) = gateway_listeners(mesh.db, GATE)
    assert listener.chains == (GatewayChain(),)
    assert listener.awaits == {"kubernetes://web", "kubernetes://web-cacert"}
    listeners, _routes = gateway_listener_tables(mesh.db, GATE)
    assert listeners["0.0.0.0_443"].requires == listener.awaits
    mesh.apply(WITH_ROOTS)
    (listener,) = gateway_listeners(mesh.db, GATE)
    assert [chain.routes for chain in listener.chains] == [ROUTES]
    assert not listener.awaits


def test_nothing_is_awaited_for_a_router_that_is_not_known() -> None:
    """It will never get what it lacks, so it does not listen."""
    mesh = SmallMesh(gateway(server(SIMPLE)))
    assert gateway_listeners(mesh.db, replace(GATE, is_known=False)) == ()


def test_without_a_selector_a_gateways_own_namespace_counts() -> None:
    """Every workload is selected, and nearly all of them are no gateways."""
    everyone = gateway(server(SIMPLE)).replace("selector: {app: gate}", "selector: {}")
    mesh = SmallMesh(pod("10.0.9.2", "web", namespace="shop"), everyone)
    assert mesh.findings() == []
    mesh.apply(pod("10.0.9.1", "gate", namespace="ingress", mtls=False))
    path = "spec.servers[0].tls.credentialName"
    assert mesh.findings() == [("MZ0320", "Gateway ingress/door", path)]


def test_secrets_are_for_routers_that_are_known() -> None:
    """What a proxy says of itself anybody could say."""
    stranger = replace(GATE, is_known=False)
    own = server("mode: ISTIO_MUTUAL", "b.example.com", name="own")
    mesh = SmallMesh(WEB, gateway(server(SIMPLE), own))
    assert secrets(mesh, stranger) == []
    (listener,) = gateway_listeners(mesh.db, stranger)
    assert [chain.server_names for chain in listener.chains] == [("b.example.com",)]
    (held,) = secrets(mesh)
    assert held.name == "kubernetes://web"


def test_secrets_are_those_of_servers_that_listen() -> None:
    """Each once, with the Secret and all Gateways that wish for it; the mesh's own are not among them."""
    files = "mode: MUTUAL, tlsCertificates: [{serverCertificate: /t/c, privateKey: /t/k}], caCertificates: /t/ca"
    mesh = SmallMesh(
        WITH_ROOTS,
        gateway(server("mode: MUTUAL, credentialName: web"), name="one"),
        gateway(
            server(SIMPLE, "b.example.com"),
            server(files, "c.example.com", name="files"),
            server("mode: ISTIO_MUTUAL", "d.example.com", name="own"),
            server("mode: SIMPLE, credentialName: none", "e.example.com", name="none"),
            name="two",
        ),
    )
    one, two, web = (
        key("Gateway", "one", "ingress"),
        key("Gateway", "two", "ingress"),
        key("Secret", "web", "ingress"),
    )
    found = secrets(mesh)
    assert [(type(held), held.name, held.origins) for held in found] == [
        (CertificateOnDisk, "file-cert:/t/c~/t/k", (two,)),
        (RootsOnDisk, "file-root:/t/ca", (two,)),
        (HeldCertificate, "kubernetes://web", (one, two, web)),
        (HeldRoots, "kubernetes://web-cacert", (one, web)),
    ]


def test_a_new_certificate_changes_no_listener() -> None:
    """Connections of a listener that changes are drained; a secret's are left alone."""
    mesh = SmallMesh(WEB, gateway(server(SIMPLE)))
    before, held = gateway_listeners(mesh.db, GATE), secrets(mesh)
    mesh.apply(secret("web", "ingress", tls__crt=f"{PEM} new", tls__key=CERTIFICATE["tls__key"]))
    assert gateway_listeners(mesh.db, GATE) is before
    assert secrets(mesh) != held


def test_routes_of_a_server_are_its_hosts_alone() -> None:
    """Two servers of one port have tables of their own, whatever a VirtualService has in common with both."""
    spec = "hosts: ['*']\ngateways: [ingress/door]\nhttp: [{directResponse: {status: 200}}]"
    both = gateway(server(SIMPLE), server(SIMPLE, "b.example.com", name="other"))
    mesh = SmallMesh(WEB, both, istio("VirtualService", "v", spec))
    assert [table.name for table in gateway_tables(mesh.db, GATE)] == [
        ROUTES,
        "https.443.other.door.ingress",
    ]
    assert gateway_hosts(mesh.db, GATE) == {
        (ROUTES, "a.example.com"),
        ("https.443.other.door.ingress", "b.example.com"),
    }


def test_a_bound_server_has_the_address_in_its_name() -> None:
    """So that two addresses of one port have routes of their own."""
    bound = server(SIMPLE).replace("hosts:", "bind: 10.0.0.9, hosts:")
    (found,) = chains(WEB, gateway(bound))
    assert found.routes == f"{ROUTES}.10.0.0.9"
