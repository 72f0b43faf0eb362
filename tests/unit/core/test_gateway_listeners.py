"""Where a router takes bytes: TLS by server names, TCP to one destination, and ports that are contended."""

from __future__ import annotations

from mizzen.ir import GatewayChain, GatewayListener, TcpProxy
from mizzen.model.meta import labels
from mizzen.model.proxy import Workload
from mizzen.resolve.gateway_listeners import gateway_listeners
from tests.support.small_mesh import SmallMesh, host, istio, key, pod, service

GATE = Workload(namespace="ingress", labels=labels({"app": "gate"}))
DB = f"outbound|3306||{host('db')}"
OTHER = f"outbound|3306||{host('other')}"
SERVICES = (
    service("db", "tcp:3306", ip="10.96.0.1"),
    service("other", "tcp:3306", ip="10.96.0.2"),
)
PASSTHROUGH = "tls: {mode: PASSTHROUGH}"


def gateway(name: str, protocol: str, *hosts: str, more: str = "", age: int = 0) -> str:
    spec = f"""
        selector: {{app: gate}}
        servers:
        - port: {{number: 9000, name: p, protocol: {protocol}}}
          hosts: [{", ".join(repr(h) for h in hosts or ("*",))}]
          {more or "# nothing more"}
    """
    return istio("Gateway", name, spec, namespace="ingress", age=age)


def rules(
    part: str, *texts: str, hosts: str = "a.example.com", to: str = "ingress/door", name: str = "v"
) -> str:
    lines = "\n".join(f"  - {{{text}}}" for text in texts)
    return istio("VirtualService", name, f"hosts: [{hosts}]\ngateways: [{to}]\n{part}:\n{lines}")


def listeners(*objects: str) -> tuple[GatewayListener, ...]:
    return gateway_listeners(SmallMesh(*SERVICES, *objects).db, GATE)


TO_DB = "route: [{destination: {host: db}}]"
TO_OTHER = "route: [{destination: {host: other}}]"


def test_tcp_goes_where_the_first_rule_for_the_port_says() -> None:
    """Addresses and sources are not asked for; ports and gateways are."""
    matches = (
        f"match: [{{port: 1}}], {TO_OTHER}",
        f"match: [{{gateways: [else]}}], {TO_OTHER}",
        f"match: [{{port: 9000, destinationSubnets: [10.0.0.0/8], sourceLabels: {{a: b}}}}], {TO_DB}",
    )
    (found,) = listeners(gateway("door", "TCP"), rules("tcp", *matches))
    assert (found.name, found.chains) == ("0.0.0.0_9000", (GatewayChain(tcp=TcpProxy(cluster=DB)),))
    assert found.origins == (key("Gateway", "door", "ingress"), key("VirtualService", "v"))


def test_without_rules_for_it_a_server_does_not_listen() -> None:
    """Nor with rules for other hosts, or for requests alone."""
    tcp, tls = gateway("door", "TCP", "b.example.com"), gateway("door", "TLS", more=PASSTHROUGH)
    assert listeners(tcp) == ()
    assert listeners(tcp, rules("tcp", TO_DB)) == ()
    assert listeners(tls, rules("http", TO_DB)) == ()
    assert listeners(tls, rules("tcp", TO_DB)) == ()


def test_server_names_are_told_apart() -> None:
    """Of several VirtualServices, each name of the oldest that has it."""
    found = listeners(
        gateway("door", "TLS", more=PASSTHROUGH),
        rules("tls", f"match: [{{sniHosts: [a.example.com, b.example.com]}}], {TO_DB}",
              hosts="'*.example.com'"),
        rules("tls", f"match: [{{sniHosts: [b.example.com, '*.c.example.com']}}], {TO_OTHER}",
              hosts="'*.example.com'", name="w"),
    )  # fmt: skip
    chains = [chain for one in found for chain in one.chains]
    assert [(chain.server_names, chain.tcp) for chain in chains] == [
        (("a.example.com",), TcpProxy(cluster=DB)),
        (("b.example.com",), TcpProxy(cluster=DB)),
        (("*.c.example.com",), TcpProxy(cluster=OTHER)),
    ]


def test_a_rule_has_no_server_names_that_its_server_has_not() -> None:
    """Nor those that the server keeps to other namespaces; of a wider name it has what both have."""
    hosts = ("shop/*.shop.com", "bank/*.bank.com", "api.example.com")
    asked = "[a.shop.com, a.bank.com, '*.example.com', else.net]"
    found = listeners(
        gateway("door", "TLS", *hosts, more=PASSTHROUGH),
        rules("tls", f"match: [{{sniHosts: {asked}}}], {TO_DB}", hosts="'*'"),
    )
    assert [chain.server_names for one in found for chain in one.chains] == [
        ("a.shop.com",),
        ("api.example.com",),
    ]


def test_any_server_name_is_any_tls() -> None:
    """Envoy has no name for it."""
    rule = rules("tls", f"match: [{{sniHosts: ['*']}}], {TO_DB}", hosts="'*'")
    (found,) = listeners(gateway("door", "TLS", more=PASSTHROUGH), rule)
    assert [(chain.server_names, chain.tls) for chain in found.chains] == [((), True)]


def test_the_oldest_gateway_says_what_a_port_is_for() -> None:
    """Servers of other kinds are out of force, and a second one of TCP; both sides are told."""
    router = pod("10.0.9.1", "gate", namespace="ingress", mtls=False)
    http, tcp = gateway("http", "HTTP", age=1), gateway("tcp", "TCP", age=2)
    mesh = SmallMesh(*SERVICES, router, tcp, http, rules("tcp", TO_DB, to="ingress/tcp"))
    (found,) = gateway_listeners(mesh.db, GATE)
    assert found.chains == (GatewayChain(routes="http.9000"),)
    path = "spec.servers[0].port"
    told = [("MZ0409", "Gateway ingress/http", path), ("MZ0409", "Gateway ingress/tcp", path)]
    assert [one for one in mesh.findings() if one[0] == "MZ0409"] == told
    assert mesh.messages()[:2] == [
        "port 9000 has HTTP by this one, not by Gateway ingress/tcp",
        "port 9000 has HTTP by Gateway ingress/http, which goes first",
    ]
    mesh.delete("Gateway", "http", "ingress")
    (found,) = gateway_listeners(mesh.db, GATE)
    assert found.chains == (GatewayChain(tcp=TcpProxy(cluster=DB)),)
    assert [one for one in mesh.findings() if one[0] == "MZ0409"] == []
    mesh.apply(gateway("second", "TCP", age=3))
    assert [one[1] for one in mesh.findings() if one[0] == "MZ0409"] == [
        "Gateway ingress/second",
        "Gateway ingress/tcp",
    ]


def test_rules_that_no_server_takes_are_told_of() -> None:
    """Rules for requests at a server of bytes, and the other way round."""
    router = pod("10.0.9.1", "gate", namespace="ingress", mtls=False)
    for protocol, part in (("TCP", "http"), ("HTTP", "tcp")):
        mesh = SmallMesh(*SERVICES, router, gateway("door", protocol), rules(part, TO_DB))
        assert [one[0] for one in mesh.findings()] == ["MZ0309"]
