"""Captured DNS: names that only the mesh knows are answered by a real Envoy, and their traffic finds its way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen_operator.inject.decide import INIT
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from tests.support.kubelet import container, start_injected
from tests.support.live_mesh import LiveMesh, eventually, pod, pod_ip

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPTURE: Final = {
    "proxy.istio.io/config": 'proxyMetadata: {ISTIO_META_DNS_CAPTURE: "true"}',
    # what the webhook writes for the control plane
    "sidecar.mizzen.dev/dnsCapture": "true",
}
_ASK: Final = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"
_WITHOUT_RULES: Final = ("-F", "-X")


def _entry(host: str, address: str, *, name: str = "orders") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: test}}
spec:
  hosts: [{host}]
  addresses: [{address}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints: [{{address: {pod_ip(2)}, ports: {{http: 8080}}, labels: {{security.istio.io/tlsMode: istio}}}}]
"""


def _web() -> dict[str, Any]:
    written: dict[str, Any] = yaml.safe_load(pod("web", 11).replace("---", ""))
    written["metadata"]["annotations"] |= _CAPTURE
    return written


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client whose DNS is captured, a server, and a name for it that no name server knows."""
    web = inject_pod(_web(), InjectSettings()).pod
    files = {
        "web.yaml": yaml.safe_dump(_web()),
        "ann.yaml": pod("ann", 2),
        "entry.yaml": _entry("orders.example.com", "240.0.0.9"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        made.kill_proxy("web")
        network = made.pod("web").network
        for command in ("iptables", "ip6tables"):
            for act in _WITHOUT_RULES:
                made.mesh.realm.run([command, "-t", "nat", act], network=network)
        init = container(web, INIT)
        done = made.mesh.realm.run([*init["command"], *init["args"]], network=network)
        assert done.code == 0, done.err
        start_injected(made, web)
        made.settle()
        yield made


def _resolved(mesh: LiveMesh, of: str, host: str) -> str:
    words = [sys.executable, "-I", "-c", _ASK, host]
    return mesh.mesh.realm.run(words, network=mesh.pod(of).network).out.strip()


def test_a_name_of_the_mesh_is_answered(mesh: LiveMesh) -> None:
    """The application asks its name server, and Envoy answers with the entry's address."""
    assert _resolved(mesh, "web", "orders.example.com") == "240.0.0.9"


def test_the_address_leads_to_the_service(mesh: LiveMesh) -> None:
    """A request to it is captured and comes to the entry's endpoint, with the client's identity."""
    reply = mesh.call("web", "http://orders.example.com", at="240.0.0.9")
    assert (reply.pod, reply.caller.rpartition("/")[2]) == ("ann", "web")


def test_other_names_are_the_name_servers_business(mesh: LiveMesh) -> None:
    """Envoy hands them on; here nobody answers."""
    before = mesh.stats("web", "^dns_filter.dns.external_a_record_queries$")
    assert _resolved(mesh, "web", "nobody.example.com") == ""
    after = mesh.stats("web", "^dns_filter.dns.external_a_record_queries$")
    assert sum(after.values()) > sum(before.values())


def test_a_pod_that_did_not_ask_for_it_is_left_alone(mesh: LiveMesh) -> None:
    """Its proxy has no such listener, and its questions are not captured."""
    assert _resolved(mesh, "ann", "orders.example.com") == ""
    assert "dns" not in mesh.admin("ann", "/listeners").split()


def test_a_new_address_is_answered_at_once(mesh: LiveMesh) -> None:
    """The table comes over xDS."""
    mesh.apply("moving.yaml", _entry("moving.example.com", "240.0.0.10", name="moving"))
    eventually(lambda: _resolved(mesh, "web", "moving.example.com") == "240.0.0.10", "the address")
    mesh.apply("moving.yaml", _entry("moving.example.com", "240.0.0.11", name="moving"))
    eventually(
        lambda: _resolved(mesh, "web", "moving.example.com") == "240.0.0.11", "the new address"
    )
