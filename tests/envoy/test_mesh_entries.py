"""ServiceEntries, WorkloadEntries and other names as traffic meets them: who answers, and how he is found."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mizzen_cli.demo.realm import Command
from tests.support import live_app, name_server
from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import (
    HTTP_PORT,
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOWHERE: Final = "198.51.100.7"  # an address that nobody has
_HTTP: Final = "{number: 80, name: http, protocol: HTTP}"
_FAR: Final = "http://far.example.com/"
_ANN: Final = "spiffe://cluster.local/ns/test/sa/ann"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client with a name server, a service of two pods, and two pods outside of the mesh."""
    files = {
        "web.yaml": pod("web-1", 11, app="web")
        + pod("web-2", 12, app="web")
        + service("web", 11, ("web-1", 11), ("web-2", 12)),
        "ann.yaml": pod("ann", 2, more_labels=", topology.istio.io/locality: eu.west"),
        "many.yaml": service(
            "many",
            14,
            ("web-1", 11),
            ("web-2", 12),
            ports=f"http:{HTTP_PORT}:{HTTP_PORT}",
            headless=True,
        ),
        "bob.yaml": pod("bob", 3, namespace="other"),
        "out.yaml": pod("left", 21, sidecar=False) + pod("right", 22, sidecar=False),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        _know(made, {})
        _spawn(made, name_server.__file__, str(_zone(made)))
        socket = made.mesh.realm.workdir / "app.sock"
        _spawn(made, live_app.__file__, "--name=socket", f"--socket={socket}")
        eventually(socket.exists, "the application on a socket")
        yield made


def _zone(mesh: LiveMesh) -> Path:
    return mesh.mesh.realm.workdir / "zone"


def _spawn(mesh: LiveMesh, script: str, *words: str) -> None:
    mesh.mesh.realm.spawn(
        Command(
            argv=(sys.executable, "-I", script, *words),
            network=mesh.pod("ann").network,
            log=mesh.mesh.logs / f"{Path(script).stem}.log",
            environment=(("HOSTNAME", "socket"),),
        )
    )


def _know(mesh: LiveMesh, names: dict[str, list[int]]) -> None:
    """Let the client's name server know these names, by the numbers of pods."""
    lines = (f"{name} {' '.join(map(pod_ip, numbers))}" for name, numbers in names.items())
    draft = _zone(mesh).with_suffix(".draft")
    draft.write_text("\n".join(lines), encoding="ascii")
    draft.replace(_zone(mesh))


def _entry(spec: str, *, name: str = "e", namespace: str = "test") -> str:
    return istio("ServiceEntry", name, spec, namespace=namespace)


def _far(resolution: str, more: str = "", ports: str = "") -> str:
    return _entry(
        f"hosts: [far.example.com]\nresolution: {resolution}\nports: [{ports or _HTTP}]\n{more}"
    )


_TO_APP: Final = f"{{number: 80, name: http, protocol: HTTP, targetPort: {HTTP_PORT}}}"


def _pods(mesh: LiveMesh, count: int = 30, url: str = _FAR, at: str = _NOWHERE) -> set[str]:
    return {mesh.call("ann", url, at=at).pod for _ in range(count)}


# --- By name ------------------------------------------------------------------------------------------


def test_a_name_is_looked_up_and_looked_up_again(mesh: LiveMesh) -> None:
    """Resolution DNS: every address gets its share, wherever the client was going; a change is followed."""
    _know(mesh, {"far.example.com": [21, 22]})
    with mesh.having(_far("DNS", ports=_TO_APP)):
        eventually(lambda: _pods(mesh) == {"left", "right"}, "both addresses")
        _know(mesh, {"far.example.com": [22]})
        eventually(lambda: _pods(mesh) == {"right"}, "the address that is left")


def test_a_name_of_the_moment_is_looked_up_as_often_as_the_mesh_says(mesh: LiveMesh) -> None:
    """``dnsRefreshRate``, where the answer does not say how long it holds; a minute of its own."""
    config = mesh_config("dnsRefreshRate: 0.3s", "istio")
    name, entry = "far.example.com ttl=0", _far("DNS", ports=_TO_APP)
    _know(mesh, {name: [21]})
    with mesh.having(entry):
        eventually(lambda: _pods(mesh, 5) == {"left"}, "the first address")
        _know(mesh, {name: [22]})
        assert _pods(mesh, 5) == {"left"}
    with mesh.having(entry, config):
        eventually(lambda: _pods(mesh, 5) == {"right"}, "the second one")
        _know(mesh, {name: [21]})
        eventually(lambda: _pods(mesh, 5) == {"left"}, "the first one again")


def test_of_one_name_one_address_is_used(mesh: LiveMesh) -> None:
    """Resolution DNS_ROUND_ROBIN: the first that was told, for each new connection."""
    _know(mesh, {"far.example.com": [21, 22]})
    with mesh.having(_far("DNS_ROUND_ROBIN", ports=_TO_APP)):
        eventually(lambda: _pods(mesh, 5) == {"left"}, "the first address")
        assert _pods(mesh) == {"left"}


def test_endpoints_may_be_names_with_ports_of_their_own(mesh: LiveMesh) -> None:
    """Each is looked up; the endpoint's port goes before the service's target."""
    _know(mesh, {"eu.lan": [21], "us.lan": [22]})
    endpoints = f"""
endpoints:
  - {{address: eu.lan, ports: {{http: {HTTP_PORT}}}, locality: eu/west, weight: 9}}
  - {{address: us.lan, ports: {{http: {HTTP_PORT}}}, locality: eu/west, weight: 1}}
"""
    with mesh.having(_far("DNS", endpoints)):
        eventually(lambda: _pods(mesh) == {"left", "right"}, "both endpoints")
        replies = [mesh.call("ann", _FAR, at=_NOWHERE).pod for _ in range(100)]
        assert replies.count("left") > 70


def _hello(server_name: str) -> bytes:
    """Return what a client says first that asks for a server's name."""
    context = ssl.create_default_context()
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_host_of_a_request_is_looked_up(mesh: LiveMesh) -> None:
    """Resolution DYNAMIC_DNS: each host of a wildcard is who its name leads to; others are not looked up."""
    _know(mesh, {"a.wild.example": [21], "b.wild.example": [22], "c.other.example": [21]})
    entry = _entry(
        f"""
        hosts: ["*.wild.example"]
        resolution: DYNAMIC_DNS
        ports:
          - {{number: {HTTP_PORT}, name: http, protocol: HTTP}}
          - {{number: 443, name: tls, protocol: TLS, targetPort: {TCP_PORT}}}
        """
    )
    with mesh.having(entry):
        for name, answers in (("a", "left"), ("b", "right")):
            url = f"http://{name}.wild.example:{HTTP_PORT}/"
            eventually(
                lambda url=url, answers=answers: _pods(mesh, 1, url) == {answers},  # type: ignore[misc]
                f"the host {name}",
            )
            said = mesh.tcp("ann", _NOWHERE, 443, _hello(f"{name}.wild.example"))
            assert said.startswith(answers.encode())
        assert mesh.call("ann", f"http://x.wild.example:{HTTP_PORT}/", at=_NOWHERE).status == 503
        assert mesh.tcp("ann", pod_ip(21), 443, _hello("c.other.example")) == b""


# --- As the client knows them -------------------------------------------------------------------------


def _through(mesh: LiveMesh, port: int) -> int:
    pattern = f"^cluster.outbound.{port}..far.example.com;?.upstream_cx_total$"
    return sum(mesh.stats("ann", pattern).values())


def test_the_client_may_know_the_address(mesh: LiveMesh) -> None:
    """Resolution NONE: a request goes where it was going, by the cluster of the entry."""
    with mesh.having(_far("NONE", ports=f"{{number: {HTTP_PORT}, name: http, protocol: HTTP}}")):
        before = _through(mesh, HTTP_PORT)
        url = f"http://far.example.com:{HTTP_PORT}/"
        assert _pods(mesh, 5, url, pod_ip(21)) == {"left"}
        assert _pods(mesh, 5, url, pod_ip(22)) == {"right"}
        assert _through(mesh, HTTP_PORT) > before


def test_a_range_of_addresses_may_have_another_port(mesh: LiveMesh) -> None:
    """Connections to the range's port come to the target port of the very address."""
    ports = f"{{number: 6000, name: tcp, protocol: TCP, targetPort: {TCP_PORT}}}"
    with mesh.having(_far("NONE", f"addresses: [{pod_ip(20)}/30]", ports)):
        eventually(
            lambda: mesh.tcp("ann", pod_ip(21), 6000).startswith(b"left"), "the range's port"
        )
        assert mesh.tcp("ann", pod_ip(22), 6000).startswith(b"right")
        assert not mesh.tcp("ann", pod_ip(11), 6000)


# --- Endpoints in place -------------------------------------------------------------------------------


def test_an_endpoint_may_be_a_socket(mesh: LiveMesh) -> None:
    """``unix://`` is one in the client's own pod."""
    path = mesh.mesh.realm.workdir / "app.sock"
    with mesh.having(_far("STATIC", f"endpoints: [{{address: 'unix://{path}'}}]")):
        assert mesh.call("ann", _FAR, at=_NOWHERE).seen["service"] == "socket"


def test_weights_and_selected_machines_share_the_traffic(mesh: LiveMesh) -> None:
    """A workloadSelector takes WorkloadEntries and pods; each gets what it weighs."""
    machine = istio(
        "WorkloadEntry",
        "vm",
        f"address: {pod_ip(21)}\nlabels: {{app: far}}\nweight: 9\nports: {{http: {HTTP_PORT}}}",
        namespace="test",
    )
    other = istio(
        "WorkloadEntry",
        "vm-2",
        f"address: {pod_ip(22)}\nlabels: {{app: far}}",
        namespace="test",
    )
    entry = _far("STATIC", "workloadSelector: {labels: {app: far}}", _TO_APP)
    with mesh.having(entry, machine, other):
        eventually(lambda: _pods(mesh) == {"left", "right"}, "both machines")
        replies = [mesh.call("ann", _FAR, at=_NOWHERE).pod for _ in range(100)]
        assert replies.count("left") > 70
    with mesh.having(_far("STATIC", "workloadSelector: {labels: {app: web}}", _TO_APP)):
        eventually(lambda: _pods(mesh) == {"web-1", "web-2"}, "pods by their labels")


def test_a_service_takes_machines_and_entries_of_its_host(mesh: LiveMesh) -> None:
    """A Service's selector takes WorkloadEntries; a ServiceEntry of its host adds endpoints and ports."""
    machine = istio(
        "WorkloadEntry", "vm", f"address: {pod_ip(21)}\nlabels: {{app: web}}", namespace="test"
    )
    entry = _entry(
        f"""
        hosts: [web.test.svc.cluster.local]
        location: MESH_INTERNAL
        resolution: STATIC
        ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 81, name: more, protocol: HTTP}}]
        endpoints: [{{address: {pod_ip(22)}, ports: {{http: {HTTP_PORT}, more: {HTTP_PORT}}}}}]
        """
    )
    everyone = {"web-1", "web-2", "left", "right"}
    with mesh.having(machine, entry):
        eventually(lambda: _pods(mesh, 40, "http://web/", service_ip(11)) == everyone, "all four")
        assert _pods(mesh, 3, "http://web:81/", service_ip(11)) == {"right"}
        assert mesh.object("ServiceEntry", "test/e")["diagnostics"] == []


def test_endpoints_are_where_they_say(mesh: LiveMesh) -> None:
    """With what makes places count, the client's own region is used alone."""
    rule = istio(
        "DestinationRule",
        "far",
        "host: far.example.com\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}",
        namespace="test",
    )
    in_place = f"""
endpoints:
  - {{address: {pod_ip(21)}, locality: eu/west}}
  - {{address: {pod_ip(22)}, locality: us/east}}
"""
    machines = [
        istio(
            "WorkloadEntry",
            name,
            f"address: {pod_ip(number)}\nlabels: {{app: far}}\nlocality: {locality}",
            namespace="test",
        )
        for name, number, locality in (("a", 21, "us/east"), ("b", 22, "eu/west"))
    ]
    with mesh.having(_far("STATIC", in_place, _TO_APP), rule):
        eventually(lambda: _pods(mesh) == {"left"}, "the endpoint in the own region")
    selected = _far("STATIC", "workloadSelector: {labels: {app: far}}", _TO_APP)
    with mesh.having(selected, rule, *machines):
        eventually(lambda: _pods(mesh) == {"right"}, "the machine in the own region")


def test_a_subset_is_of_endpoints_with_its_labels(mesh: LiveMesh) -> None:
    """Labels of endpoints in place count as pods' do."""
    rule = istio(
        "DestinationRule",
        "far",
        "host: far.example.com\nsubsets: [{name: b, labels: {of: b}}]",
        namespace="test",
    )
    route = istio(
        "VirtualService",
        "far",
        "hosts: [far.example.com]\nhttp: [{route: [{destination: {host: far.example.com, subset: b}}]}]",
        namespace="test",
    )
    endpoints = f"""
endpoints:
  - {{address: {pod_ip(21)}, labels: {{of: a}}}}
  - {{address: {pod_ip(22)}, labels: {{of: b}}}}
"""
    with mesh.having(_far("STATIC", endpoints, _TO_APP), rule, route):
        eventually(lambda: _pods(mesh) == {"right"}, "the endpoint of the subset")


def _meshed(location: str, more: str = "") -> str:
    endpoint = f"{{address: {pod_ip(11)}, ports: {{http: {HTTP_PORT}}}, serviceAccount: web}}"
    return _far("STATIC", f"location: {location}\nendpoints: [{endpoint}]\n{more}")


def test_a_workload_of_the_mesh_is_called_as_one(mesh: LiveMesh) -> None:
    """MESH_INTERNAL with a service account: mutual TLS, and the server is who the account says."""
    with mesh.having(_meshed("MESH_INTERNAL")):
        eventually(
            lambda: mesh.call("ann", _FAR, at=_NOWHERE).caller == _ANN, "the client's identity"
        )
    with mesh.having(_meshed("MESH_INTERNAL").replace("serviceAccount: web", "serviceAccount: x")):
        eventually(lambda: mesh.call("ann", _FAR, at=_NOWHERE).status == 503, "another server")
    with mesh.having(_meshed("MESH_EXTERNAL")):
        eventually(lambda: mesh.call("ann", _FAR, at=_NOWHERE).status == 200, "plain text")
        assert mesh.call("ann", _FAR, at=_NOWHERE).caller == ""


def test_a_machine_of_the_mesh_is_called_as_one(mesh: LiveMesh) -> None:
    """A WorkloadEntry with a service account: mutual TLS with exactly that identity, and else plain text."""
    entry = _far(
        "STATIC", "location: MESH_INTERNAL\nworkloadSelector: {labels: {app: vm}}", _TO_APP
    )

    def _found() -> tuple[int, str]:
        reply = mesh.call("ann", _FAR, at=_NOWHERE)
        return reply.status, reply.caller

    for account, wanted in (
        ("serviceAccount: web", (200, _ANN)),
        ("serviceAccount: x", (503, "")),
        ("", (200, "")),
    ):
        spec = f"address: {pod_ip(11)}\nlabels: {{app: vm}}\n{account}"
        with mesh.having(entry, istio("WorkloadEntry", "vm", spec, namespace="test")):
            eventually(lambda: _found() == wanted, f"{account}: {wanted}")  # noqa: B023 - at once


def test_an_entry_may_say_whose_certificate_is_right(mesh: LiveMesh) -> None:
    """``subjectAltNames`` counts beside the accounts of endpoints."""
    wrong = _meshed("MESH_INTERNAL").replace("serviceAccount: web", "serviceAccount: x")
    right = f"{wrong.rstrip()}\n  subjectAltNames: ['spiffe://cluster.local/ns/test/sa/web']\n"
    with mesh.having(right):
        eventually(
            lambda: mesh.call("ann", _FAR, at=_NOWHERE).caller == _ANN, "the name that is allowed"
        )


def test_an_entry_is_seen_where_it_is_exported_to(mesh: LiveMesh) -> None:
    """``exportTo``: other namespaces do not know the host."""
    entry = _far(
        "STATIC",
        f"exportTo: ['.']\nendpoints: [{{address: {pod_ip(21)}, ports: {{http: {HTTP_PORT}}}}}]",
    )
    url = "http://own.example.com/"
    with mesh.having(entry.replace("far.example.com", "own.example.com")):
        eventually(lambda: mesh.call("ann", url, at=_NOWHERE).pod == "left", "the own namespace")
        assert mesh.call("bob", url, at=pod_ip(11)).pod != "left"
        assert "own.example.com" not in mesh.admin("bob", "/clusters")


# --- Other names --------------------------------------------------------------------------------------


def test_pods_of_a_stateful_set_have_names_of_their_own(mesh: LiveMesh) -> None:
    """A headless service answers for them, by its own cluster and with the client's identity."""
    for number, name in ((11, "web-1"), (12, "web-2")):
        for suffix in ("many", "many.test", "many.test.svc.cluster.local"):
            url = f"http://{name}.{suffix}:{HTTP_PORT}/"
            reply = mesh.call("ann", url, at=pod_ip(number))
            assert (reply.pod, reply.caller) == (name, _ANN)


def test_an_external_name_is_another_name(mesh: LiveMesh) -> None:
    """Requests for it get what requests for its target get; rules may send to it."""
    alias = """
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: test}
spec: {type: ExternalName, externalName: web.test.svc.cluster.local}
"""
    rule = istio(
        "VirtualService",
        "web",
        """
        hosts: [web]
        http:
          - match: [{uri: {prefix: /direct}}]
            directResponse: {status: 418}
          - route: [{destination: {host: shop, port: {number: 80}}}]
        """,
        namespace="test",
    )
    with mesh.having(alias, rule):
        for name in ("shop", "shop.test", "shop.test.svc.cluster.local"):
            url = f"http://{name}/direct"
            eventually(
                lambda url=url: mesh.call("ann", url, at=service_ip(11)).status == 418,  # type: ignore[misc]
                "the target's rule",
            )
        reply = mesh.call("ann", "http://shop/", at=service_ip(11))
        assert (reply.pod.rpartition("-")[0], reply.caller) == ("web", _ANN)
