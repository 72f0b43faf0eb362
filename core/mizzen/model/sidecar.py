"""Istio's Sidecar (networking.istio.io/v1): what a workload's proxy sees and takes, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mizzen.model.gateway import ServerTls
from mizzen.model.kube import Protocol
from mizzen.model.meta import NO_LABELS, Labels, Meta
from mizzen.model.traffic import ConnectionPool

ANY_NAMESPACE: Final = "*"
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - what Istio takes where no address is written


@dataclass(frozen=True, slots=True)
class Import:
    """An entry of ``egress[].hosts``, ``namespace/host``.

    ``namespace`` is ``*`` for any, never ``.``; ``excluded`` is ``~namespace/host``, which takes away.
    """

    namespace: str
    host: str
    excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Egress:
    """``egress[]``: what is seen on one port, or, ``port`` None, on all that no other entry names.

    Attributes:
        bind: Where the proxy listens: an address, or ``unix:///path`` (with ``port`` 0); empty for the
            address that the client was going to.
        captured: False where clients address the proxy themselves (captureMode NONE). In pods of which nothing is
            captured they do anyway.
    """

    port: int | None = None
    hosts: tuple[Import, ...] = ()
    bind: str = ""
    captured: bool = True

    @property
    def is_socket(self) -> bool:
        """Whether it is about a Unix socket, which has no port."""
        return self.bind.startswith("unix://")

    @property
    def address(self) -> str:
        """Where the proxy listens instead of at the destination; empty where it does not."""
        return self.bind or ("" if self.captured else "127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """``ingress[]``: a port of the workload.

    Attributes:
        endpoint: Where its connections go: ``127.0.0.1:8080``, ``[::1]:8080`` or ``unix:///path``; empty
            for the address that the client was going to.
        own_port: The port that they go to on that address; None is the one the client was going to.
        bind: The address on which the proxy listens itself (captureMode NONE); empty where connections are
            captured.
        free_bind: The same in pods of which nothing is captured (captureMode DEFAULT); empty where it is not to
            listen, or would call itself.
        tls: How TLS of the port's own ends, instead of the mesh's.
    """

    port: int
    protocol: Protocol
    endpoint: str = ""
    own_port: int | None = None
    bind: str = ""
    free_bind: str = ""
    tls: ServerTls | None = None
    connection_pool: ConnectionPool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressProxy:
    """``egressProxy``: who gets what goes to unknown destinations."""

    host: str
    subset: str = ""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPolicy:
    """``outboundTrafficPolicy``: what becomes of destinations that the proxy does not know."""

    registry_only: bool
    egress_proxy: EgressProxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """networking.istio.io Sidecar.

    ``egress`` and ``ingress`` empty mean "not written": everything is seen, services say the ports.
    """

    meta: Meta
    selector: Labels = NO_LABELS
    egress: tuple[Egress, ...] = ()
    ingress: tuple[Ingress, ...] = ()
    inbound_pool: ConnectionPool | None = None
    outbound: OutboundPolicy | None = None
