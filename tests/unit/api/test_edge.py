"""What a gateway's pod says of its clients in the annotation proxy.istio.io/config."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mizzen.api.edge import (
    ProxyDefaults,
    check_default_edge,
    default_edge,
    edge_findings,
    edge_of,
)
from mizzen.model.edge import ClientCertificates, Edge, EscapedSlashes, Underscores

pytestmark = pytest.mark.unit

EDGE = Edge(
    buffer_bytes=32_768,
    idle_timeout=timedelta(hours=1),
    request_timeout=timedelta(minutes=5),
    headers_timeout=timedelta(minutes=1),
    stream_idle_timeout=timedelta(minutes=5),
    max_streams=100,
    stream_window_bytes=65_536,
    connection_window_bytes=1_048_576,
    underscores=Underscores.REJECT_REQUEST,
    merge_slashes=True,
    escaped_slashes=EscapedSlashes.UNESCAPE_AND_REDIRECT,
)
ALL = Edge(
    buffer_bytes=1,
    idle_timeout=timedelta(seconds=1),
    request_timeout=timedelta(seconds=2),
    headers_timeout=timedelta(seconds=3),
    stream_idle_timeout=timedelta(seconds=4),
    max_streams=5,
    stream_window_bytes=65_535,
    connection_window_bytes=70_000,
    underscores=Underscores.DROP_HEADER,
    merge_slashes=False,
    escaped_slashes=EscapedSlashes.KEEP_UNCHANGED,
)
WRITTEN = {
    "listenerPerConnectionBufferLimitBytes": 1,
    "httpIdleTimeout": "1s",
    "httpRequestTimeout": "2s",
    "httpRequestHeadersTimeout": "3s",
    "httpStreamIdleTimeout": "4s",
    "httpMaxConcurrentStreams": 5,
    "http2InitialStreamWindowSize": 65_535,
    "http2InitialConnectionWindowSize": 70_000,
    "httpHeadersWithUnderscoresAction": "DROP_HEADER",
    "httpMergeSlashes": False,
    "httpPathWithEscapedSlashesAction": "PATH_WITH_ESCAPED_SLASHES_KEEP_UNCHANGED",
}


@pytest.mark.parametrize(
    ("config", "edge"),
    [
        ({}, None),
        ({"concurrency": 2}, None),
        ({"connectionSettings": {"profile": "EDGE"}}, EDGE),
        ({"connectionSettings": WRITTEN}, ALL),
        ({"connectionSettings": {"profile": "EDGE", **WRITTEN}}, ALL),
        ({"connectionSettings": {"httpHeadersWithUnderscoresAction": "UNSPECIFIED"}}, Edge()),
        ({"gatewayTopology": {}}, Edge()),
        ({"gatewayTopology": {"numTrustedProxies": 2}}, Edge(trusted_hops=2)),
        ({"gatewayTopology": {"forwardClientCertDetails": "UNDEFINED"}}, Edge()),
        (
            {"gatewayTopology": {"forwardClientCertDetails": "SANITIZE", "proxyProtocol": {}}},
            Edge(client_certificates=ClientCertificates.SANITIZE, proxy_protocol=True),
        ),
    ],
)
def test_settings_are_read(config: dict[str, object], edge: Edge | None) -> None:
    """The profile lies below what is written; what else the annotation has is for the injector."""
    assert edge_of(json.dumps(config)) == edge
    assert list(edge_findings(json.dumps(config))) == []


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("[", "MZ0203", ""),
        ("[]", "MZ0203", ""),
        ("connectionSettings: {httpIdleTimeout: soon}", "MZ0203", "httpIdleTimeout"),
        ("connectionSettings: {httpMaxConcurrentStreams: 0}", "MZ0203", "httpMaxConcurrentStreams"),
        ("connectionSettings: {profile: CORE}", "MZ0203", "profile"),
        ("connectionSettings: {httpHeadersWithUnderscoresAction: 1}", "MZ0203", "httpHeaders"),
        ("gatewayTopology: {numTrustedProxies: -1}", "MZ0203", "numTrustedProxies"),
    ],
)
def test_what_is_wrong_is_told_of_and_left_aside(text: str, code: str, field: str) -> None:
    """A pod is in the mesh whatever its annotations say."""
    assert edge_of(text) is None
    (found,) = edge_findings(text)
    assert (found.code.id, found.path[:3]) == (
        code,
        ("metadata", "annotations", "proxy.istio.io/config"),
    )
    assert str(found.path[-1]).startswith(field)


def test_the_meshs_defaults_are_of_the_control_plane_alone() -> None:
    """How many clients a proxy takes in all is said when it starts."""
    limit = {"connectionSettings": {"globalDownstreamConnectionLimit": 9, "profile": "EDGE"}}
    spec = ProxyDefaults.model_validate(limit)
    assert default_edge(spec) == EDGE
    assert [found.path[-1] for found in check_default_edge(spec)] == [
        "globalDownstreamConnectionLimit"
    ]
    empty = ProxyDefaults()
    assert (default_edge(None), default_edge(empty)) == (None, None)
    assert list(check_default_edge(empty)) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("connectionSettings: {clusterPerConnectionBufferLimitBytes: 9}", "MZ0201"),
        ("connectionSettings: {idle: 1s}", "MZ0105"),
    ],
)
def test_what_is_not_read_is_told_of(text: str, code: str) -> None:
    """The rest of it is in force."""
    assert edge_of(text) == Edge()
    assert [found.code.id for found in edge_findings(text)] == [code]
