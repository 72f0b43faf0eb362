"""The init container's program in a real pod network, and real traffic through the proxy that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen_cli.demo.host import Way
from mizzen_operator.inject.decide import INIT
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from tests.support.kubelet import ask, container, start_injected
from tests.support.live_mesh import LiveMesh, pod, pod_ip, service

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRANSPARENT: Final = {"sidecar.istio.io/interceptionMode": "TPROXY"}
_STRICT: Final = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: test}
spec: {mtls: {mode: STRICT}}
---"""

Pod = dict[str, Any]


def _web() -> Pod:
    """The manifest of the pod under test, with a probe."""
    written: Pod = yaml.safe_load(pod("web", 11).replace("---", ""))
    written["metadata"]["annotations"] |= _TRANSPARENT
    written["spec"]["containers"][0]["livenessProbe"] = {
        "httpGet": {"path": "/alive", "port": 8080}
    }
    return written


@pytest.fixture(scope="module")
def web() -> Pod:
    """The pod as injection makes it."""
    return inject_pod(_web(), InjectSettings()).pod


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, web: Pod) -> Iterator[LiveMesh]:
    """A strict mesh in which one pod's rules and proxy are what injection says."""
    files = {
        "web.yaml": pod("web", 11),
        "web-service.yaml": service("web", 11, ("web", 11)),
        "ann.yaml": pod("ann", 2) + service("ann", 2, ("ann", 2)),
        "strict.yaml": _STRICT,
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        if made.mesh.realm.host.way is not Way.ROOT:
            pytest.skip("TPROXY takes the rights of root, as it does in a pod")
        made.kill_proxy("web")  # first: without the rights it could not take what comes now
        made.write("web.yaml", yaml.safe_dump(_web()))
        made.notice()
        _capture(made, web)
        start_injected(made, web)
        made.settle()
        yield made


def _capture(mesh: LiveMesh, web: Pod) -> None:
    """Run the init container, twice, for a kubelet may."""
    network = mesh.pod("web").network
    for table in ("iptables", "ip6tables"):
        for act in ("-F", "-X"):
            mesh.mesh.realm.run([table, "-t", "nat", act], network=network)
    init = container(web, INIT)
    for _ in range(2):
        done = mesh.mesh.realm.run([*init["command"], *init["args"]], network=network)
        assert done.code == 0, done.err


def test_the_application_sees_its_callers_addresses(mesh: LiveMesh) -> None:
    """With TPROXY a call comes from the caller's pod, not from the proxy, and over mutual TLS all the same."""
    reply = mesh.call("ann", "http://web.test")
    assert reply.seen["from"] == pod_ip(2)
    assert reply.caller.endswith("/sa/ann")


def test_who_has_no_certificate_is_captured_and_refused(mesh: LiveMesh) -> None:
    """What arrives meets the proxy also this way."""
    assert mesh.call("", f"http://{pod_ip(11)}:8080/").status == 0


def test_what_the_pod_sends_is_captured(mesh: LiveMesh) -> None:
    """Outbound is redirected as ever: the other side knows who called."""
    assert mesh.call("web", "http://ann.test").caller.endswith("/sa/web")


def test_a_pod_reaches_itself_by_its_service(mesh: LiveMesh) -> None:
    """Out of its proxy and in again, with its own certificate."""
    reply = mesh.call("web", "http://web.test")
    assert (reply.status, reply.pod) == (200, "web")


def test_localhost_is_left_alone(mesh: LiveMesh) -> None:
    """What the pod says to itself stays in it."""
    assert mesh.call("web", "http://127.0.0.1:8080").seen["from"] == "127.0.0.1"


def test_probes_are_answered(mesh: LiveMesh, web: Pod) -> None:
    """From 127.0.0.6, which is never captured."""
    assert ask(mesh, web, "app", "livenessProbe").seen["from"] == "127.0.0.6"
