"""Listeners of what leaves a sidecar and of what enters a gateway."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mizzen import ir
from mizzen.model.destination import Tunnel
from mizzen.model.security import PolicyAction
from mizzen.render.gateway import render_gateway
from mizzen.render.listener import render_outbound, render_virtual_outbound
from tests.support.show import show

_UNKNOWN = ir.TcpProxy(cluster="PassthroughCluster")


def _config(chain: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = chain["filters"][-1]["typed_config"]
    return config


def test_an_outbound_listener_doesnt_bind() -> None:
    """virtualOutbound hands it its connections."""
    shown = show(render_outbound(ir.OutboundListener(bind="10.0.0.5", port=3306, tcp=_UNKNOWN)))
    assert (shown["name"], shown["bind_to_port"]) == ("10.0.0.5_3306", False)
    assert shown["traffic_direction"] == "OUTBOUND"
    assert shown["address"]["socket_address"] == {"address": "10.0.0.5", "port_value": 3306}


def test_a_tcp_port_is_not_looked_at() -> None:
    """One chain that matches everything, no inspector: the server may speak first."""
    shown = show(render_outbound(ir.OutboundListener(bind="10.0.0.5", port=1, tcp=_UNKNOWN)))
    assert "listener_filters" not in shown
    (chain,) = shown["filter_chains"]
    assert "filter_chain_match" not in chain


def test_connections_are_told_apart_by_name_and_range() -> None:
    """A chain for each, the rest is the default; TLS is looked at only for server names."""
    chains = (
        ir.TcpChain(server_name="a.test", tcp=ir.TcpProxy(cluster="a")),
        ir.TcpChain(cidr="10.7.0.0/16", tcp=ir.TcpProxy(cluster="b")),
    )
    listener = ir.OutboundListener(bind="0.0.0.0", port=443, chains=chains, tcp=_UNKNOWN)
    shown = show(render_outbound(listener))
    by_name, by_range = shown["filter_chains"]
    assert by_name["filter_chain_match"] == {"server_names": ["a.test"]}
    assert by_range["filter_chain_match"] == {
        "prefix_ranges": [{"address_prefix": "10.7.0.0", "prefix_len": 16}]
    }
    assert [_config(chain)["cluster"] for chain in (by_name, by_range)] == ["a", "b"]
    assert _config(shown["default_filter_chain"])["cluster"] == "PassthroughCluster"
    assert [one["name"] for one in shown["listener_filters"]] == [
        "envoy.filters.listener.tls_inspector"
    ]
    ranges = ir.OutboundListener(bind="0.0.0.0", port=443, chains=chains[1:], tcp=_UNKNOWN)
    assert "listener_filters" not in show(render_outbound(ranges))


def test_a_tcp_proxy_says_how_long_and_by_what() -> None:
    """Istio: tcp.idleTimeout, tcp.maxConnectionDuration, useSourceIp, tunnel."""
    tcp = ir.TcpProxy(
        cluster="c",
        idle_timeout=timedelta(seconds=60),
        max_connection_duration=timedelta(milliseconds=1500),
        hash_on_source=True,
        tunnel=Tunnel(target="proxy:443", post=True),
    )
    shown = show(render_outbound(ir.OutboundListener(bind="10.0.0.5", port=1, tcp=tcp)))
    (chain,) = shown["filter_chains"]
    config = _config(chain)
    del config["@type"]
    assert config == {
        "stat_prefix": "c",
        "cluster": "c",
        "idle_timeout": "60s",
        "max_downstream_connection_duration": "1.500s",
        "hash_policy": [{"source_ip": {}}],
        "tunneling_config": {"hostname": "proxy:443", "use_post": True},
    }


def test_an_http_port_recognises_http_and_passes_other_bytes() -> None:
    """By the first bytes; routes come by name over ADS."""
    listener = ir.OutboundListener(bind="0.0.0.0", port=9080, routes="9080", tcp=_UNKNOWN)
    shown = show(render_outbound(listener))
    (http,) = shown["filter_chains"]
    assert http["filter_chain_match"] == {
        "transport_protocol": "raw_buffer",
        "application_protocols": ["http/1.1", "h2c"],
    }
    config = _config(http)
    assert config["rds"]["route_config_name"] == "9080"
    assert config["stat_prefix"] == "outbound_0.0.0.0_9080;"
    assert config["stream_idle_timeout"] == "0s"
    assert config["use_remote_address"] is False
    other = shown["default_filter_chain"]
    assert (other["name"], _config(other)["cluster"]) == (
        "PassthroughFilterChain",
        "PassthroughCluster",
    )
    (inspector,) = shown["listener_filters"]
    assert inspector["name"] == "envoy.filters.listener.http_inspector"
    assert shown["listener_filters_timeout"] == "0s"


def test_requests_are_marked_and_then_routed() -> None:
    """The router is last; application protocols come from the metadata of the cluster chosen."""
    listener = ir.OutboundListener(bind="0.0.0.0", port=9080, routes="9080", tcp=_UNKNOWN)
    (chain,) = show(render_outbound(listener))["filter_chains"]
    mark, _fault, _cors, router = _config(chain)["http_filters"]
    (value,) = mark["typed_config"]["on_request_headers"]
    assert value["object_key"] == "envoy.network.application_protocols"
    assert value["skip_if_empty"] is True
    source = value["format_string"]["text_format_source"]
    assert source == {"inline_string": "%CLUSTER_METADATA(mizzen:http_alpn)%"}
    assert router["name"] == "envoy.filters.http.router"


def test_a_sniffed_port_sends_other_bytes_to_its_service() -> None:
    """Its TCP chain is no pass-through, so it isn't called one."""
    listener = ir.OutboundListener(
        bind="10.0.0.5", port=9000, routes="a:9000", tcp=ir.TcpProxy(cluster="a"), sniff=True
    )
    other = show(render_outbound(listener))["default_filter_chain"]
    assert "name" not in other
    assert _config(other)["cluster"] == "a"


def test_unknown_destinations_pass_or_end() -> None:
    """ALLOW_ANY and REGISTRY_ONLY differ in one cluster; a loop always ends."""
    for registry_only, expected in ((False, "PassthroughCluster"), (True, "BlackHoleCluster")):
        shown = show(render_virtual_outbound(registry_only=registry_only))
        loop, unknown = shown["filter_chains"]
        assert shown["use_original_dst"] is True
        assert loop["filter_chain_match"] == {"destination_port": 15001}
        assert (_config(loop)["cluster"], _config(unknown)["cluster"]) == (
            "BlackHoleCluster",
            expected,
        )


def test_a_gateway_is_where_trust_begins() -> None:
    """It binds, tells the client's own address, and replaces what the client says of certificates."""
    nothing = ir.RuleSet(action=PolicyAction.ALLOW)
    gateway = ir.GatewayListener(
        bind="0.0.0.0",
        port=8080,
        chains=(ir.GatewayChain(routes="http.8080"),),
        authorization=ir.Authorization(http=(nothing,)),
    )
    shown = show(render_gateway(gateway))
    assert (shown["name"], "bind_to_port" in shown) == ("0.0.0.0_8080", False)
    (chain,) = shown["filter_chains"]
    config = _config(chain)
    assert config["rds"]["route_config_name"] == "http.8080"
    assert config["use_remote_address"] is True
    assert config["forward_client_cert_details"] == "SANITIZE_SET"
    assert [f["name"].rpartition(".")[2] for f in config["http_filters"]] == [
        "rbac",
        "set_filter_state",
        "fault",
        "cors",
        "router",
    ]


def test_a_gateway_tells_tls_by_its_server_name_and_from_plain_text() -> None:
    """Any name is TLS of any name; what is nobody's ends."""
    chains = (
        ir.GatewayChain(server_names=("a.example.com",), tcp=ir.TcpProxy(cluster="a")),
        ir.GatewayChain(tls=True, tcp=ir.TcpProxy(cluster="rest")),
    )
    gateway = ir.GatewayListener(bind="0.0.0.0", port=8443, chains=chains, authorization=ir.OPEN)
    shown = show(render_gateway(gateway))
    assert [one["filter_chain_match"] for one in shown["filter_chains"]] == [
        {"server_names": ["a.example.com"]},
        {"transport_protocol": "tls"},
    ]
    assert "default_filter_chain" not in shown
    assert [one["name"].rpartition(".")[2] for one in shown["listener_filters"]] == [
        "tls_inspector"
    ]
