"""Names that only the mesh knows: hosts of ServiceEntries with addresses, for proxies that answer DNS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mizzen.engine import Fold, query
from mizzen.model.proxy import Scope
from mizzen.resolve.aliases import real_host
from mizzen.resolve.services import service_at
from mizzen.resolve.world import SERVICES_AT_HOST

if TYPE_CHECKING:
    from mizzen.engine import Database

Addresses = tuple[str, ...]


@query
def known_hosts(db: Database, _scope: Scope) -> frozenset[str]:
    """Return every host that may have a name of the mesh's own."""
    return SERVICES_AT_HOST.all_keys(db)


@query
def own_addresses(db: Database, key: tuple[Scope, str]) -> Addresses:
    """Return what a host's name stands for in the mesh; empty where the cluster's name servers know it.

    They know Services. A ServiceEntry's name leads to its virtual addresses, at which it has listeners, and so
    does what is but another name of it.
    """
    scope, host = key
    service = service_at(db, scope, real_host(db, host))
    if service is None or service.key.kind != "ServiceEntry":
        return ()
    return tuple(one for one in service.virtual_addresses if scope.families.has(one))


def _apply(
    names: Mapping[str, Addresses],
    changes: Mapping[str, tuple[Addresses | None, Addresses | None]],
) -> Mapping[str, Addresses]:
    changed = {
        host: new or () for host, (old, new) in changes.items() if (old or ()) != (new or ())
    }
    if not changed:
        return names
    return {host: ips for host, ips in {**names, **changed}.items() if ips}


NAMES: Final[Fold[Scope, str, Addresses, Mapping[str, Addresses]]] = Fold(
    "names", known_hosts, own_addresses, {}, _apply
)
