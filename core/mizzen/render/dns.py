"""The listener that answers captured DNS: names of the mesh by itself, all others by the pod's name servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.listener.v3.listener_components_pb2 import ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.udp.dns_filter.v3.dns_filter_pb2 import DnsFilterConfig
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)

from mizzen.capture import DNS_PORT
from mizzen.model.families import Families
from mizzen.render.proto import fill_socket, pack
from mizzen.wire import Resource, TypeUrl, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

LISTENER: Final = "dns"

_LOOPBACK: Final = "127.0.0.1"
_V6_LOOPBACK: Final = "::1"
_TTL_SECONDS: Final = 30  # Istio's
_TIMEOUT_SECONDS: Final = 5
# Questions that wait for a name server at one time; more are answered with an error.
_MAX_PENDING: Final = 256


def render_dns(names: Mapping[str, tuple[str, ...]], families: Families = Families.V4) -> Resource:
    """Return the listener for a table from hosts, wildcards included, to their addresses.

    It is on loopback: that of IPv4, which is everywhere, and where the pod has IPv6 that one too.
    """
    config = DnsFilterConfig(stat_prefix=LISTENER)
    config.server_config.inline_dns_table.external_retry_count = 1
    for host in sorted(names):
        domain = config.server_config.inline_dns_table.virtual_domains.add(name=host)
        domain.endpoint.address_list.address.extend(names[host])
        domain.answer_ttl.FromSeconds(_TTL_SECONDS)
    client = config.client_config
    client.resolver_timeout.FromSeconds(_TIMEOUT_SECONDS)
    client.max_pending_lookups = _MAX_PENDING
    # the asker's own resolver has tried its search list before it asks
    resolver = CaresDnsResolverConfig()
    resolver.dns_resolver_options.no_default_search_domain = True
    client.typed_dns_resolver_config.name = "envoy.network.dns_resolver.cares"
    client.typed_dns_resolver_config.typed_config.CopyFrom(pack(resolver))
    message = Listener(name=LISTENER)
    _fill_loopback(message.address, _LOOPBACK)
    if families is not Families.V4:
        _fill_loopback(message.additional_addresses.add().address, _V6_LOOPBACK)
    message.listener_filters.append(
        ListenerFilter(name="envoy.filters.udp.dns_filter", typed_config=pack(config))
    )
    return encode(TypeUrl.LISTENER, LISTENER, message)


def _fill_loopback(address: Address, loopback: str) -> None:
    address.socket_address.protocol = SocketAddress.UDP
    fill_socket(address.socket_address, loopback, DNS_PORT)
