"""How a server's Envoy learns that a TLS connection is the mesh's own, and what is spoken inside.

Istio's sidecars mark mutual TLS by private ALPN names, ``istio`` for bytes and ``istio-http/…`` or
``istio-h2`` for HTTP, and the server's filter chains match on them. Istio's client chooses the names
for each request with a filter of its own. Stock Envoy gets the same marks from two places:

* a cluster that only HTTP uses, or only TCP, has its names in the TLS context;
* a cluster that both use (its port is sniffed) has ``istio`` in the TLS context, and its metadata says
  which names HTTP offers instead; every HTTP chain copies them into the filter state that Envoy's TLS
  socket obeys first (``filters/application_protocols.py``).

Where the client's version of HTTP is spoken on, the names are the same for both versions and none of
them is a plain one: the server then negotiates nothing and knows HTTP/2 by its preface. The name
``istio-peer-exchange`` is never offered nor accepted: whoever sees it negotiated writes Istio's
metadata header into the stream.
"""

from __future__ import annotations

from typing import Final

from mizzen.ir import Upstream, UpstreamHttp

METADATA_NAMESPACE: Final = "mizzen"
METADATA_KEY: Final = "http_alpn"

MESH_HTTP: Final = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
"""What a client that speaks HTTP inside mutual TLS may offer."""
MESH_TCP: Final = ("istio-peer-exchange", "istio")
"""What a client that speaks anything else inside mutual TLS may offer."""
MESH_ALL: Final = (*MESH_TCP, *MESH_HTTP)
PLAIN_HTTP: Final = ("http/1.1", "h2c")
"""What the HTTP inspector calls the plain-text HTTP that it recognised."""
SERVER: Final = ("h2", "http/1.1")
"""What a server negotiates, its own preference first."""

_OFFERED_TCP: Final = ("istio",)
_OFFERED_HTTP: Final = {
    UpstreamHttp.HTTP1: ("istio-http/1.1", "istio", "http/1.1"),
    UpstreamHttp.HTTP2: ("istio-h2", "istio", "h2"),
    UpstreamHttp.CLIENT: ("istio-http/1.1", "istio-h2", "istio"),
}


def offered(upstream: Upstream) -> tuple[str, ...]:
    """Return what the cluster's TLS context offers."""
    return _OFFERED_HTTP[upstream.http] if upstream.protocol.is_http else _OFFERED_TCP


def offered_by_http(upstream: Upstream) -> tuple[str, ...]:
    """Return what HTTP requests offer instead; empty where the TLS context's names are right."""
    shared = not (upstream.protocol.is_http or upstream.protocol.is_tcp)
    return _OFFERED_HTTP[upstream.http] if shared else ()
