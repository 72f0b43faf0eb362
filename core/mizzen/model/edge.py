"""What a gateway bears with of its clients: limits, times, and how much of what they say is believed.

It is said of the gateway's pod, in its annotation ``proxy.istio.io/config`` (Istio: ProxyConfig's
``connectionSettings`` and ``gatewayTopology``).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from enum import StrEnum


class Underscores(StrEnum):
    """``httpHeadersWithUnderscoresAction``: names of headers that some servers confuse."""

    ALLOW = "ALLOW"
    REJECT_REQUEST = "REJECT_REQUEST"
    DROP_HEADER = "DROP_HEADER"


class EscapedSlashes(StrEnum):
    """``httpPathWithEscapedSlashesAction``: ``%2F`` and ``%5C`` in paths."""

    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


class ClientCertificates(StrEnum):
    """``forwardClientCertDetails``: what becomes of X-Forwarded-Client-Cert."""

    SANITIZE = "SANITIZE"
    FORWARD_ONLY = "FORWARD_ONLY"
    APPEND_FORWARD = "APPEND_FORWARD"
    SANITIZE_SET = "SANITIZE_SET"
    ALWAYS_FORWARD_ONLY = "ALWAYS_FORWARD_ONLY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What is not written is None, and then as on any gateway.

    Attributes:
        buffer_bytes: How much of a connection is held back for a slow side.
        idle_timeout: Of a connection without requests; ``stream_idle_timeout`` of a request without bytes.
        request_timeout: Until all of a request is there, ``headers_timeout`` until its headers are.
        connection_requests: After how many requests a connection is closed.
        max_streams: Requests of one HTTP/2 connection at a time; the windows are its flow control, in bytes.
        trusted_hops: Proxies before the gateway whose X-Forwarded-For is believed.
        proxy_protocol: Whether each connection says first who it is of (PROXY protocol).
    """

    buffer_bytes: int | None = None
    idle_timeout: timedelta | None = None
    request_timeout: timedelta | None = None
    headers_timeout: timedelta | None = None
    stream_idle_timeout: timedelta | None = None
    connection_requests: int | None = None
    max_streams: int | None = None
    stream_window_bytes: int | None = None
    connection_window_bytes: int | None = None
    underscores: Underscores | None = None
    merge_slashes: bool | None = None
    escaped_slashes: EscapedSlashes | None = None
    trusted_hops: int | None = None
    client_certificates: ClientCertificates | None = None
    proxy_protocol: bool = False

    def over(self, below: Edge) -> Edge:
        """Return what holds: what is written here, and the rest as it is below."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["proxy_protocol"] = self.proxy_protocol or None
        written = {name: value for name, value in values.items() if value is not None}
        return replace(below, **written)


ANY_EDGE = Edge()
