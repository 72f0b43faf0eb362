"""Private worlds for tests with real traffic: the ways in, and Envoys configured by hand.

The realm and the mesh are those of the demo (:mod:`mizzen_cli.demo`); this adds what only tests want.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import yaml

from mizzen_cli.demo.host import Host, UidRange, Way, look_around

if TYPE_CHECKING:
    from pathlib import Path

# Root may map whatever it likes; these uids are no one's on an ordinary system.
_UNUSED: Final = UidRange(start=2_000_000, count=65_536)


def ways_in() -> tuple[Host, ...]:
    """Return the ways into a realm that can be tried here; root can try all of them."""
    if os.geteuid() != 0:
        return (look_around(), Host(way=Way.ONE_UID))
    return (
        Host(way=Way.ROOT),
        Host(way=Way.UID_RANGE, uids=_UNUSED, gids=_UNUSED),
        Host(way=Way.ONE_UID),
    )


def pass_through_bootstrap(file: Path, *, mark: int) -> Path:
    """Write a bootstrap that hands every captured connection on to where it was going.

    Outbound and inbound listeners are those of a sidecar with nothing configured: original destination,
    inbound from 127.0.0.6. Returns the file.
    """
    inbound_source = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    config = {
        "admin": {"address": _address("127.0.0.1", 15000)},
        "static_resources": {
            "listeners": [
                _listener("outbound", 15001, "OUTBOUND"),
                _listener("inbound", 15006, "INBOUND"),
            ],
            "clusters": [
                _cluster("outbound", {}),
                _cluster("inbound", {"upstream_bind_config": inbound_source}),
            ],
        },
    }
    if mark:
        option = {"level": 1, "name": 36, "int_value": mark, "state": "STATE_PREBIND"}
        bind = {"source_address": {"address": "0.0.0.0", "port_value": 0}}
        config["cluster_manager"] = {"upstream_bind_config": bind | {"socket_options": [option]}}
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def _listener(name: str, port: int, direction: str) -> dict[str, object]:
    type_url = "type.googleapis.com/envoy.extensions.filters"
    proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": f"{type_url}.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": name,
            "cluster": name,
        },
    }
    original = {
        "name": "envoy.filters.listener.original_dst",
        "typed_config": {"@type": f"{type_url}.listener.original_dst.v3.OriginalDst"},
    }
    return {
        "name": name,
        "traffic_direction": direction,
        "address": _address("0.0.0.0", port),
        "listener_filters": [original],
        "filter_chains": [{"filters": [proxy]}],
    }


def _cluster(name: str, more: dict[str, object]) -> dict[str, object]:
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
    } | more


def _address(host: str, port: int) -> dict[str, object]:
    return {"socket_address": {"address": host, "port_value": port}}
