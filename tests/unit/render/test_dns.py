"""The listener that answers captured DNS."""

from __future__ import annotations

from mizzen.model.families import Families
from mizzen.render.dns import render_dns
from tests.support.show import show


def test_a_table_is_written_in_the_order_of_names() -> None:
    """So that the same names give the same bytes; a wildcard is a name as any other."""
    shown = show(render_dns({"b.example.com": ("240.0.0.2",), "*.a.example.com": ("240.0.0.1",)}))
    config = shown["listener_filters"][0]["typed_config"]
    domains = config["server_config"]["inline_dns_table"]["virtual_domains"]
    assert [one["name"] for one in domains] == ["*.a.example.com", "b.example.com"]
    assert domains[1]["endpoint"] == {"address_list": {"address": ["240.0.0.2"]}}


def test_a_pod_of_ipv6_asks_at_its_own_loopback() -> None:
    """Besides that of IPv4, which every pod has."""
    for families in (Families.V6, Families.BOTH):
        shown = show(render_dns({}, families))
        assert shown["address"]["socket_address"]["address"] == "127.0.0.1"
        (other,) = shown["additional_addresses"]
        assert other["address"]["socket_address"] == {
            "protocol": "UDP",
            "address": "::1",
            "port_value": 15053,
        }


def test_only_the_pod_itself_may_ask() -> None:
    """The listener is on loopback, by UDP."""
    address = show(render_dns({}))["address"]["socket_address"]
    assert address == {"protocol": "UDP", "address": "127.0.0.1", "port_value": 15053}
