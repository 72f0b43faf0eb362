"""Other names of a host: Services of type ExternalName.

Such a Service has nothing of its own. Where its target is a host of the mesh, clients that use the name get what
they would get by the target's, rules included; where it is not, the mesh knows nothing of either, and leaves
the name to name servers (Istio: ``ENABLE_EXTERNAL_NAME_ALIAS``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.model.kube import Service
from mizzen.names import resolve_host
from mizzen.resolve.services import MeshService, candidates, from_object, seen_from
from mizzen.resolve.sidecars import imports
from mizzen.resolve.world import ALIASES_OF, OBJECT, SERVICES_AT_HOST, alias_target, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.proxy import Scope

# Names of names of names: somewhere there is an end, or it is a circle.
_LONGEST: Final = 8


@query
def real_host(db: Database, host: str) -> str:
    """Return the host that a name stands for in the end; mostly it is one itself."""
    for _ in range(_LONGEST):
        ahead = _target(db, host)
        if not ahead:
            break
        host = ahead
    return host


def _target(db: Database, host: str) -> str:
    if candidates(db, host):
        return ""
    found = (OBJECT(db, key) for key in SERVICES_AT_HOST(db, host))
    return next((alias_target(item) for item in found if isinstance(item, Service)), "")


def destination_host(db: Database, host: str, namespace: str) -> str:
    """Return the host that a rule of a namespace means by a destination."""
    return real_host(db, resolve_host(host, namespace, settings(db).domain))


@query
def aliases(db: Database, host: str) -> tuple[MeshService, ...]:
    """Return the Services that are but another name of a host, wherever they may be seen from, sorted."""
    found: dict[str, MeshService] = {}
    ahead = [host]
    while ahead:
        for key in ALIASES_OF(db, ahead.pop()):
            item = OBJECT(db, key)
            name = f"{key.name}.{key.namespace}.svc.{settings(db).domain}"
            alias = from_object(item, name)
            if alias and name not in found and name != host and not candidates(db, name):
                found[name] = alias
                ahead.append(name)
    return tuple(found[name] for name in sorted(found))


def aliases_seen(db: Database, scope: Scope, host: str) -> list[MeshService]:
    """Return those of :func:`aliases` that a scope sees."""
    visible = seen_from(scope, aliases(db, host))
    return [one for one in visible if imports(db, scope, one.namespace, one.host)]
