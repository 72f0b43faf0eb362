"""What servers of a gateway are for: each protocol, addresses and sockets, and the way out of the mesh."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import TestAuthority, tls_secret
from tests.support.live_mesh import HUB, LiveMesh, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor, request

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_CA: Final = TestAuthority()
_OUTSIDE: Final = f"""
hosts: [far.example]
addresses: [192.0.2.9]
ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 9000, name: tcp, protocol: TCP}}]
resolution: STATIC
endpoints: [{{address: {pod_ip(14)}, ports: {{http: 8080, tcp: 9000}}}}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway in a namespace of its own, a service and a client, and a host outside of the mesh."""
    # As Istio's gateways, this one says itself what its ports take.
    gate = router("gate", 80, namespace="ingress").replace(
        "security.istio.io/tlsMode: istio", "a: b"
    )
    ports = "http:80:8080 https:443:8443 tcp:27017:27018 own:15443:15443"
    files = {
        "gate.yaml": gate + service("gate", 80, ("gate", 80), ports=ports, namespace="ingress"),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "ann.yaml": pod("ann", 2),
        "far.yaml": pod("far", 14, sidecar=False)
        + istio("ServiceEntry", "far", _OUTSIDE, namespace="test"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _gateway(*servers: str) -> str:
    spec = "selector: {istio: gate}\nservers:\n" + "\n".join(f"  - {{{one}}}" for one in servers)
    return istio("Gateway", "gate", spec, namespace="ingress")


def _bound(rules: str, hosts: str = "'*'", gateways: str = "ingress/gate") -> str:
    spec = f"hosts: [{hosts}]\ngateways: [{gateways}]\n{rules}"
    return istio("VirtualService", "rules", spec, namespace="test")


_TO_WEB: Final = "route: [{destination: {host: web, port: {number: 80}}}]"


@pytest.mark.parametrize("protocol", ["HTTP", "HTTP2", "GRPC", "GRPC-WEB", "http"])
def test_requests_come_by_any_protocol_of_http(mesh: LiveMesh, protocol: str) -> None:
    """Version 1.1 as well: what a client speaks is found out."""
    server = f"port: {{number: 80, name: web, protocol: {protocol}}}, hosts: ['*']"
    with mesh.having(_gateway(server), _bound(f"http: [{{{_TO_WEB}}}]")):
        reply = mesh.call(HUB, "http://web.example.org:8080/", at=_GATE)
    assert (reply.status, reply.seen["service"]) == (200, "web")


@pytest.mark.parametrize("protocol", ["TCP", "MONGO", "REDIS", "MYSQL"])
def test_protocols_say_what_is_done(mesh: LiveMesh, protocol: str) -> None:
    """What is neither HTTP nor TLS goes on as bytes."""
    server = f"port: {{number: 27017, name: db, protocol: {protocol}}}, hosts: ['*']"
    to_web = "route: [{destination: {host: web, port: {number: 9000}}}]"
    with mesh.having(_gateway(server), _bound(f"tcp: [{{{to_web}}}]")):
        assert mesh.tcp(HUB, _GATE, 27018).startswith(b"web:")


def test_a_server_may_be_bound(mesh: LiveMesh) -> None:
    """To an address of the pod's, and then it is nowhere else."""
    server = "port: {{number: 80, name: web, protocol: HTTP}}, hosts: ['*'], bind: {}"
    found = []
    for address in (_GATE, "127.0.0.1"):
        with mesh.having(_gateway(server.format(address)), _bound(f"http: [{{{_TO_WEB}}}]")):
            found.append(mesh.call(HUB, "http://web.example.org:8080/", at=_GATE).status)
    assert found == [200, 0]


def test_a_server_may_be_bound_to_a_socket(mesh: LiveMesh) -> None:
    """For whoever shares the gateway's files."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        path = f"{folder}/gate.sock"
        server = (
            f"port: {{number: 0, name: web, protocol: HTTP}}, hosts: ['*'], bind: 'unix://{path}'"
        )
        with (
            mesh.having(_gateway(server), _bound(f"http: [{{{_TO_WEB}}}]")),
            socket.socket(socket.AF_UNIX) as made,
        ):
            made.connect(path)
            reply = request(made, "web.example.org")
    assert (reply.status, reply.seen["service"]) == (200, "web")


def test_requests_leave_by_a_gateway(mesh: LiveMesh) -> None:
    """Over the mesh's own TLS, which ends there: the gateway knows who comes, and the far host who asked."""
    server = "port: {number: 443, name: out, protocol: HTTPS}, hosts: [far.example], tls: {mode: ISTIO_MUTUAL}"
    rule = istio(
        "DestinationRule",
        "gate",
        "host: gate.ingress.svc.cluster.local\nsubsets:\n- name: far\n"
        "  trafficPolicy:\n    portLevelSettings:\n    - port: {number: 443}\n"
        "      tls: {mode: ISTIO_MUTUAL, sni: far.example}",
        namespace="test",
    )
    routes = _bound(
        """
http:
- match: [{gateways: [mesh], port: 80}]
  route: [{destination: {host: gate.ingress.svc.cluster.local, subset: far, port: {number: 443}}}]
- match: [{gateways: [ingress/gate], port: 443}]
  route: [{destination: {host: far.example, port: {number: 80}}}]
""",
        "far.example",
        "mesh, ingress/gate",
    )
    policy = istio(
        "AuthorizationPolicy",
        "ann",
        "selector: {matchLabels: {istio: gate}}\n"
        "rules: [{from: [{source: {principals: [cluster.local/ns/test/sa/ann]}}]}]",
        namespace="ingress",
    ).replace("networking.istio.io", "security.istio.io")
    with mesh.having(_gateway(server), rule, routes, policy):
        reply = mesh.call("ann", "http://far.example/path", at="192.0.2.9")
        other = mesh.call("web", "http://far.example/path", at="192.0.2.9")
    assert (reply.status, reply.pod, reply.seen["path"]) == (200, "far", "/path")
    assert reply.seen["headers"]["host"] == "far.example"
    assert (
        "URI=spiffe://cluster.local/ns/test/sa/ann"
        in reply.seen["headers"]["x-forwarded-client-cert"]
    )
    assert other.status == 403


def test_bytes_leave_by_a_gateway(mesh: LiveMesh) -> None:
    """A server of TLS that ends the mesh's own sends on what the rule of ``tcp`` says."""
    server = "port: {number: 15443, name: out, protocol: TLS}, hosts: [far.example], tls: {mode: ISTIO_MUTUAL}"
    rule = istio(
        "DestinationRule",
        "gate",
        "host: gate.ingress.svc.cluster.local\nsubsets:\n- name: far\n"
        "  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: far.example}}",
        namespace="test",
    )
    routes = _bound(
        """
tcp:
- match: [{gateways: [mesh], port: 9000}]
  route: [{destination: {host: gate.ingress.svc.cluster.local, subset: far, port: {number: 15443}}}]
- match: [{gateways: [ingress/gate], port: 15443}]
  route: [{destination: {host: far.example, port: {number: 9000}}}]
""",
        "far.example",
        "mesh, ingress/gate",
    )
    with mesh.having(_gateway(server), rule, routes):
        answer = mesh.tcp("ann", "192.0.2.9", 9000)
        through = mesh.stats(
            "gate", r"^cluster\.outbound\|9000\|\|far\.example.*upstream_cx_total$"
        )
    assert answer.startswith(b"far:")
    assert sum(through.values()) >= 1


def test_redirects_keep_the_port_of_the_service(mesh: LiveMesh) -> None:
    """Which is what the visitor asked for, not what the pod listens on."""
    server = (
        "port: {number: 443, name: https-1, protocol: HTTPS}, hosts: ['*.example.org'],"
        " tls: {mode: SIMPLE, credentialName: cert}"
    )
    rule = "http: [{redirect: {uri: /new, derivePort: FROM_REQUEST_PORT}}]"
    cert = tls_secret("cert", "ingress", _CA.issue("*.example.org"))
    with mesh.having(cert, _gateway(server), _bound(rule)):
        visitor = Visitor(mesh=mesh, address=_GATE, port=8443, roots=_CA.pem)
        reply = visitor.call("web.example.org")
    assert (reply.status, reply.headers["location"]) == (301, "https://web.example.org:443/new")


# A host that is somewhere behind the gateway: who calls knows the gateway's address alone, and that it speaks in
# the name of whom is called.
_AWAY: Final = f"""
hosts: [orders.example]
addresses: [192.0.2.8]
exportTo: ["."]
location: MESH_INTERNAL
ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 9000, name: tcp, protocol: TCP}}]
resolution: STATIC
endpoints: [{{address: {_GATE}, ports: {{http: 15443, tcp: 15443}}, serviceAccount: web, labels: {{at: v2}}}}]
"""
# The gateway knows where it is: in a pod that takes mutual TLS, and in one that does not.
_THERE: Final = f"""
hosts: [orders.example]
exportTo: ["."]
location: MESH_INTERNAL
ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 9000, name: tcp, protocol: TCP}}]
resolution: STATIC
endpoints:
- {{address: {pod_ip(11)}, ports: {{http: 8080, tcp: 9000}}, serviceAccount: web, labels: {{at: v1}}}}
- {{address: {pod_ip(14)}, ports: {{http: 8080, tcp: 9000}}, labels: {{at: v1}}}}
- {{address: {pod_ip(2)}, ports: {{http: 8080, tcp: 9000}}, serviceAccount: web, labels: {{at: v2}}}}
"""
_PINNED: Final = """
host: orders.example
exportTo: ["."]
subsets: [{name: one, labels: {at: v1}}, {name: two, labels: {at: v2}}]
trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
"""


_TO_ONE: Final = "route: [{destination: {host: orders.example, subset: one}}]"


def _passing(hosts: str) -> tuple[str, ...]:
    server = f"port: {{number: 15443, name: tls, protocol: TLS}}, hosts: [{hosts}], tls: {{mode: AUTO_PASSTHROUGH}}"
    return (
        _gateway(server),
        istio("ServiceEntry", "away", _AWAY, namespace="test"),
        istio("ServiceEntry", "there", _THERE, namespace="ingress"),
        istio("DestinationRule", "there", _PINNED, namespace="ingress"),
        istio("DestinationRule", "away", _PINNED.replace("v1", "v2"), namespace="test"),
        istio(
            "VirtualService",
            "one",
            f"hosts: [orders.example]\nhttp: [{{{_TO_ONE}}}]\ntcp: [{{{_TO_ONE}}}]",
            namespace="test",
        ),
    )


def _shown(mesh: LiveMesh, name: str, *protocols: str) -> bytes:
    """Return the certificate that a stranger is shown at the gateway who asks for a name; nothing without."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    try:
        plain = mesh.connect(HUB, (_GATE, 15443))
        with plain, context.wrap_socket(plain, server_hostname=name) as made:
            return made.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def test_mutual_tls_passes_through_to_who_is_meant(mesh: LiveMesh) -> None:
    """Unopened: the server sees who really calls; requests by the subset that they chose, and bytes as well."""
    with mesh.having(*_passing("orders.example")):
        before = mesh.stats("gate", r"^tcp\.outbound_0\.0\.0\.0_15443\.downstream_cx_total$")
        replies = [mesh.call("ann", "http://orders.example/path", at="192.0.2.8") for _ in range(6)]
        answer = mesh.tcp("ann", "192.0.2.8", 9000)
        after = mesh.stats("gate", r"^tcp\.outbound_0\.0\.0\.0_15443\.downstream_cx_total$")
    assert {(r.status, r.pod, r.caller) for r in replies} == {
        (200, "web", "spiffe://cluster.local/ns/test/sa/ann")
    }
    assert answer.startswith(b"web:")
    assert sum(after.values()) > sum(before.values())


def test_a_server_passes_on_to_its_hosts_alone(mesh: LiveMesh) -> None:
    """What is for others gets no further, were it for the name of which these are below."""
    with mesh.having(*_passing("'*.orders.example', web.test.svc.cluster.local")):
        assert mesh.tcp("ann", "192.0.2.8", 9000) == b""
        assert _shown(mesh, "outbound_.80_._.web.test.svc.cluster.local", "istio")


def test_strangers_get_no_further_than_who_calls_by_mutual_tls(mesh: LiveMesh) -> None:
    """A server name is a cluster's only where it is one that sidecars send; plain TLS gets nowhere."""
    web = "web.test.svc.cluster.local"
    taken = (f"outbound_.80_._.{web}", "outbound_.80_.one_.orders.example")
    others = (f"outbound|80||{web}", "outbound|80||far.example", "outbound_.80_._.far.example", web)
    calls = r"^cluster\.outbound\|80\|\|(web|far)\..*upstream_cx_total$"
    with mesh.having(*_passing("'*'")):
        found = [b"/ns/test/sa/web" in _shown(mesh, name, "istio") for name in taken]
        before = mesh.stats("gate", calls)
        refused = [_shown(mesh, name, "istio") for name in others]
        after = mesh.stats("gate", calls)
        plain = [_shown(mesh, name, *offered) for name in taken for offered in ((), ("h2",))]
    assert found == [True, True]
    assert not any((*refused, *plain))
    assert before == after, "not even called"
