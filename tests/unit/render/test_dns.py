"""The listener that answers captured DNS."""

from __future__ import annotations

from mizzen.render.dns import render_dns
from tests.support.show import show


def test_a_table_is_written_in_the_order_of_names() -> None:
    """So that the same names give the same bytes; a wildcard is a name as any other."""
    shown = show(render_dns({"b.example.com": ("240.0.0.2",), "*.a.example.com": ("240.0.0.1",)}))
    config = shown["listener_filters"][0]["typed_config"]
    domains = config["server_config"]["inline_dns_table"]["virtual_domains"]
    assert [one["name"] for one in domains] == ["*.a.example.com", "b.example.com"]
    assert domains[1]["endpoint"] == {"address_list": {"address": ["240.0.0.2"]}}


def test_only_the_pod_itself_may_ask() -> None:
    """The listener is on loopback, by UDP."""
    address = show(render_dns({}))["address"]["socket_address"]
    assert address == {"protocol": "UDP", "address": "127.0.0.1", "port_value": 15053}
