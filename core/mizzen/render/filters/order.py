"""The order of filters: one tuple for requests, one for connections.

Each entry returns the filters that it adds to a chain, none where it has nothing to do there. The
guide is Istio's order (``pilot/pkg/networking/core/listener_builder.go``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mizzen.render.filters import (
    application_protocols,
    cors,
    ext_authz,
    fault,
    http_rbac,
    jwt_authn,
    network_rbac,
    requested_names,
    router,
)

if TYPE_CHECKING:
    from envoy.config.listener.v3.listener_components_pb2 import Filter
    from envoy.extensions.filters.network.http_connection_manager.v3 import (
        http_connection_manager_pb2 as hcm,
    )

    from mizzen.render.chain import Chain

HTTP_FILTERS: Final[tuple[Callable[[Chain], tuple[hcm.HttpFilter, ...]], ...]] = (
    ext_authz.ask,  # before tokens are looked at, as in Istio: who decides sees what the client sent
    jwt_authn.authenticate,  # before authorization, which asks for claims
    http_rbac.audit,  # what is denied is recorded too
    http_rbac.deny,  # what is denied is denied whatever allows it, and costs least
    http_rbac.allow,  # before anything that changes the request: policies speak of what the client sent
    application_protocols.offer,  # after the last filter that could choose another cluster
    fault.inject,  # before CORS, as in Istio: preflights meet faults like all requests
    cors.answer,  # answers preflights itself, so after what refuses them
    requested_names.look_up,  # when everything that could answer for itself has not
    router.forward,  # ends the chain; nothing after it would ever run
)

NETWORK_FILTERS: Final[tuple[Callable[[Chain], tuple[Filter, ...]], ...]] = (
    ext_authz.ask_on_tcp,  # as for requests
    network_rbac.audit,  # as for requests
    network_rbac.deny,  # as for requests
    network_rbac.allow,  # before the proxy that connects upstream and ends the chain
)


def http_filters(chain: Chain) -> tuple[hcm.HttpFilter, ...]:
    """Return the HTTP filters of a chain, in order, the router last."""
    return tuple(built for build in HTTP_FILTERS for built in build(chain))


def network_filters(chain: Chain) -> tuple[Filter, ...]:
    """Return the filters that stand before the TCP proxy of a chain, in order."""
    return tuple(built for build in NETWORK_FILTERS for built in build(chain))
