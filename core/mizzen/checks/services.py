"""Services and ServiceEntries: hosts that several give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks import addresses
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.proxy import Scope
from mizzen.model.traffic import ServiceEntry
from mizzen.resolve.services import candidates, seen_from, service_at
from mizzen.resolve.world import hosts_of, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.kube import Service

_EVERYONE = Scope(namespace="")


def check(db: Database, item: Service | ServiceEntry) -> Found:
    """Yield the hosts and addresses of an object that others have as well, with who is meant by them."""
    yield from _hosts(db, item)
    yield from addresses.check(db, item)


def _hosts(db: Database, item: Service | ServiceEntry) -> Found:
    for number, host in enumerate(hosts_of(item, settings(db))):
        message = _contest(db, item, host)
        if message:
            path = f"spec.hosts[{number}]" if isinstance(item, ServiceEntry) else "metadata.name"
            yield finding(codes.SHADOWED_SERVICE, item.meta, path, message)


def _contest(db: Database, item: Service | ServiceEntry, host: str) -> str:
    """Return who is meant by a host that several give; empty where no other one does."""
    own = Scope(namespace=item.meta.namespace)
    for scope, where in ((own, ""), (_EVERYONE, " in other namespaces")):
        rivals = seen_from(scope, candidates(db, host))
        others = [service.key for service in rivals if service.key != item.meta.key]
        first = service_at(db, scope, host)
        if first is None or not others or len(others) == len(rivals):
            continue
        if first.key != item.meta.key:
            return f"{host} is given by {first.key}{where}, which goes first"
        if scope is _EVERYONE or any(key.namespace == own.namespace for key in others):
            return f"{host} is given by this one{where}; {listed(others)} goes behind"
    return ""
