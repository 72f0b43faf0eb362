"""Where a proxy listens by its Sidecar's word: at an address, or a Unix socket, that clients call themselves.

What stands in ``egress[]`` for a port says it alone, where it listens too: a port has one place, at the
destination's own address unless an entry has ``bind`` or ``captureMode: NONE``. A socket has no port and is
there besides: every host that its entry imports is behind it, on all its ports.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mizzen.ir import OutboundListener, TcpProxy
from mizzen.names import BLACK_HOLE_CLUSTER
from mizzen.resolve.sidecars import admits, egress

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Scope
    from mizzen.model.sidecar import Egress
    from mizzen.resolve.services import MeshService


def place_of(db: Database, scope: Scope, port: int) -> Egress | None:
    """Return the entry that has the proxies of a scope listen for a port elsewhere than at destinations."""
    entries = egress(db, scope)
    named = (entry for entry in entries if entry.port == port)
    rest = (entry for entry in entries if entry.port is None)
    found = next(named, None) or next(rest, None)
    return found if found is not None and found.address else None


def sockets_for(db: Database, scope: Scope, service: MeshService) -> tuple[Egress, ...]:
    """Return the entries by which a service is behind a Unix socket."""
    return tuple(
        entry
        for entry in egress(db, scope)
        if entry.is_socket and admits(entry.hosts, service.namespace, service.host)
    )


def is_elsewhere(db: Database, scope: Scope, service: MeshService) -> bool:
    """Tell whether a service has a listener that those who see everything do not have."""
    if sockets_for(db, scope, service):
        return True
    return any(place_of(db, scope, port.number) for port in service.ports)


def placed(scope: Scope, listener: OutboundListener, place: Egress | None) -> OutboundListener:
    """Return a port's listener where a Sidecar has it.

    Those who call the proxy itself have no destination of their own: what is for nobody ends there.
    """
    if place is None or scope.sidecar is None:
        return listener
    binds = not place.captured or place.is_socket
    nowhere = binds and not listener.takes_rest
    return replace(
        listener,
        bind=place.address,
        also=(),
        port=0 if place.is_socket else listener.port,
        binds=binds,
        tcp=TcpProxy(cluster=BLACK_HOLE_CLUSTER) if nowhere else listener.tcp,
        origins=(scope.sidecar, *listener.origins),
    )
