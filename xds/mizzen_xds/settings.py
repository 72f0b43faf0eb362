"""What can be set of the xDS plane, with the reason of each default."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class XdsSettings:
    """Settings of streams and their server."""

    response_limit_bytes: int = 1024 * 1024
    """Size from which a response is split. gRPC clients refuse 4 MiB by default, and Envoy then
    reconnects for ever without a word; 1 MiB leaves room for one large resource on top. Small values
    cost a round trip each; above 3 MiB the refusal comes near."""

    linger: timedelta = timedelta(seconds=5)
    """How long a cluster stays with a proxy after nothing routes to it any more, counted from the
    proxy's last acknowledgement. Requests that were routed just before still need it. Zero removes at
    once; hours keep dead clusters' memory and health checks."""

    hold_limit: timedelta = timedelta(seconds=10)
    """How long a route waits for its clusters' acknowledgement before it is sent all the same. It is
    met only with a client that does not subscribe to what it needs, and with routes to what does not
    exist: ten seconds are enough for who applies the parts of a change in any order. Zero gives up make
    before break; minutes hide mistakes."""

    tick: timedelta = timedelta(milliseconds=250)
    """How often it is looked whether time alone has made something due: what lingers, and what was held
    too long. Each look takes a microsecond a proxy."""

    empty_classes: int = 256
    """How many classes without a proxy are remembered, so that one that comes back is spared what it
    rejected and given what it last accepted. Zero forgets at once; each costs some kilobytes."""

    keepalive: timedelta = timedelta(seconds=30)
    """How often a connection that was silent is probed, and how long the probe may stay unanswered
    (Istio: 30 s, 10 s). Shorter finds dead peers sooner and costs a packet a connection; beyond
    minutes, middle boxes drop idle connections."""

    receive_limit_bytes: int = 16 * 1024 * 1024
    """Largest request. A proxy that reconnects names every resource it has with its version, some
    100 bytes each: 16 MiB is 150,000 resources."""

    stop_grace: timedelta = timedelta(seconds=1)
    """How long open streams may go on when the server stops; proxies reconnect by themselves."""

    rejections_kept: int = 1000
    """How many of the latest rejections the ledger remembers with their texts."""
