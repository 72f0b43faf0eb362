"""Lookups of the names that clients ask for, before what sends their requests or bytes there."""

from __future__ import annotations

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.dynamic_forward_proxy.v3.dynamic_forward_proxy_pb2 import (
    FilterConfig,
)
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.sni_dynamic_forward_proxy_pb2 import (
    FilterConfig as ServerNameConfig,
)

from mizzen.ir import TcpProxy
from mizzen.render.chain import Chain
from mizzen.render.filters.tcp_proxy import tcp_proxy
from mizzen.render.lookup import requested_names
from mizzen.render.proto import pack


def look_up(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter that looks up a request's host, where its route leads to such a cluster."""
    if chain.by_request is None:
        return ()
    config = FilterConfig(dns_cache_config=requested_names(chain.by_request))
    name = "envoy.filters.http.dynamic_forward_proxy"
    return (HttpFilter(name=name, typed_config=pack(config)),)


def bytes_to(proxy: TcpProxy) -> tuple[Filter, ...]:
    """Return the filters that send bytes on; before it, where that is asked for, the lookup of a server name."""
    if proxy.lookup is None:
        return (tcp_proxy(proxy),)
    config = ServerNameConfig(dns_cache_config=requested_names(proxy.lookup.families))
    config.port_value = proxy.lookup.port
    name = "envoy.filters.network.sni_dynamic_forward_proxy"
    return Filter(name=name, typed_config=pack(config)), tcp_proxy(proxy)
