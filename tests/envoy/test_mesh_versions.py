"""IPv6 as traffic meets it: pods that have nothing else, pods that have both, and names of the mesh."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from mizzen.capture import CaptureConfig, Family, restore_text
from mizzen.model.allocation import addresses_at, choices
from mizzen_cli.demo.realm import Command
from tests.support import name_server
from tests.support.live_mesh import (
    HTTP_PORT,
    TCP_PORT,
    Document,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    router,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen_cli.demo.manifests import PodSpec

_ASK: Final = (
    "import socket, sys; print(*sorted({one[4][0] for one in"
    " socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)}))"
)


def _six(number: int) -> str:
    return f"fd44::{number}"


def _service_six(number: int) -> str:
    return f"fd96::{number}"


def _pod(name: str, number: int, *versions: int, app: str = "") -> str:
    """Return a pod that says it has addresses of these versions; its questions to name servers are captured."""
    (written,) = [one for one in yaml.safe_load_all(pod(name, number, app=app)) if one]
    ips = {4: pod_ip(number), 6: _six(number)}
    written["status"]["podIPs"] = [{"ip": ips[version]} for version in versions]
    written["metadata"]["annotations"]["sidecar.mizzen.dev/dnsCapture"] = "true"
    return f"{yaml.safe_dump(written)}---\n"


def _gate() -> str:
    """Return a gateway that has IPv6 alone, and what it serves."""
    (written,) = (one for one in yaml.safe_load_all(router("gate", 9)) if one)
    written["status"]["podIPs"] = [{"ip": _six(9)}]
    door = """
        selector: {istio: gate}
        servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
    """
    route = """
        hosts: [shop.example]
        gateways: [door]
        http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
    """
    return "---\n".join(
        (
            yaml.safe_dump(written),
            istio("Gateway", "door", door, namespace="test"),
            istio("VirtualService", "door", route, namespace="test"),
        )
    )


def _service(name: str, number: int, *pods: tuple[str, int, str]) -> str:
    """Return a service of both versions, with a slice for each: a pod is a name, a number and its versions."""
    documents: list[Document] = []
    for version in "46":
        whole = service(name, number, *((of, at) for of, at, has in pods if version in has))
        written, found = (one for one in yaml.safe_load_all(whole) if one)
        found["metadata"]["name"] += f"-{version}"
        found["addressType"] = f"IPv{version}"
        if version == "6":
            for endpoint in found["endpoints"]:
                four = endpoint["addresses"][0].rpartition(".")[2]
                endpoint["addresses"] = [_six(int(four))]
        written["spec"]["clusterIPs"] = [service_ip(number), _service_six(number)]
        documents = [written, *documents[1:], found]
    return yaml.safe_dump_all(documents) + "---\n"


class _Mesh(LiveMesh):
    """A mesh of which every pod has an address of IPv6 besides, whatever it says, and captures its DNS."""

    def start(self) -> None:
        """Start everything."""
        networks = self.mesh.start_networks

        def both() -> None:
            networks()
            for one in self.mesh.cast.pods:
                self._complete(one)

        self.mesh.start_networks = both  # type: ignore[method-assign]  # the one step that differs
        super().start()

    def _complete(self, of: PodSpec) -> None:
        number = int(of.ip.rpartition(".")[2])
        self._run(of, f"ip -6 addr add {_six(number)}/64 dev eth0 nodad")
        self._run(of, "ip -6 addr add ::6/128 dev lo")
        self._run(of, f"ip -6 route add default via {_six(1)}")
        if of.router:
            return
        for family in Family:
            command = family.value.removesuffix("-restore")
            self._run(of, f"{command} -t nat -F")
            self._run(of, f"{command} -t nat -X")
            rules = restore_text(CaptureConfig(dns=True), family)
            self._run(of, f"{family.value} --noflush", rules)

    def _run(self, of: PodSpec, words: str, text: str = "") -> None:
        done = self.mesh.realm.run(words.split(), network=of.network, text=text)
        assert done.code == 0, (words, done.err)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients of IPv6 alone and of both; a service of a pod of IPv4, one of IPv6 and one of both."""
    files = {
        "web.yaml": _pod("web-4", 14, 4, app="web")
        + _pod("web-6", 16, 6, app="web")
        + _pod("web-46", 46, 4, 6, app="web")
        + _service("web", 11, ("web-4", 14, "4"), ("web-6", 16, "6"), ("web-46", 46, "46")),
        "gate.yaml": _gate(),
        "clients.yaml": _pod("six", 6, 6) + _pod("both", 7, 4, 6) + _pod("four", 4, 4),
    }
    with _Mesh(tmp_path_factory.mktemp("mesh"), files) as made:
        zone = made.mesh.realm.workdir / "zone"
        zone.write_text("far.example.com 203.0.113.9 2001:db8::9\n", encoding="ascii")
        for name in ("six", "both", "four"):
            made.mesh.realm.spawn(
                Command(
                    argv=(sys.executable, "-I", name_server.__file__, str(zone)),
                    network=made.pod(name).network,
                    log=made.mesh.logs / f"{name}.names.log",
                )
            )
        yield made


def _pods(mesh: LiveMesh, of: str, at: str, port: int = 80) -> set[str]:
    return {mesh.call(of, f"http://web:{port}/", at=at).pod for _ in range(40)}


@pytest.mark.parametrize(
    ("client", "address", "pods"),
    [
        ("six", _service_six(11), {"web-6", "web-46"}),
        ("four", service_ip(11), {"web-4", "web-46"}),
        ("both", service_ip(11), {"web-4", "web-6", "web-46"}),
        ("both", _service_six(11), {"web-4", "web-6", "web-46"}),
    ],
)
def test_each_calls_what_it_has_addresses_for(
    mesh: LiveMesh, client: str, address: str, pods: set[str]
) -> None:
    """With its identity, by HTTP and by bytes; who has both reaches everybody by either address."""
    eventually(lambda: _pods(mesh, client, address) == pods, "all pods that can be reached")
    reply = mesh.call(client, "http://web/", at=address)
    assert reply.caller == f"spiffe://cluster.local/ns/test/sa/{client}"
    assert mesh.tcp(client, address, TCP_PORT).startswith(b"web")


def test_a_pod_of_ipv6_is_captured_on_its_own_address(mesh: LiveMesh) -> None:
    """What comes to a declared port, and to one that nobody declared, comes through its Envoy."""
    for port in (HTTP_PORT, 5555):
        reply = mesh.call("both", f"http://web:{port}/", at=_six(16))
        assert (reply.pod, reply.seen["from"]) == ("web-6", "::6")


def test_a_gateway_may_have_ipv6_alone(mesh: LiveMesh) -> None:
    """It is there at its only address, and reaches the pods that have one of its version."""
    found: set[str] = set()
    for _ in range(30):
        reply = mesh.call("both", "http://shop.example:8080/", at=_six(9))
        found.add(reply.pod)
        assert reply.caller == "spiffe://cluster.local/ns/test/sa/gate"
    assert found == {"web-6", "web-46"}


# --- Names ---------------------------------------------------------------------------------------------


def _resolved(mesh: LiveMesh, of: str, host: str) -> list[str]:
    """Return the addresses that an application finds for a name."""
    words = [sys.executable, "-I", "-c", _ASK, host]
    return mesh.mesh.realm.run(words, network=mesh.pod(of).network).out.split()


def _entry(name: str, more: str = "") -> str:
    """Return an entry without addresses, of a port of bytes, with a pod of both versions behind it."""
    return istio(
        "ServiceEntry",
        name,
        f"""
        hosts: [{name}.example.com]
        location: MESH_INTERNAL
        resolution: STATIC
        ports: [{{number: 5000, name: tcp, protocol: TCP}}]
        endpoints: [{{address: {pod_ip(46)}, ports: {{tcp: {TCP_PORT}}}}}]
        {more}
        """,
        namespace="test",
    )


def test_a_host_without_address_gets_one(mesh: LiveMesh) -> None:
    """Two of one port of bytes are told apart by it; each pod is told what it can call."""
    other = _entry("other").replace(f"tcp: {TCP_PORT}", "tcp: 9001")
    with mesh.having(_entry("orders"), other):
        for of, versions in (("four", [0]), ("both", [0, 1]), ("six", [1])):
            for name in ("orders", "other"):
                given = addresses_at(choices(f"{name}.example.com")[0])
                eventually(
                    lambda of=of, name=name, given=given, versions=versions: (  # type: ignore[misc]
                        _resolved(mesh, of, f"{name}.example.com")
                        == sorted(given[version] for version in versions)
                    ),
                    f"the address of {name}",
                )
        orders, others = (addresses_at(choices(f"{n}.example.com")[0]) for n in ("orders", "other"))
        assert mesh.tcp("four", orders[0], 5000) == b"web: hello\n"
        assert mesh.tcp("four", others[0], 5000).startswith(b"220 ")
        assert mesh.tcp("both", orders[1], 5000) == b"web: hello\n"


def test_other_names_are_asked_of_the_pods_name_server(mesh: LiveMesh) -> None:
    """What that says of both versions of IP is handed on."""
    for of in ("four", "both", "six"):
        eventually(
            lambda of=of: (  # type: ignore[misc]
                _resolved(mesh, of, "far.example.com") == ["2001:db8::9", "203.0.113.9"]
            ),
            "what the name server says",
        )
        assert _resolved(mesh, of, "nobody.example.com") == []


_ASK_SIX: Final = """
import socket, sys
name = b"".join(bytes((len(label),)) + label.encode() for label in sys.argv[1].split("."))
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
    asking.settimeout(2)
    asking.connect(("fd44::53", 53))
    asking.send(b"\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0" + name + b"\\0\\0\\x1c\\0\\1")
    print(socket.inet_ntop(socket.AF_INET6, asking.recv(512)[-16:]))
"""


def test_a_name_server_of_ipv6_is_asked_by_way_of_envoy(mesh: LiveMesh) -> None:
    """Nobody is at the address: it is Envoy that answers."""
    given = addresses_at(choices("orders.example.com")[0])
    words = [sys.executable, "-I", "-c", _ASK_SIX, "orders.example.com"]
    with mesh.having(_entry("orders")):
        for of in ("six", "both"):
            network = mesh.pod(of).network
            eventually(
                lambda network=network: (  # type: ignore[misc]
                    mesh.mesh.realm.run(words, network=network).out.strip() == given[1]
                ),
                "Envoy's answer",
            )


def test_a_name_of_one_version_is_not_asked_of_others(mesh: LiveMesh) -> None:
    """An entry with an address of IPv4 alone has none of IPv6, whatever a name server says."""
    entry = _entry("far", "addresses: [240.0.0.9]")
    with mesh.having(entry):
        eventually(
            lambda: _resolved(mesh, "four", "far.example.com") == ["240.0.0.9"], "the own address"
        )
