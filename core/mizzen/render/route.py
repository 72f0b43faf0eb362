"""Route configurations: the head, which RDS carries, and the virtual hosts, which VHDS carries.

The head has the one virtual host that belongs to no object, the catch-all of a sidecar. A gateway's
head has none: Envoy answers 404 by itself where no virtual host matches, and the ``*`` stays free for
a VirtualService of that host.
"""

from __future__ import annotations

import re
from typing import Final

from envoy.config.route.v3 import route_components_pb2 as components
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from mizzen import names
from mizzen.ir import CatchAll, Route, RouteTable, VirtualHost
from mizzen.model.routing import DirectResponse, Redirect
from mizzen.render.filter_settings import apply_filter_settings
from mizzen.render.forward import fill_forward, no_timeout
from mizzen.render.headers import apply_headers, authority_set
from mizzen.render.matching import fill_match
from mizzen.render.proto import ads
from mizzen.wire import Resource, TypeUrl, encode

# Istio's limit; Envoy's own default of 4 KiB refuses bodies that a VirtualService may have.
_MAX_BODY_BYTES: Final = 1 << 20

_RESPONSE_CODES: Final = {
    301: components.RedirectAction.MOVED_PERMANENTLY,
    302: components.RedirectAction.FOUND,
    303: components.RedirectAction.SEE_OTHER,
    307: components.RedirectAction.TEMPORARY_REDIRECT,
    308: components.RedirectAction.PERMANENT_REDIRECT,
}
_KEEP_PREFIX: Final = "%PREFIX()%"
_UNIX: Final = "unix://"
# The port in the name of a route configuration: a gateway's ``http.80``, with more behind it, or a
# sidecar's ``80`` and ``host:80``.
_LISTENING_PORT: Final = re.compile(r"^https?\.([0-9]+)(?=\.|$)|([0-9]+)$")


def render_route_table(table: RouteTable) -> Resource:
    """Return the head of a route configuration, which says that its virtual hosts come by VHDS."""
    head = RouteConfiguration(name=table.name, ignore_port_in_host_matching=not table.by_port)
    head.validate_clusters.value = False
    head.max_direct_response_body_size_bytes.value = _MAX_BODY_BYTES
    head.vhds.config_source.CopyFrom(ads())
    if table.catch_all is CatchAll.PASSTHROUGH:
        route = _catch_all(head, "allow_any")
        route.route.cluster = table.passthrough
        route.route.MergeFrom(no_timeout())
    elif table.catch_all is CatchAll.BLOCK:
        _catch_all(head, "block_all").direct_response.status = 502
    return encode(TypeUrl.ROUTE, table.name, head)


def _catch_all(head: RouteConfiguration, name: str) -> components.Route:
    host = head.virtual_hosts.add(name=name, domains=["*"], include_request_attempt_count=True)
    route = host.routes.add(name=name)
    route.match.prefix = "/"
    return route


def render_virtual_host(host: VirtualHost) -> Resource:
    """Return one virtual host, under the name that VHDS wants it to have inside and out."""
    name = names.virtual_host_name(host.route_configuration, host.host)
    message = components.VirtualHost(
        name=name, domains=host.domains, include_request_attempt_count=True
    )
    if host.redirect_to_https:
        message.require_tls = components.VirtualHost.ALL
    for route in host.routes:
        _fill_route(message.routes.add(), route, host.route_configuration)
    return encode(TypeUrl.VIRTUAL_HOST, name, message)


def _fill_route(message: components.Route, route: Route, route_configuration: str) -> None:
    message.name = route.name
    fill_match(message.match, route.match)
    apply_headers(message, route.headers)
    apply_filter_settings(message, route)
    if route.stat_prefix:
        message.stat_prefix = route.stat_prefix
    match route.action:
        case Redirect() as redirect:
            _fill_redirect(message.redirect, redirect, route_configuration)
        case DirectResponse() as response:
            _fill_direct_response(message.direct_response, response)
        case forward:
            fill_forward(message, forward)
            host = authority_set(route.headers)
            if host and not message.route.host_rewrite_literal:
                message.route.host_rewrite_literal = host


def _fill_redirect(
    message: components.RedirectAction, redirect: Redirect, route_configuration: str
) -> None:
    """Write a redirect; ``%PREFIX()%`` keeps what follows the matched prefix (Istio: ApplyRedirect)."""
    message.response_code = _RESPONSE_CODES[redirect.code]
    if redirect.uri.startswith(_KEEP_PREFIX):
        message.prefix_rewrite = redirect.uri.removeprefix(_KEEP_PREFIX)
    elif redirect.uri:
        message.path_redirect = redirect.uri
    elif redirect.prefix_rewrite:
        message.prefix_rewrite = redirect.prefix_rewrite
    if redirect.authority:
        message.host_redirect = redirect.authority
    if redirect.scheme:
        message.scheme_redirect = redirect.scheme
    if redirect.port is not None:
        message.port_redirect = redirect.port
    elif redirect.derive_port == "FROM_REQUEST_PORT" and not route_configuration.startswith(_UNIX):
        message.port_redirect = _listening_port(route_configuration)


def _listening_port(route_configuration: str) -> int:
    """Return the port that a route configuration is for."""
    found = _LISTENING_PORT.search(route_configuration)
    return int(next(filter(None, found.groups()))) if found else 0


def _fill_direct_response(
    message: components.DirectResponseAction, response: DirectResponse
) -> None:
    message.status = response.status
    if not response.body:
        return
    try:
        message.body.inline_string = response.body.decode()
    except UnicodeDecodeError:
        message.body.inline_bytes = response.body
