"""Changes of headers (VirtualService ``headers``), on whatever message takes them.

``set`` overwrites, ``add`` appends. Setting the authority is a rewrite of the host; the other pseudo
headers can't be changed this way and are dropped, as in Istio (``route.go``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.base_pb2 import HeaderValueOption

from mizzen.model.routing import HeaderOperations, Headers

if TYPE_CHECKING:
    from envoy.config.route.v3.route_components_pb2 import Route, WeightedCluster
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_AUTHORITY: Final = frozenset({":authority", "host"})
_NO_HEADERS: Final = Headers()


def apply_headers(message: Route | WeightedCluster.ClusterWeight, headers: Headers) -> None:
    """Write changes of request and response headers into a message in place."""
    if headers == _NO_HEADERS:
        return
    _apply(message.request_headers_to_add, headers.request)
    message.request_headers_to_remove.extend(headers.request.remove)
    _apply(message.response_headers_to_add, headers.response)
    message.response_headers_to_remove.extend(headers.response.remove)


def authority_set(headers: Headers) -> str:
    """Return the host that ``request.set``, or else ``add``, gives the request; empty for none."""
    for name, value in (*headers.request.set, *headers.request.add):
        if name.lower() in _AUTHORITY:
            return value
    return ""


def _apply(
    options: RepeatedCompositeFieldContainer[HeaderValueOption], operations: HeaderOperations
) -> None:
    changes = (
        (HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD, operations.set),
        (HeaderValueOption.APPEND_IF_EXISTS_OR_ADD, operations.add),
    )
    for action, headers in changes:
        for name, value in headers:
            if name.startswith(":") or name.lower() in _AUTHORITY:
                continue
            option = options.add(append_action=action)
            option.header.key = name
            option.header.value = value
