"""Hosts of which a Sidecar can only let all or something be seen: most of them, and quickly told.

A change of a Sidecar asks again of every host what it now is. Where nothing but its services makes a host
(no VirtualService, no other name of its own, none that another host could have), and the Sidecar leaves all of
these, it is what it is for those who see everything: not a byte of it is looked at again.

Where such a host is also there for all namespaces, and nobody rules on it for some of them, it is the same for all
but its own: it is made once for all of them, and of each namespace hardly anything has to be looked at.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.model.meta import NO_LABELS
from mizzen.model.proxy import Scope
from mizzen.resolve.aliases import aliases
from mizzen.resolve.choice import contenders_by_pattern
from mizzen.resolve.domains import neighbours
from mizzen.resolve.rules import has_own_rules, has_rules_for_some
from mizzen.resolve.services import candidates, is_public, seen_from, written
from mizzen.resolve.sidecars import admits, egress, seeing_everything

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.sidecar import Egress
    from mizzen.names import ObjectKey

# Of every namespace, with and without its Sidecar: one object each, so that equal keys are quickly found.
_SCOPES_KEPT: Final = 4096

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


def wider_scope(db: Database, scope: Scope, host: str) -> Scope | None:
    """Return a scope that surely sees the same in a host, and is that of more proxies; None without one."""
    if scope.sidecar is None:
        return _everybodys(db, scope, host)
    if not leaves_all(db, scope, host):
        return None
    whole = _whole(scope)
    return _everybodys(db, whole, host) or whole


@lru_cache(maxsize=_SCOPES_KEPT)
def _whole(scope: Scope) -> Scope:
    return seeing_everything(scope)


def leaves_all(db: Database, scope: Scope, host: str) -> bool:
    """Tell whether a scope's Sidecar surely leaves a host what it is without it.

    Of a host in which all namespaces see the same it is asked once for all of them.
    """
    namespace = "" if is_public(db, host) else scope.namespace
    return _is_left(db, (_asking(namespace, scope.sidecar, scope.captured), host))


@lru_cache(maxsize=_SCOPES_KEPT)
def _asking(namespace: str, sidecar: ObjectKey | None, captured: bool) -> Scope:
    return Scope(namespace=namespace, sidecar=sidecar, captured=captured)


@query
def _is_left(db: Database, key: tuple[Scope, str]) -> bool:
    scope, host = key
    services = plain(db, (scope.namespace, host))
    if services is None:
        return False
    entries = egress(db, scope)
    return all(_leaves(entries, namespace, host, ports) for namespace, ports in services)


def _everybodys(db: Database, scope: Scope, host: str) -> Scope | None:
    """Return the scope of all namespaces where a host is the same for this one as for them; None elsewhere.

    So it surely is where the host is plain, neither of the namespace nor ruled on by it, and there for all.
    """
    if scope.gateway or not scope.namespace:
        return None
    if any(service.namespace == scope.namespace for service in candidates(db, host)):
        return None
    if not _is_common(db, host) or has_own_rules(db, (scope.namespace, host)):
        return None
    return _of_nobody(scope)


@lru_cache(maxsize=_SCOPES_KEPT)
def _of_nobody(scope: Scope) -> Scope:
    return replace(scope, namespace="", labels=NO_LABELS, credentials=False)


@query
def _is_common(db: Database, host: str) -> bool:
    """Tell whether a host is the same for all namespaces that neither have it nor rule on it."""
    if not is_public(db, host) or has_rules_for_some(db, host):
        return False
    return plain(db, ("", host)) is not None


def _leaves(entries: tuple[Egress, ...], namespace: str, host: str, ports: tuple[int, ...]) -> bool:
    if any(entry.address for entry in entries):
        return False
    named = {entry.port: entry for entry in entries}
    rest = named.get(None)
    asked = {id(entry): entry for entry in (named.get(port, rest) for port in ports)}.values()
    return all(one is not None and admits(one.hosts, namespace, host) for one in asked)
