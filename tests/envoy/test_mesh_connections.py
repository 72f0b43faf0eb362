"""Connections as they meet VirtualServices: TCP by port, source, address and shares; TLS by server name."""

from __future__ import annotations

import ssl
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_manifests import PORTS
from tests.support.live_mesh import (
    ANY_PORT,
    GREETING_PORT,
    TCP_PORT,
    LiveMesh,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_TLS_PORT: Final = 8443
# The application takes any bytes there, a ClientHello among them, and sends them back with its name.
_PORTS: Final = f"{PORTS} tls:{_TLS_PORT}:5555"
_TO_API: Final = "route: [{destination: {host: api}}]"
_TO_WEB: Final = "route: [{destination: {host: web}}]"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Two clients, two services, and a host outside that is known by name alone."""
    outside = f"""
        hosts: [a.far.example, b.far.example]
        ports: [{{number: 8444, name: tls, protocol: TLS}}]
        resolution: STATIC
        endpoints: [{{address: {pod_ip(13)}, ports: {{tls: 5555}}}}]
    """
    files = {
        "web.yaml": pod("web-v1", 11, app="web")
        + pod("web-v2", 12, app="web", version="v2")
        + service("web", 11, ("web-v1", 11), ("web-v2", 12), ports=_PORTS),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13), ports=_PORTS),
        "far.yaml": istio("ServiceEntry", "far", outside, namespace="test"),
        "clients.yaml": pod("ann", 2) + pod("bob", 3),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _rules(part: str, *rules: str, hosts: str = "web") -> str:
    lines = "\n".join(f"  - {{{rule}}}" for rule in rules)
    return istio("VirtualService", "rules", f"hosts: [{hosts}]\n{part}:\n{lines}", namespace="test")


def _hello(server_name: str) -> bytes:
    """Return the first bytes of a TLS connection to a server of this name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    client = context.wrap_bio(incoming, outgoing, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _asked(mesh: LiveMesh, of: str, at: str, port: int, data: bytes = b"hello\n") -> str:
    """Return the name of the application that answers; empty where the connection is ended."""
    return mesh.tcp(of, at, port, data).partition(b":")[0].decode()


def test_connections_are_shared_out(mesh: LiveMesh) -> None:
    """By weights, over hosts and over the subsets of one."""
    route = (
        "route: [{destination: {host: web, subset: v2}, weight: 50},"
        " {destination: {host: api}, weight: 50}, {destination: {host: api, subset: none}, weight: 0}]"
    )
    subsets = istio(
        "DestinationRule",
        "web",
        "host: web\nsubsets: [{name: v2, labels: {version: v2}}]",
        namespace="test",
    )
    with mesh.having(_rules("tcp", f"match: [{{port: {TCP_PORT}}}], {route}"), subsets):
        counted = Counter(_asked(mesh, "ann", "web", TCP_PORT) for _ in range(40))
        gone = mesh.stats("ann", rf"^cluster\.outbound\|{TCP_PORT}\|v2\|web.*upstream_cx_total$")
    assert set(counted) == {"web", "api"}
    assert 5 < counted["api"] < 35
    assert sum(gone.values()) == counted["web"]


def test_ports_and_sources_choose(mesh: LiveMesh) -> None:
    """One port of a service for all, another one for some clients; the rest is as it was."""
    rules = _rules(
        "tcp",
        f"match: [{{port: {GREETING_PORT}}}], {_TO_API}",
        f"match: [{{port: {TCP_PORT}, sourceLabels: {{app: bob}}}}], {_TO_API}",
        f"match: [{{port: {TCP_PORT}, sourceNamespace: elsewhere}}], {_TO_API}",
    )
    with mesh.having(rules):
        greeting = mesh.tcp("ann", "web", GREETING_PORT, b"")
        asked = {of: _asked(mesh, of, "web", TCP_PORT) for of in ("ann", "bob")}
    assert greeting == b"220 api\r\n"
    assert asked == {"ann": "web", "bob": "api"}


def test_addresses_choose(mesh: LiveMesh) -> None:
    """A block that has the service's address, and one that does not."""
    blocks = {f"{service_ip(11)}/30": "api", "192.0.2.0/24": "web"}
    for block, name in blocks.items():
        rule = f"match: [{{port: {TCP_PORT}, destinationSubnets: ['{block}']}}], {_TO_API}"
        with mesh.having(_rules("tcp", rule)):
            assert _asked(mesh, "ann", "web", TCP_PORT) == name


def test_bytes_of_an_undeclared_port_are_routed_and_its_requests_are_not(mesh: LiveMesh) -> None:
    """What is HTTP there goes by the rules of http."""
    with mesh.having(_rules("tcp", f"match: [{{port: {ANY_PORT}}}], {_TO_API}")):
        bytes_to = _asked(mesh, "ann", "web", ANY_PORT)
        request = mesh.call("ann", f"http://web:{ANY_PORT}/")
    assert (bytes_to, request.seen["service"]) == ("api", "web")


def test_server_names_choose(mesh: LiveMesh) -> None:
    """Exact ones and wildcards; connections with others end."""
    rules = _rules(
        "tls",
        f"match: [{{sniHosts: [a.shop.example]}}], {_TO_WEB}",
        f"match: [{{sniHosts: ['*.b.shop.example']}}], {_TO_API}",
        hosts="web, '*.shop.example'",
    )
    names = ("a.shop.example", "x.b.shop.example", "c.shop.example")
    with mesh.having(rules):
        found = [_asked(mesh, "ann", "web", _TLS_PORT, _hello(name)) for name in names]
    assert found == ["web", "api", ""]


def test_outside_names_are_routed_wherever_they_seem_to_be(mesh: LiveMesh) -> None:
    """A host without an address is told by its server name alone; its neighbour is not touched."""
    rule = f"match: [{{port: 8444, sniHosts: [a.far.example]}}], route: [{{destination: {{host: web, port: {{number: {_TLS_PORT}}}}}}}]"
    names = ("a.far.example", "b.far.example")
    with mesh.having(_rules("tls", rule, hosts="a.far.example")):
        found = [_asked(mesh, "ann", "192.0.2.7", 8444, _hello(name)) for name in names]
    assert found == ["web", "api"]


def test_server_names_are_not_all_that_chooses(mesh: LiveMesh) -> None:
    """Addresses, labels and namespaces of clients as well."""
    name = "a.shop.example"
    for match, found in (
        (f"destinationSubnets: ['{service_ip(11)}/30']", ["api", "api"]),
        ("destinationSubnets: ['192.0.2.0/24']", ["", ""]),
        ("sourceLabels: {app: bob}", ["", "api"]),
        ("sourceNamespace: test", ["api", "api"]),
        ("sourceNamespace: elsewhere", ["", ""]),
    ):
        rule = f"match: [{{sniHosts: [{name}], {match}}}], {_TO_API}"
        other = f"match: [{{sniHosts: [b.shop.example]}}], {_TO_WEB}"
        with mesh.having(_rules("tls", rule, other, hosts="web, '*.shop.example'")):
            asked = [_asked(mesh, of, "web", _TLS_PORT, _hello(name)) for of in ("ann", "bob")]
        assert (match, asked) == (match, found)


_ORDERS: Final = tuple(permutations(("service", "subset", "rules")))


@pytest.mark.parametrize("number", range(len(_ORDERS)), ids=lambda n: "-".join(_ORDERS[n]))
def test_rules_for_connections_come_and_go_in_any_order(mesh: LiveMesh, number: int) -> None:
    """Each object has been offered before the next is saved, and no connection fails at any time."""
    host = f"next-{number}"
    subset = f"host: {host}\nsubsets: [{{name: only, labels: {{app: api}}}}]"
    route = (
        f"route: [{{destination: {{host: {host}, subset: only, port: {{number: {TCP_PORT}}}}}}}]"
    )
    objects = {
        "service": service(host, 30 + number, ("api", 13), ports=_PORTS),
        "subset": istio("DestinationRule", host, subset, namespace="test"),
        "rules": _rules("tcp", f"match: [{{port: {TCP_PORT}}}], {route}"),
    }
    answers: Counter[str] = Counter()

    def ask() -> str:
        answers[name := _asked(mesh, "ann", "web", TCP_PORT)] += 1
        return name

    def ask_often() -> None:
        for _ in range(5):
            ask()

    for kind in _ORDERS[number]:
        mesh.write(f"{kind}.yaml", objects[kind])
        mesh.notice()
        ask_often()
    mesh.settle()
    assert ask() == "api"
    for kind in _ORDERS[number]:
        mesh.remove(f"{kind}.yaml")
        mesh.notice()
        ask_often()
    mesh.settle()
    assert ask() == "web"
    assert answers.keys() == {"web", "api"}
