"""Connections as VirtualServices route them: chains of listeners, and whose they are."""

from __future__ import annotations

import pytest

from mizzen.ir import OutboundListener, TcpProxy
from mizzen.model.destination import Tunnel
from mizzen.model.meta import labels
from mizzen.model.proxy import Scope
from mizzen.resolve.listeners import own_listeners
from mizzen.resolve.routes import listener_viewer, viewer
from mizzen.tables import SCOPE_TABLES
from tests.support.small_mesh import BANK, SHOP, SmallMesh, host, istio, service

DB = host("db")
OTHER = f"outbound|3306||{host('other')}"
OWN = f"outbound|3306||{DB}"
SERVICES = (
    service("db", "tcp:3306", ip="10.96.0.1"),
    service("other", "tcp:3306", ip="10.96.0.2"),
    service("safe", "tls:443", ip="10.96.0.3"),
)
TO_OTHER = "route: [{destination: {host: other}}]"
TO_DB = "route: [{destination: {host: db}}]"


def rules(part: str, *texts: str, hosts: str = "db", name: str = "v", more: str = "") -> str:
    lines = "\n".join(f"  - {{{text}}}" for text in texts)
    return istio("VirtualService", name, f"hosts: [{hosts}]\n{more}\n{part}:\n{lines}")


def listeners(*objects: str, of: str = DB, scope: Scope = SHOP) -> tuple[OutboundListener, ...]:
    mesh = SmallMesh(*SERVICES, *objects)
    return own_listeners(mesh.db, (scope, of))


def listener(*objects: str, of: str = DB, scope: Scope = SHOP) -> OutboundListener:
    (found,) = listeners(*objects, of=of, scope=scope)
    return found


def test_a_rule_without_matches_takes_all_connections() -> None:
    """Rules behind it are never asked."""
    found = listener(rules("tcp", TO_OTHER, TO_DB))
    assert (found.tcp, found.chains, found.takes_rest) == (TcpProxy(cluster=OTHER), (), True)
    assert [key.name for key in found.origins] == ["db", "v"]


def test_shares_go_to_several_clusters() -> None:
    """By their weights, under the VirtualService's name; a weight of 0 gets nothing."""
    route = (
        "route: [{destination: {host: db}, weight: 3}, {destination: {host: other}, weight: 1},"
        " {destination: {host: nobody}, weight: 0}]"
    )
    found = listener(rules("tcp", route))
    assert found.tcp == TcpProxy(cluster="v.shop", shares=((OWN, 3), (OTHER, 1)))
    assert found.tcp.clusters == (OWN, OTHER)


def test_a_destinations_rule_says_how_long_its_connections_live() -> None:
    """Of the subset, where one is named."""
    rule = """
        host: db
        trafficPolicy: {connectionPool: {tcp: {idleTimeout: 5s}}}
        subsets:
        - name: v2
          trafficPolicy:
            connectionPool: {tcp: {idleTimeout: 7s}}
            loadBalancer: {consistentHash: {useSourceIp: true}}
    """
    to_subset = "route: [{destination: {host: db, subset: v2}}]"
    found = listener(istio("DestinationRule", "r", rule), rules("tcp", to_subset))
    assert found.tcp.cluster == f"outbound|3306|v2|{DB}"
    assert found.tcp.idle_timeout is not None
    assert (found.tcp.idle_timeout.total_seconds(), found.tcp.hash_on_source) == (7, True)


def test_a_tunnel_is_of_the_host_or_of_the_subset() -> None:
    """A subset has none but its own, and several clusters have none at all (Istio)."""
    rule = istio(
        "DestinationRule",
        "r",
        """
        host: db
        trafficPolicy: {tunnel: {targetHost: proxy, targetPort: 443}}
        subsets:
        - {name: v1}
        - {name: v2, trafficPolicy: {tunnel: {protocol: POST, targetHost: other, targetPort: 80}}}
        """,
    )
    to_subset = "route: [{{destination: {{host: db, subset: {}}}}}]"
    shares = (
        "route: [{destination: {host: db}, weight: 1}, {destination: {host: other}, weight: 1}]"
    )
    assert listener(rule).tcp.tunnel == Tunnel(target="proxy:443")
    assert listener(rule, rules("tcp", to_subset.format("v1"))).tcp.tunnel is None
    found = listener(rule, rules("tcp", to_subset.format("v2"))).tcp.tunnel
    assert found == Tunnel(target="other:80", post=True)
    assert listener(rule, rules("tcp", shares)).tcp.tunnel is None


def test_addresses_are_told_apart_and_the_rest_is_the_services() -> None:
    """The first of two rules for one address counts."""
    found = listener(
        rules(
            "tcp",
            f"match: [{{destinationSubnets: [10.96.0.0/16]}}], {TO_OTHER}",
            f"match: [{{destinationSubnets: [10.96.0.0/16, 10.97.0.0/16]}}], {TO_DB}",
        )
    )
    assert [(chain.cidr, chain.tcp.cluster) for chain in found.chains] == [
        ("10.96.0.0/16", OTHER),
        ("10.97.0.0/16", OWN),
    ]
    assert (found.tcp.cluster, found.takes_rest) == (OWN, True)


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ("port: 3306", True),
        ("port: 3307", False),
        ("sourceLabels: {app: web}", True),
        ("sourceLabels: {app: api}", False),
        ("sourceNamespace: shop", True),
        ("sourceNamespace: bank", False),
        ("gateways: [mesh]", True),
        ("gateways: [door]", False),
        ("gateways: [mesh], sourceLabels: {app: api}", False),
    ],
)  # fmt: skip
def test_what_is_known_in_advance_is_decided_here(match: str, holds: bool) -> None:
    """Port, gateway, and the source's labels and namespace."""
    scope = Scope(namespace="shop", labels=labels({"app": "web"}))
    text = rules("tcp", f"match: [{{{match}}}], {TO_OTHER}", more="gateways: [mesh, door]")
    assert listener(text, scope=scope).tcp.cluster == (OTHER if holds else OWN)


def test_server_names_are_told_apart_and_nothing_else_gets_through() -> None:
    """Where rules name some, connections with others end."""
    spec = rules(
        "tls",
        f"match: [{{sniHosts: [A.example.com, '*.b.example.com']}}], {TO_OTHER}",
        f"match: [{{sniHosts: [a.example.com]}}], {TO_DB}",
        hosts="safe, '*.example.com'",
    )
    found = listener(spec, of=host("safe"))
    assert [(chain.server_name, chain.tcp.cluster) for chain in found.chains] == [
        ("a.example.com", OTHER),
        ("*.b.example.com", OTHER),
    ]
    assert found.tcp.cluster == "BlackHoleCluster"


def test_an_outside_service_is_told_by_rules_instead_of_its_own_name() -> None:
    """On the listener that many share, within its ranges; unknown names go where the unknown goes."""
    entry = """
        hosts: [far.example.com]
        ports: [{number: 443, name: tls, protocol: TLS}]
        resolution: STATIC
        endpoints: [{address: 10.1.0.1}]
    """
    spec = rules(
        "tls", f"match: [{{sniHosts: [far.example.com]}}], {TO_OTHER}", hosts="far.example.com"
    )
    outside = istio("ServiceEntry", "far", entry)
    found = listener(outside, spec, of="far.example.com")
    assert [(c.server_name, c.cidr, c.tcp.cluster) for c in found.chains] == [
        ("far.example.com", "", f"outbound|3306||{host('other')}")
    ]
    assert (found.bind, found.takes_rest, found.tcp.cluster) == (
        "0.0.0.0",
        False,
        "PassthroughCluster",
    )
    ranged = istio("ServiceEntry", "far", f"{entry}    addresses: [10.9.0.0/16]\n")
    found = listener(ranged, spec, of="far.example.com")
    assert [(c.server_name, c.cidr) for c in found.chains] == [("far.example.com", "10.9.0.0/16")]


def test_one_virtual_service_may_have_the_requests_and_another_the_connections() -> None:
    """They do not contend."""
    to_http = "{destination: {host: db, port: {number: 80}}}"
    http = istio("VirtualService", "a", f"hosts: [db]\nhttp: [{{route: [{to_http}]}}]")
    both = service("db", "tcp:3306", "http:80", ip="10.96.0.1")
    mesh = SmallMesh(*SERVICES, both, http, rules("tcp", TO_OTHER))
    (found,) = own_listeners(mesh.db, (SHOP, DB))
    assert found.tcp.cluster == OTHER
    assert mesh.findings() == []
    mesh.apply(rules("tcp", TO_OTHER, name="w"))
    assert [code for code, _, _ in mesh.findings()] == ["MZ0401", "MZ0401"]


def test_who_sees_other_rules_has_listeners_of_its_own() -> None:
    """Without rules for connections everyone shares them."""
    web = Scope(namespace="shop", labels=labels({"app": "web"}))
    mesh = SmallMesh(*SERVICES)
    assert listener_viewer(mesh.db, (web, DB)) == viewer(mesh.db, (web, DB))
    mesh.apply(rules("tcp", f"match: [{{sourceLabels: {{app: web}}}}], {TO_OTHER}"))
    assert listener_viewer(mesh.db, (web, DB)) == web
    mesh.apply(rules("tcp", TO_OTHER, more="exportTo: ['.']"))
    assert [
        SCOPE_TABLES(mesh.db, scope).listeners["10.96.0.1_3306"].requires for scope in (SHOP, BANK)
    ] == [{OTHER}, {OWN}]


def test_a_listener_waits_for_all_its_clusters() -> None:
    """Those of shares too."""
    share = "route: [{destination: {host: db}, weight: 1}, {destination: {host: other}, weight: 1}]"
    mesh = SmallMesh(*SERVICES, rules("tcp", share))
    assert SCOPE_TABLES(mesh.db, SHOP).listeners["10.96.0.1_3306"].requires == {OWN, OTHER}


@pytest.mark.parametrize(
    ("route", "found"),
    [
        ("host: nobody", ("MZ0301", "host")),
        ("host: db, subset: v9", ("MZ0302", "subset")),
        ("host: db, port: {number: 1}", ("MZ0303", "port.number")),
        ("host: many", ("MZ0305", "port")),
    ],
)
def test_destinations_are_looked_for(route: str, found: tuple[str, str]) -> None:
    """As those of requests are."""
    code, field = found
    many = service("many", "tcp-a:1000", "tcp-b:1001", ip="10.96.0.9")
    mesh = SmallMesh(*SERVICES, many, rules("tcp", f"route: [{{destination: {{{route}}}}}]"))
    path = f"spec.tcp[0].route[0].destination.{field}"
    assert mesh.findings() == [(code, "VirtualService shop/v", path)]
