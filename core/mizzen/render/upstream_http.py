"""Which HTTP a cluster speaks, and how long its connections live (HttpProtocolOptions)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from mizzen.ir import SimpleTls, Upstream, UpstreamHttp
from mizzen.render.proto import duration, pack

if TYPE_CHECKING:
    from envoy.config.common.matcher.v3.matcher_pb2 import MatchPredicate
    from google.protobuf.any_pb2 import Any

    from mizzen.model.destination import ConnectionPool

HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
"""The key of the options in ``Cluster.typed_extension_protocol_options``."""


def needs_http_options(upstream: Upstream) -> bool:
    """Tell whether a cluster has anything to say about HTTP: not HTTP/1.1, or how long, or whose name.

    It may have on a TCP port too, for HTTP routes may lead there (TLS origination).
    """
    pool, tls = upstream.connection_pool, upstream.tls
    lifetimes = (
        pool.http_idle_timeout,
        pool.tcp_idle_timeout,
        pool.max_connection_duration,
        pool.max_requests_per_connection,
    )
    return (
        upstream.http is not UpstreamHttp.HTTP1
        or any(lifetime is not None for lifetime in lifetimes)
        or bool(_error_codes(upstream))
        or (isinstance(tls, SimpleTls) and not tls.sni)
    )


def upstream_options(upstream: Upstream) -> Any:
    """Return the packed options of an outbound cluster."""
    tls = upstream.tls if isinstance(upstream.tls, SimpleTls) else None
    pool, codes = upstream.connection_pool, _error_codes(upstream)
    return http_options(upstream.http, pool, tls, error_codes=codes)


def _error_codes(upstream: Upstream) -> tuple[int, ...]:
    detection = upstream.outlier_detection
    return detection.http_error_codes if detection is not None else ()


# Equal pools are common: most clusters have none.
@lru_cache(maxsize=1024)
def http_options(
    http: UpstreamHttp,
    pool: ConnectionPool,
    tls: SimpleTls | None = None,
    *,
    error_codes: tuple[int, ...] = (),
) -> Any:
    """Return the packed options of a cluster; answers with ``error_codes`` count as an endpoint's failure.

    TLS without a server name sends the request's host, and where no names are listed demands a
    certificate for it (Istio: auto_sni and auto_san_validation of TLS mode SIMPLE).
    """
    options = HttpProtocolOptions()
    _apply_protocol(options, http, pool)
    common = options.common_http_protocol_options
    idle = pool.http_idle_timeout if pool.http_idle_timeout is not None else pool.tcp_idle_timeout
    if idle is not None:
        common.idle_timeout.CopyFrom(duration(idle))
    if pool.max_connection_duration is not None:
        common.max_connection_duration.CopyFrom(duration(pool.max_connection_duration))
    if pool.max_requests_per_connection is not None:
        common.max_requests_per_connection.value = pool.max_requests_per_connection
    if tls is not None and not tls.sni:
        by_host = options.upstream_http_protocol_options
        by_host.auto_sni = True
        by_host.auto_san_validation = not (tls.subject_alt_names or tls.insecure_skip_verify)
    if error_codes:
        _fill_errors(options.outlier_detection.error_matcher, error_codes)
    return pack(options)


def _fill_errors(matcher: MatchPredicate, codes: tuple[int, ...]) -> None:
    """Write which answers are failures; of one alone nothing is to be chosen between."""
    several = matcher.or_match.rules
    for code in codes:
        one = several.add() if len(codes) > 1 else matcher
        header = one.http_response_headers_match.headers.add(name=":status")
        header.string_match.exact = str(code)


def _apply_protocol(options: HttpProtocolOptions, http: UpstreamHttp, pool: ConnectionPool) -> None:
    if http is UpstreamHttp.HTTP1:
        options.explicit_http_config.http_protocol_options.SetInParent()
        return
    if http is UpstreamHttp.HTTP2:
        http2 = options.explicit_http_config.http2_protocol_options
    else:
        options.use_downstream_protocol_config.http_protocol_options.SetInParent()
        http2 = options.use_downstream_protocol_config.http2_protocol_options
    http2.SetInParent()
    if pool.max_concurrent_streams is not None:
        http2.max_concurrent_streams.value = pool.max_concurrent_streams
    if pool.pings is not None:
        http2.connection_keepalive.interval.CopyFrom(duration(pool.pings.interval))
        http2.connection_keepalive.timeout.CopyFrom(duration(pool.pings.timeout))
