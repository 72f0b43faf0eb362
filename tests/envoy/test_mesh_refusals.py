"""What Envoy rejects and our validation does not catch: named on its object, and the rest goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    HUB,
    Document,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    router,
    service,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
_BAD_VALUE: Final = "%NO_SUCH_OPERATOR%"
# Longer than TLS has room for; nobody has looked for this before Envoy does.
_LONG_NAME: Final = "a" * 300


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Two clients of one class, two services, and a gateway."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "clients.yaml": pod("ann-1", 2, app="ann") + pod("ann-2", 3, app="ann"),
        "gate.yaml": router("gate", 80),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _marking(host: str, value: str) -> str:
    """Return a VirtualService that sets a header of the answers."""
    spec = f"""
        hosts: [{host}]
        http:
          - headers: {{response: {{set: {{x-mark: "{value}"}}}}}}
            route: [{{destination: {{host: {host}, port: {{number: 80}}}}}}]
        """
    return istio("VirtualService", host, spec, namespace="test")


def _mark(mesh: LiveMesh, host: str, of: str = "ann-1") -> str:
    reply = mesh.call(of, f"http://{host}/")
    return f"{reply.status} {reply.headers.get('x-mark')}"


def _told(found: Document) -> set[str]:
    return {one["code"] for one in found["diagnostics"]}


def _rejections(mesh: LiveMesh) -> int:
    return mesh.counter("mizzen_xds_rejections_total")


def test_a_bad_host_is_named_and_the_good_ones_are_delivered(mesh: LiveMesh) -> None:
    """VHDS: the guilty object has Envoy's words, its host goes on as it was; one save, two objects."""
    with mesh.load("ann-1", _WEB, "http://api/") as load:
        mesh.apply("both.yaml", _marking("web", "one") + "\n---\n" + _marking("api", "one"))
        assert (_mark(mesh, "web"), _mark(mesh, "api")) == ("200 one", "200 one")
        mesh.apply("both.yaml", _marking("web", _BAD_VALUE) + "\n---\n" + _marking("api", "two"))
        assert (_mark(mesh, "web"), _mark(mesh, "api")) == ("200 one", "200 two")
        bad = mesh.object("VirtualService", "test/web")
        good = mesh.object("VirtualService", "test/api")
        assert _told(bad) == {"MZ0501"}
        assert "NO_SUCH_OPERATOR" in bad["diagnostics"][0]["message"]
        assert bad["diagnostics"][0]["file"].endswith("both.yaml")
        assert bad["programmed"]["live"] == 0
        assert good["programmed"]["live"] == good["programmed"]["of"] > 0
        assert not good["diagnostics"]
        mesh.apply("both.yaml", _marking("web", "three") + "\n---\n" + _marking("api", "three"))
        assert (_mark(mesh, "web"), _mark(mesh, "api")) == ("200 three", "200 three")
        assert not mesh.object("VirtualService", "test/web")["diagnostics"]
    mesh.remove("both.yaml")
    mesh.settle()
    assert not load.failures


def test_a_proxy_that_comes_later_gets_what_was_accepted_last(mesh: LiveMesh) -> None:
    """And refuses nothing itself: the first of its class has said what is wrong."""
    mesh.apply("web.route.yaml", _marking("web", "good"))
    mesh.apply("web.route.yaml", _marking("web", _BAD_VALUE))
    before = _rejections(mesh)
    assert before > 0
    mesh.restart_proxy("ann-2")
    mesh.settle()
    assert _mark(mesh, "web", "ann-2") == "200 good"
    assert _rejections(mesh) == before
    mesh.remove("web.route.yaml")
    mesh.settle()


def test_a_bad_cluster_is_named_and_the_good_ones_are_in_force(mesh: LiveMesh) -> None:
    """CDS: Envoy takes the good ones of a response; the bad one goes on as it was."""
    bad = istio(
        "DestinationRule",
        "web",
        f"host: web\ntrafficPolicy: {{tls: {{mode: SIMPLE, sni: {_LONG_NAME}}}}}",
        namespace="test",
    )
    good = istio(
        "DestinationRule",
        "api",
        "host: api\ntrafficPolicy: {tls: {mode: DISABLE}}",
        namespace="test",
    )
    with mesh.load("ann-1", _WEB) as load, mesh.having(bad, good):
        assert mesh.call("ann-1", _WEB).caller.endswith("/sa/ann")
        eventually(lambda: mesh.call("ann-1", "http://api/").caller == "", "api is in plaintext")
        guilty, fine = (mesh.object("DestinationRule", f"test/{name}") for name in ("web", "api"))
        assert _told(guilty) == {"MZ0501"}
        assert "255 bytes" in guilty["diagnostics"][0]["message"]
        assert "goo.gle" not in guilty["diagnostics"][0]["message"]
        assert guilty["programmed"]["live"] == 0
        assert fine["programmed"]["live"] == fine["programmed"]["of"] > 0
    assert not load.failures
    eventually(lambda: mesh.call("ann-1", "http://api/").caller != "", "api is as it was")


def test_a_bad_listener_is_named_and_the_good_ones_open(mesh: LiveMesh) -> None:
    """LDS: somebody in the gateway's pod has the port already, which no manifest can tell."""
    server = "{{port: {{number: {}, name: http-{}, protocol: HTTP}}, hosts: ['*']}}"
    taken, free = (
        istio(
            "Gateway",
            f"at-{port}",
            f"selector: {{istio: gate}}\nservers: [{server.format(port, port)}]",
            namespace="test",
        )
        for port in (8181, 8282)
    )
    route = istio(
        "VirtualService",
        "door",
        """
        hosts: ["*"]
        gateways: [at-8181, at-8282]
        http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
        """,
        namespace="test",
    )
    with mesh.mesh.realm.open_socket(mesh.pod("gate").network) as squatter:
        squatter.bind(("0.0.0.0", 8181))
        squatter.listen()
        with mesh.having(taken, free, route):
            assert mesh.call(HUB, f"http://{pod_ip(80)}:8282/").pod == "web"
            guilty = mesh.object("Gateway", "test/at-8181")
            assert "Address already in use" in guilty["diagnostics"][0]["message"]
            assert guilty["programmed"]["live"] == 0
            assert not mesh.object("Gateway", "test/at-8282")["diagnostics"]


def test_a_restarted_control_plane_learns_of_it_again(mesh: LiveMesh) -> None:
    """What was refused before is refused again and named again; nobody's requests pay for it."""
    mesh.apply("web.route.yaml", _marking("web", "good"))
    mesh.apply("web.route.yaml", _marking("web", _BAD_VALUE))
    with mesh.load("ann-1", _WEB) as load:
        mesh.mesh.stop_control_plane(signal.SIGKILL)
        mesh.mesh.start_control_plane()
        mesh.settle()
        assert _mark(mesh, "web") == "200 good"
        assert _told(mesh.object("VirtualService", "test/web")) == {"MZ0501"}
    mesh.remove("web.route.yaml")
    mesh.settle()
    assert not load.failures
    assert _mark(mesh, "web") == "200 None"


def test_a_bad_file_changes_nothing(mesh: LiveMesh) -> None:
    """It is told of with file and line, and its objects' last good versions stay in force."""
    good = _marking("web", "good")
    mesh.apply("web.route.yaml", good)
    with mesh.load("ann-1", _WEB) as load:
        mesh.apply("web.route.yaml", good.replace("hosts: [web]", "hosts: [web"))
        assert _mark(mesh, "web") == "200 good"
        said = mesh.status()
        found = [one for entry in (said, *said["objects"]) for one in entry["diagnostics"]]
        assert {(one["code"], one["file"].endswith("web.route.yaml")) for one in found} == {
            ("MZ0101", True)
        }
        mesh.apply("web.route.yaml", good.replace("hosts: [web]", "hosts: 7"))
        assert _mark(mesh, "web") == "200 good"
        wrong = mesh.object("VirtualService", "test/web")
        assert {one["field"] for one in wrong["diagnostics"]} == {"spec.hosts"}
        mesh.apply("web.route.yaml", good.replace("good", "better"))
        assert _mark(mesh, "web") == "200 better"
    mesh.remove("web.route.yaml")
    mesh.settle()
    assert not load.failures
