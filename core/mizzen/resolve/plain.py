"""Hosts of which a Sidecar can only let all or something be seen: most of them, and quickly told.

A change of a Sidecar asks again of every host what it now is. Where nothing but its services makes a host
(no VirtualService, no other name of its own, none that another host could have), and the Sidecar leaves all of
these, it is what it is for those who see everything: not a byte of it is looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.proxy import Scope
from mizzen.resolve.aliases import aliases
from mizzen.resolve.choice import contenders_by_pattern
from mizzen.resolve.domains import neighbours
from mizzen.resolve.services import candidates, seen_from, written
from mizzen.resolve.sidecars import admits, egress

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.sidecar import Egress

# By namespace of the service, its ports.
_Ports = tuple[tuple[str, tuple[int, ...]], ...]


@query
def plain(db: Database, key: tuple[str, str]) -> _Ports | None:
    """Return the services that a host is for a namespace (namespace, host); None where more belongs to it."""
    namespace, host = key
    services = candidates(db, host)
    others = contenders_by_pattern(db, host) or aliases(db, host) or neighbours(db, host)
    if others or services != written(db, host):
        return None
    seen = seen_from(Scope(namespace=namespace), services)
    return tuple((one.namespace, tuple(port.number for port in one.ports)) for one in seen)


def leaves_all(db: Database, scope: Scope, host: str) -> bool:
    """Tell whether a scope's Sidecar surely leaves a host what it is without it."""
    services = plain(db, (scope.namespace, host))
    if services is None:
        return False
    entries = egress(db, scope)
    return all(_leaves(entries, namespace, host, ports) for namespace, ports in services)


def _leaves(entries: tuple[Egress, ...], namespace: str, host: str, ports: tuple[int, ...]) -> bool:
    if any(entry.address for entry in entries):
        return False
    named = {entry.port: entry for entry in entries}
    rest = named.get(None)
    asked = {id(entry): entry for entry in (named.get(port, rest) for port in ports)}.values()
    return all(one is not None and admits(one.hosts, namespace, host) for one in asked)
