"""Delegation: which rules a VirtualService has from others, and what is told where it has none."""

from __future__ import annotations

import pytest

from mizzen.model.meta import labels
from mizzen.model.routing import HttpRoute, MatchKind, StringMatch, VirtualService
from mizzen.resolve.delegates import http_rules, keys_of
from mizzen.resolve.routes import virtual_hosts
from tests.support.small_mesh import SHOP, SmallMesh, host, istio, key, service

TO_CART = "route: [{destination: {host: cart}}]"


def root(rule: str, name: str = "root") -> str:
    return istio("VirtualService", name, f"hosts: [cart]\nhttp: [{{{rule}}}]")


def delegate(*rules: str, more: str = "", namespace: str = "bank") -> str:
    lines = "\n".join(f"  - {{{rule}}}" for rule in rules)
    return istio("VirtualService", "d", f"{more}\nhttp:\n{lines}", namespace=namespace)


def rules(mesh: SmallMesh) -> tuple[HttpRoute, ...]:
    item = mesh.world.objects[key("VirtualService", "root")]
    assert isinstance(item, VirtualService)
    return http_rules(mesh.db, item)


TO_DELEGATE = "delegate: {name: d, namespace: bank}"


def merged(outer: str, inner: str) -> list[HttpRoute]:
    wide = f"match: [{outer}], {TO_DELEGATE}" if outer else TO_DELEGATE
    narrow = f"match: [{inner}], {TO_CART}" if inner else TO_CART
    return list(rules(SmallMesh(root(wide), delegate(narrow))))


def test_names_of_a_delegate_are_those_of_its_namespace() -> None:
    """Hosts and gateways, however they are read in the root's."""
    inner = (
        "match: [{gateways: [door, mesh]}], mirror: {host: copies}, "
        "route: [{destination: {host: cart}}]"
    )
    (rule,) = rules(SmallMesh(root(TO_DELEGATE), delegate(inner)))
    assert rule.match[0].gateways == ("bank/door", "mesh")
    assert rule.route[0].destination.host == host("cart", "bank")
    assert rule.mirrors[0].destination.host == host("copies", "bank")


def test_matches_are_those_of_both() -> None:
    """Each pair of alternatives that go together; what both say is the delegate's."""
    outer = (
        "{name: a, uri: {prefix: /a}, headers: {x: {exact: one}}, sourceLabels: {app: web},"
        " port: 80, gateways: [mesh], sourceNamespace: shop, statPrefix: outer}, {name: b, uri: {prefix: /b}}"
    )
    inner = "{name: one, uri: {exact: /a/one}, method: {exact: GET}}, {name: any}"
    (rule,) = merged(outer, inner)
    assert [match.name for match in rule.match] == ["a-one", "a-any", "b-any"]
    first = rule.match[0]
    assert first.uri == StringMatch(MatchKind.EXACT, "/a/one")
    assert first.headers == (("x", StringMatch(MatchKind.EXACT, "one")),)
    assert first.source_labels == labels({"app": "web"})
    assert (first.port, first.gateways, first.source_namespace) == (80, ("mesh",), "shop")
    assert first.stat_prefix == "outer"


@pytest.mark.parametrize(
    ("outer", "inner", "holds"),
    [
        ("", "", True),
        ("{uri: {prefix: /a}}", "", True),
        ("", "{uri: {prefix: /a}}", True),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}", True),
        ("{uri: {prefix: /a/b}}", "{uri: {prefix: /a}}", False),
        ("{uri: {prefix: /a}}", "{uri: {exact: /ab}}", True),
        ("{uri: {exact: /a}}", "{uri: {prefix: /a}}", False),
        ("{uri: {exact: /a}}", "{uri: {exact: /b}}", False),
        ("{uri: {regex: '/a.*'}}", "{uri: {regex: '/a.*'}}", True),
        ("{uri: {regex: '/a.*'}}", "{uri: {exact: /ab}}", False),
        ("{uri: {prefix: /a}}", "{uri: {regex: '/a.*'}}", False),
        ("{headers: {x: {}}}", "{headers: {x: {exact: one}}}", True),
        ("{headers: {x: {exact: one}}}", "{headers: {x: {}}}", False),
        ("{headers: {x: {prefix: one}}}", "{headers: {x: {}}}", False),
        ("{headers: {x: {exact: one}}}", "{headers: {y: {exact: one}}}", True),
        ("{queryParams: {x: {exact: one}}}", "{queryParams: {x: {exact: two}}}", False),
        ("{withoutHeaders: {x: {exact: one}}}", "{withoutHeaders: {x: {exact: two}}}", False),
        ("{method: {exact: GET}}", "{method: {exact: PUT}}", False),
        ("{ignoreUriCase: true, uri: {prefix: /a}}", "{uri: {prefix: /a}}", False),
        ("{port: 80}", "{port: 81}", False),
        ("{sourceLabels: {app: web}}", "{sourceLabels: {app: api}}", False),
        ("{sourceLabels: {app: web}}", "{sourceLabels: {tier: front}}", True),
        ("{sourceNamespace: shop}", "{sourceNamespace: bank}", False),
        ("{gateways: [bank/door, mesh]}", "{gateways: [door]}", True),
        ("{gateways: [door]}", "{gateways: [door]}", False),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a}}, {uri: {prefix: /b}}", False),
        ("{uri: {prefix: /a}}, {uri: {prefix: /b}}", "{uri: {prefix: /b/c}}", True),
    ],
)  # fmt: skip
def test_a_rule_has_to_be_within_its_root(outer: str, inner: str, holds: bool) -> None:
    """It may ask for more, never for something else; else it is out of force, and both are told."""
    assert bool(merged(outer, inner)) == holds
    wide = f"match: [{outer}], {TO_DELEGATE}" if outer else TO_DELEGATE
    narrow = f"match: [{inner}], {TO_CART}" if inner else TO_CART
    mesh = SmallMesh(
        root(wide), delegate(narrow), service("cart"), service("cart", namespace="bank")
    )
    told = [entry for entry in mesh.findings() if entry[0] == "MZ0408"]
    expected = [
        ("MZ0408", "VirtualService bank/d", "spec.http[0].match"),
        ("MZ0408", "VirtualService shop/root", "spec.http[0].delegate"),
    ]
    assert told == ([] if holds else expected)


def test_what_a_delegate_does_not_say_its_root_says() -> None:
    """The path, times, retries, faults, copies, origins and headers; never some of each."""
    outer = (
        "timeout: 3s, retries: {attempts: 1}, rewrite: {uri: /r}, headers: {request: {set: {a: b}}},"
        " mirror: {host: copies}, corsPolicy: {allowOrigins: [{exact: a}]},"
        " fault: {delay: {fixedDelay: 1s}}"
    )
    mesh = SmallMesh(
        root(f"name: outer, {outer}, {TO_DELEGATE}"),
        delegate(f"name: inner, {TO_CART}", f"timeout: 1s, rewrite: {{uri: /d}}, {TO_CART}"),
    )
    item = mesh.world.objects[key("VirtualService", "root")]
    assert isinstance(item, VirtualService)
    wide, (one, two) = item.http[0], rules(mesh)
    assert (one.name, two.name) == ("outer-inner", "outer")
    for rule in (one, two):
        assert (rule.retries, rule.headers, rule.fault) == (wide.retries, wide.headers, wide.fault)
        assert (rule.mirrors, rule.cors) == (wide.mirrors, wide.cors)
    assert (one.timeout, one.rewrite) == (wide.timeout, wide.rewrite)
    assert two.timeout is not None
    assert (two.timeout.total_seconds(), two.rewrite) != (3, wide.rewrite)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ((), "there is no VirtualService bank/d"),
        ((delegate(TO_CART, more="hosts: [x.example.com]"),),
         "VirtualService bank/d has hosts, so it is no delegate"),
        ((delegate(TO_CART, more="exportTo: ['.']"),), "VirtualService bank/d is not exported to shop"),
    ],
)  # fmt: skip
def test_a_delegate_that_is_none_takes_its_rule_along(
    objects: tuple[str, ...], message: str
) -> None:
    """The root's other rules stay; the object says why."""
    mesh = SmallMesh(service("cart"), root(f"{TO_DELEGATE}}}, {{{TO_CART}"), *objects)
    assert [rule.delegate for rule in rules(mesh)] == [None]
    assert ("MZ0310", "VirtualService shop/root", "spec.http[0].delegate") in mesh.findings()
    assert message in mesh.messages()


def test_a_delegate_that_nobody_names_is_told_of() -> None:
    """Until somebody does."""
    mesh = SmallMesh(service("cart"), service("cart", namespace="bank"), delegate(TO_CART))
    assert mesh.findings() == [("MZ0311", "VirtualService bank/d", "spec.hosts")]
    mesh.apply(root(TO_DELEGATE))
    assert mesh.findings() == []


def test_a_change_of_a_delegate_changes_its_roots_hosts() -> None:
    """And the host's status is a matter of both objects."""
    mesh = SmallMesh(service("cart"), root(TO_DELEGATE), delegate(TO_CART))
    (before,) = virtual_hosts(mesh.db, (SHOP, host("cart")))
    root_key, delegate_key = key("VirtualService", "root"), key("VirtualService", "d", "bank")
    assert {root_key, delegate_key} <= set(before.origins)
    mesh.apply(delegate(f"timeout: 1s, {TO_CART}"))
    (after,) = virtual_hosts(mesh.db, (SHOP, host("cart")))
    assert after.routes != before.routes
    item = mesh.world.objects[root_key]
    assert isinstance(item, VirtualService)
    assert keys_of(mesh.db, item) == (root_key, delegate_key)
