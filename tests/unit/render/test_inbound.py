"""virtualInbound: which chains a port has in which mode, and what is looked at to choose one."""

from __future__ import annotations

from typing import Any, Final

import pytest

from mizzen import ir
from mizzen.model.kube import Protocol
from mizzen.model.security import MtlsMode, PolicyAction
from mizzen.render.inbound import render_inbound
from tests.support.render_samples import FULL_POOL
from tests.support.show import show

STRICT, PERMISSIVE, DISABLE = MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE

_MESH_HTTP: Final = "istio-http/1.0,istio-http/1.1,istio-h2"
_MESH_TCP: Final = "istio-peer-exchange,istio"
_ALL: Final = f"{_MESH_TCP},{_MESH_HTTP}"
_PLAIN: Final = "http/1.1,h2c"

_TABLE: Final = {
    (STRICT, Protocol.UNSET): [f"tls {_MESH_HTTP} -> mTLS HTTP", "tls -> mTLS TCP"],
    (STRICT, Protocol.HTTP): ["tls -> mTLS HTTP"],
    (STRICT, Protocol.TCP): ["tls -> mTLS TCP"],
    (PERMISSIVE, Protocol.UNSET): [
        f"tls {_MESH_HTTP} -> mTLS HTTP",
        f"raw_buffer {_PLAIN} -> HTTP",
        f"tls {_MESH_TCP} -> mTLS TCP",
        "raw_buffer -> TCP",
        "tls -> TCP",
    ],
    (PERMISSIVE, Protocol.GRPC): [f"tls {_ALL} -> mTLS HTTP", "raw_buffer -> HTTP"],
    (PERMISSIVE, Protocol.HTTPS): [f"tls {_ALL} -> mTLS TCP", "tls -> TCP", "raw_buffer -> TCP"],
    (DISABLE, Protocol.UNSET): [f"raw_buffer {_PLAIN} -> HTTP", "raw_buffer -> TCP"],
    (DISABLE, Protocol.HTTP2): ["raw_buffer -> HTTP"],
    (DISABLE, Protocol.MYSQL): ["raw_buffer -> TCP"],
}


def _port(number: int, protocol: Protocol, mode: MtlsMode, **more: Any) -> ir.InboundPort:  # noqa: ANN401 - any field
    return ir.InboundPort(
        port=number, service_port=80, protocol=protocol, mode=mode, host="a", **more
    )


def _policy(
    *ports: ir.InboundPort,
    default: MtlsMode = PERMISSIVE,
    port_modes: tuple[tuple[int, MtlsMode], ...] = (),
    authorization: ir.Authorization = ir.OPEN,
) -> dict[str, Any]:
    return show(
        render_inbound(
            ir.InboundPolicy(
                ports=ports,
                default_mode=default,
                port_modes=port_modes,
                trust_domains=("cluster.local", "old.example"),
                authorization=authorization,
            )
        )
    )


def _summary(chain: dict[str, Any]) -> str:
    """Return what a chain matches and what it does, in a line."""
    match = chain["filter_chain_match"]
    protocols = ",".join(match.get("application_protocols", ()))
    wanted = " ".join(filter(None, (match["transport_protocol"], protocols)))
    last = chain["filters"][-1]["name"].rpartition(".")[2]
    kind = {"http_connection_manager": "HTTP", "tcp_proxy": "TCP"}[last]
    return f"{wanted} -> {'mTLS ' if 'transport_socket' in chain else ''}{kind}"


def _chains(listener: dict[str, Any], port: int) -> list[dict[str, Any]]:
    """Return the chains of a port; 0 is every port that has none of its own."""
    return [
        chain
        for chain in listener["filter_chains"]
        if chain["filter_chain_match"].get("destination_port", 0) == port
    ]


def _config(chain: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = chain["filters"][-1]["typed_config"]
    return config


@pytest.mark.parametrize(("mode", "protocol"), _TABLE)
def test_a_port_has_the_chains_of_its_mode_and_protocol(mode: MtlsMode, protocol: Protocol) -> None:
    """The whole table, with Istio's marks of its own mutual TLS."""
    listener = _policy(_port(8080, protocol, mode))
    chains = _chains(listener, 8080)
    assert [_summary(chain) for chain in chains] == _TABLE[mode, protocol]
    assert {chain["name"] for chain in chains} == {"0.0.0.0_8080"}


@pytest.mark.parametrize("mode", [STRICT, PERMISSIVE, DISABLE])
def test_undeclared_ports_are_sniffed_and_passed_through(mode: MtlsMode) -> None:
    """They have the mode of the workload, or the one that a policy names for them."""
    listener = _policy(default=mode, port_modes=((5000, DISABLE),))
    passed = _chains(listener, 0)
    assert [_summary(chain) for chain in passed] == _TABLE[mode, Protocol.UNSET]
    assert [_summary(c) for c in _chains(listener, 5000)] == _TABLE[DISABLE, Protocol.UNSET]
    for chain in (*passed, *_chains(listener, 5000)):
        http = "route_config" in _config(chain)
        assert chain["name"] == ("virtualInbound-catchall-http" if http else "virtualInbound")
        assert "InboundPassthroughCluster" in str(_config(chain))


def test_a_declared_port_has_its_own_mode_only() -> None:
    """A policy's mode for a port is in the port already where the port is declared."""
    listener = _policy(_port(8080, Protocol.HTTP, STRICT), port_modes=((8080, DISABLE),))
    assert [_summary(c) for c in _chains(listener, 8080)] == _TABLE[STRICT, Protocol.HTTP]


def test_the_listeners_own_port_is_a_black_hole() -> None:
    """A connection to 15006 itself would come back for ever."""
    (chain,) = _chains(_policy(), 15006)
    assert (chain["name"], _config(chain)["cluster"]) == (
        "virtualInbound-blackhole",
        "BlackHoleCluster",
    )


def test_a_client_must_show_a_certificate_of_a_trusted_domain() -> None:
    """Ours and its aliases; the plain ALPN names are negotiated for HTTP, none for bytes."""
    http, tcp = _chains(_policy(default=STRICT), 0)
    context = http["transport_socket"]["typed_config"]
    common = context["common_tls_context"]
    validation = common["combined_validation_context"]["default_validation_context"]
    prefixes = [m["matcher"]["prefix"] for m in validation["match_typed_subject_alt_names"]]
    assert prefixes == ["spiffe://cluster.local/", "spiffe://old.example/"]
    assert context["require_client_certificate"] is True
    assert common["alpn_protocols"] == ["h2", "http/1.1"]
    assert common["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert "alpn_protocols" not in tcp["transport_socket"]["typed_config"]["common_tls_context"]


def test_requests_go_to_the_application_without_a_time_limit() -> None:
    """The only route there is, under Istio's names; a request it never saw is tried again."""
    (_tls, raw) = _chains(_policy(_port(8080, Protocol.HTTP, PERMISSIVE)), 8080)
    routes = _config(raw)["route_config"]
    (host,) = routes["virtual_hosts"]
    assert (routes["name"], host["name"], host["domains"]) == (
        "inbound|8080||",
        "inbound|http|80",
        ["*"],
    )
    assert host["routes"] == [
        {
            "name": "default",
            "match": {"prefix": "/"},
            "route": {
                "cluster": "inbound|8080||",
                "timeout": "0s",
                "max_stream_duration": {
                    "max_stream_duration": "0s",
                    "grpc_timeout_header_max": "0s",
                },
                "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
            },
        }
    ]
    assert _config(raw)["stat_prefix"] == "inbound_0.0.0.0_8080;"


def test_grpc_is_not_tried_again() -> None:
    """Its clients have retries of their own."""
    (chain,) = _chains(_policy(_port(8080, Protocol.GRPC, STRICT)), 8080)
    assert "retry_policy" not in str(_config(chain))


def test_a_connection_pool_bounds_clients_connections() -> None:
    """Idle times and duration hold on the way in too."""
    http = _port(8080, Protocol.HTTP, DISABLE, connection_pool=FULL_POOL)
    tcp = _port(9090, Protocol.TCP, DISABLE, connection_pool=FULL_POOL)
    listener = _policy(http, tcp)
    (by_http,), (by_tcp,) = _chains(listener, 8080), _chains(listener, 9090)
    assert _config(by_http)["common_http_protocol_options"] == {"idle_timeout": "15s"}
    assert _config(by_tcp)["idle_timeout"] == "30s"
    assert _config(by_tcp)["max_downstream_connection_duration"] == "600s"


def _disabled(listener: dict[str, Any]) -> dict[str, object]:
    """Return for each inspector where it is switched off; ``None`` is nowhere."""
    return {
        found["name"].rpartition(".")[2]: found.get("filter_disabled")
        for found in listener["listener_filters"]
        if found["name"].endswith("inspector")
    }


def _range(start: int, end: int) -> dict[str, object]:
    return {"destination_port_range": {"start": start, "end": end}}


def test_what_needs_no_inspection_is_not_inspected() -> None:
    """A server that speaks first on such a port isn't kept waiting for its client."""
    listener = _policy(
        _port(7000, Protocol.TCP, DISABLE),
        _port(7001, Protocol.HTTP, DISABLE),
        _port(8000, Protocol.HTTP, STRICT),
        _port(9000, Protocol.UNSET, DISABLE),
    )
    not_tls = {"or_match": {"rules": [_range(7000, 7002), _range(9000, 9001)]}}
    not_http = {"or_match": {"rules": [_range(7000, 7002), _range(8000, 8001)]}}
    assert _disabled(listener) == {"tls_inspector": not_tls, "http_inspector": not_http}


def test_inspection_is_only_where_it_is_needed() -> None:
    """Where undeclared ports need none, it is on for the ports that do."""
    listener = _policy(_port(8000, Protocol.HTTP, STRICT), default=DISABLE)
    only = {"not_match": _range(8000, 8001)}
    assert _disabled(listener)["tls_inspector"] == only
    assert _disabled(_policy(default=DISABLE)) == {"http_inspector": None}
    assert _disabled(_policy(default=STRICT)) == {"tls_inspector": None}


def test_every_chain_asks_for_authorization() -> None:
    """HTTP chains and TCP chains have their own rules; pass-through ones too."""
    nothing = ir.RuleSet(action=PolicyAction.ALLOW)
    closed = ir.Authorization(http=(nothing,), tcp=(nothing,))
    listener = _policy(_port(8080, Protocol.UNSET, PERMISSIVE), authorization=closed)
    for chain in (*_chains(listener, 0), *_chains(listener, 8080)):
        names = [f["name"] for f in (*chain["filters"], *_config(chain).get("http_filters", ()))]
        assert any(name.endswith(".rbac") for name in names), chain["name"]
