"""Addresses that the mesh gives to hosts without any."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import combinations

import pytest

from mizzen.model.allocation import addresses_at, choices, is_given
from mizzen.model.families import Families
from mizzen.resolve.allocation import allocated, given_addresses
from mizzen.resolve.dns import own_addresses
from mizzen.resolve.listeners import own_listeners
from mizzen.resolve.routes import listener_viewer, route_viewer, viewer, virtual_hosts
from tests.support.small_mesh import SHOP, SmallMesh, host, istio, service

_ASKING = replace(SHOP, dns=True)


def entry(name: str, of: str, more: str = "", *, age: int = 0, namespace: str = "shop") -> str:
    spec = f"""
        hosts: [{of}]
        resolution: STATIC
        ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 90, name: tcp, protocol: TCP}}]
        endpoints: [{{address: 10.1.0.1}}]
        {more}
    """
    return istio("ServiceEntry", name, spec, age=age, namespace=namespace)


def rivals() -> tuple[str, str]:
    """Return two hosts of which the first choice is one and the same."""
    taken: dict[int, str] = {}
    for number in range(10_000):
        name = f"h{number}.example.com"
        if (first := choices(name)[0]) in taken:
            return taken[first], name
        taken[first] = name
    raise LookupError("no two hosts are rivals")


def test_an_address_is_in_the_ranges_and_no_two_are_alike() -> None:
    """IPv4 and IPv6; the range's own first and last address are nobody's."""
    names = [f"a{number}.test" for number in range(300)]
    mesh = SmallMesh(*(entry(f"e{number}", name) for number, name in enumerate(names)))
    found = [allocated(mesh.db, name) for name in names]
    assert len({one for pair in found for one in pair}) == 600
    assert all(ip_address(four) in ip_network("240.240.0.0/16") for four, _six in found)
    assert all(ip_address(six) in ip_network("2001:2::/48") for _four, six in found)
    assert addresses_at(1) == ("240.240.0.1", "2001:2::1")
    assert all(0 < slot < 65_535 for name in names for slot in choices(name))


def test_of_rivals_the_oldest_keeps_its_address() -> None:
    """Whoever comes later takes the next choice, and the first once that is free."""
    one, other = rivals()
    mesh = SmallMesh(entry("one", one, age=1))
    kept = allocated(mesh.db, one)
    mesh.apply(entry("other", other, age=2))
    assert allocated(mesh.db, one) == kept
    assert allocated(mesh.db, other) == addresses_at(choices(other)[1])
    mesh.delete("ServiceEntry", "one")
    assert allocated(mesh.db, other) == kept


def test_an_address_that_somebody_wrote_is_not_given() -> None:
    """As one of a service of his own."""
    mesh = SmallMesh(entry("e", "a.test"))
    first = allocated(mesh.db, "a.test")
    mesh.apply(entry("w", "b.test", f"addresses: [{first[0]}]"))
    assert allocated(mesh.db, "a.test") == addresses_at(choices("a.test")[1])


@pytest.mark.parametrize(
    ("text", "of"),
    [
        (entry("e", "a.test", "addresses: [10.1.1.1]"), "a.test"),
        (entry("e", "'*.test'"), "*.test"),
        (
            entry("e", "a.test").replace(
                "  name: e",
                "  name: e\n  labels: {networking.istio.io/enable-autoallocate-ip: 'false'}",
            ),
            "a.test",
        ),
        (
            entry("e", "a.test")
            .replace("STATIC", "NONE")
            .replace("endpoints: [{address: 10.1.0.1}]", ""),
            "a.test",
        ),
        (service("a"), host("a")),
        ("", "a.test"),
    ],
)
def test_who_gets_no_address(text: str, of: str) -> None:
    """Who has one, who cannot have one, and who does not want one."""
    mesh = SmallMesh(text) if text else SmallMesh()
    assert allocated(mesh.db, of) == ()
    assert own_addresses(mesh.db, (_ASKING, of)) in ((), ("10.1.1.1",))


def test_only_those_whose_dns_is_captured_use_it() -> None:
    """Everybody else asks name servers, and calls what these say."""
    mesh = SmallMesh(entry("e", "a.test"))
    four, six = allocated(mesh.db, "a.test")
    assert own_addresses(mesh.db, (_ASKING, "a.test")) == (four,)
    assert own_addresses(mesh.db, (SHOP, "a.test")) == ()
    for families, expected in ((Families.V6, (six,)), (Families.BOTH, (four, six))):
        asking = replace(_ASKING, families=families)
        assert own_addresses(mesh.db, (asking, "a.test")) == expected
    assert [one.bind for one in own_listeners(mesh.db, (_ASKING, "a.test"))] == [four]
    assert [one.bind for one in own_listeners(mesh.db, (SHOP, "a.test"))] == ["0.0.0.0"]
    (asked, plain) = (virtual_hosts(mesh.db, (scope, "a.test"))[0] for scope in (_ASKING, SHOP))
    assert (four in asked.domains, four in plain.domains) == (True, False)


def test_whose_dns_is_captured_shares_what_is_the_same() -> None:
    """All but the hosts with a given address."""
    mesh = SmallMesh(service("cart"), entry("e", "a.test"))
    for one, of in ((viewer, "a.test"), (route_viewer, "a.test"), (listener_viewer, "a.test")):
        assert one(mesh.db, (_ASKING, of)).dns
    for one in (viewer, route_viewer, listener_viewer):
        pairs = combinations([one(mesh.db, (scope, host("cart"))) for scope in (SHOP, _ASKING)], 2)
        assert all(left == right for left, right in pairs)
    private = "hosts: [cart]\nexportTo: ['.']\nhttp: [{route: [{destination: {host: a.test}}]}]"
    mesh.apply(istio("VirtualService", "v", private))
    assert route_viewer(mesh.db, (_ASKING, host("cart"))) == _ASKING
    ahead = "hosts: [cart]\nhttp: [{route: [{destination: {host: a.test}}]}]"
    mesh.apply(istio("VirtualService", "v", ahead))
    bank = replace(_ASKING, namespace="bank")
    assert route_viewer(mesh.db, (bank, host("cart"))).namespace == ""
    mesh.apply(istio("DestinationRule", "r", "host: a.test", namespace="bank"))
    assert route_viewer(mesh.db, (bank, host("cart"))) == bank


def test_what_entries_were_given_is_told_by_entry() -> None:
    """Two entries of one host have the same; who has addresses, or wants none, is not among them."""
    mesh = SmallMesh(
        entry("a", "a.test"),
        entry("b", "a.test", namespace="bank"),
        entry("c", "c.test", "addresses: [10.1.1.1]"),
    )
    pairs = tuple(("a.test", address) for address in allocated(mesh.db, "a.test"))
    found = given_addresses(mesh.db, "")
    assert {str(key): value for key, value in found.items()} == {
        "ServiceEntry shop/a": pairs,
        "ServiceEntry bank/b": pairs,
    }
    mesh.apply(service("cart"))
    assert given_addresses(mesh.db, "") is found
    assert all(is_given(*pair) for pair in pairs)
    assert not is_given("b.test", pairs[0][1])
