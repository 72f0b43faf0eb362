"""Mutual TLS of the mesh that goes on unopened: its server name is the name of the cluster it goes to.

A server name is whatever a stranger writes into it, and a router has clusters that are none of his business.
So before a name is taken for a cluster's, it has to be one of the form that sidecars send, and of the hosts
that are passed on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3.rbac_pb2 import RBAC as RULES
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.sni_cluster.v3.sni_cluster_pb2 import SniCluster
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import (
    TcpProxy,
    UpstreamConnectMode,
)

from mizzen.names import BLACK_HOLE_CLUSTER, is_wildcard
from mizzen.render.proto import pack

if TYPE_CHECKING:
    from collections.abc import Iterable

# What is kept of a connection until the server is there: more than a ClientHello mostly is.
_EARLY_BYTES: Final = 16_384


def sent_on(hosts: Iterable[str], statistics: str) -> tuple[Filter, ...]:
    """Return the filters of a chain that sends connections on to clusters of these hosts."""
    rules = RULES(action=RULES.ALLOW)
    policy = rules.policies["hosts"]
    for host in hosts:
        name = policy.permissions.add().requested_server_name
        name.safe_regex.regex = _server_names(host)
    policy.principals.add(any=True)
    # Nothing is sent to the cluster that is named here: what is sent on has been given another one. That is
    # called once the first bytes have passed the rules, which are not asked before.
    proxy = TcpProxy(
        stat_prefix=statistics,
        cluster=BLACK_HOLE_CLUSTER,
        upstream_connect_mode=UpstreamConnectMode.ON_DOWNSTREAM_DATA,
    )
    proxy.max_early_data_bytes.value = _EARLY_BYTES
    return (
        Filter(
            name="envoy.filters.network.rbac",
            typed_config=pack(RBAC(rules=rules, stat_prefix=f"{statistics}.")),
        ),
        Filter(name="envoy.filters.network.sni_cluster", typed_config=pack(SniCluster())),
        Filter(name="envoy.filters.network.tcp_proxy", typed_config=pack(proxy)),
    )


def _server_names(host: str) -> str:
    """Return what matches the whole of a sidecar's server name for a host (``names.subset_sni``)."""
    ending = f".+{re.escape(host[1:])}" if is_wildcard(host) else re.escape(host)
    return rf"outbound_\.[0-9]+_\.[^.]*_\.{ending}"
