"""Services and ServiceEntries: hosts that several give, and who is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen import diagnostics as codes
from mizzen.checks import addresses
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.model.meta import NO_LABELS
from mizzen.model.proxy import Scope
from mizzen.model.traffic import Resolution, ServiceEntry
from mizzen.resolve.endpoints import is_of_use
from mizzen.resolve.instances import instances
from mizzen.resolve.services import candidates, seen_from, service_at
from mizzen.resolve.world import hosts_of, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.kube import Service
    from mizzen.resolve.services import MeshService

_CALLED: Final = (Resolution.STATIC, Resolution.DNS, Resolution.DNS_ROUND_ROBIN)
_EVERYONE = Scope(namespace="")


def check(db: Database, item: Service | ServiceEntry) -> Found:
    """Yield the hosts and addresses of an object that others have as well, with who is meant by them."""
    yield from _hosts(db, item)
    yield from addresses.check(db, item)
    if isinstance(item, ServiceEntry) and item.selector is not None and item.resolution in _CALLED:
        yield from _selected(db, item)


def _selected(db: Database, item: ServiceEntry) -> Found:
    """Yield what a ServiceEntry selects and cannot call; and that it selects nobody."""
    names = item.resolution.is_dns
    found = [one for host in item.hosts[:1] for one in instances(db, (item.meta.key, host))]
    if not found:
        wanted = pairs(item.selector or NO_LABELS)
        message = f"no pod or WorkloadEntry of {item.meta.namespace} has {wanted}"
        yield finding(codes.SELECTS_NOTHING, item.meta, "spec.workloadSelector", message)
    unusable = {one.address for one in found if not is_of_use(one.address, names=names)}
    lost = sorted(address or "workload without address" for address in unusable)
    if lost:
        message = f"resolution {item.resolution} takes no {listed(lost)}, which is left out"
        remedy = "Use resolution DNS for names, and STATIC for sockets (unix://)."
        yield finding(codes.NO_EFFECT, item.meta, "spec.workloadSelector", message, remedy)


def _hosts(db: Database, item: Service | ServiceEntry) -> Found:
    for number, host in enumerate(hosts_of(item, settings(db))):
        message = _contest(db, item, host)
        if message:
            path = f"spec.hosts[{number}]" if isinstance(item, ServiceEntry) else "metadata.name"
            yield finding(codes.SHADOWED_SERVICE, item.meta, path, message)


def _only_adds(service: MeshService, first: MeshService) -> bool:
    to_service = first.key.kind == "Service" and service.key.kind == "ServiceEntry"
    same_place = service.namespace == first.namespace and not service.external
    return to_service and same_place and not service.addresses


def _contest(db: Database, item: Service | ServiceEntry, host: str) -> str:
    """Return who is meant by a host that several give; empty where no other one does.

    Nothing is said of a ServiceEntry that but adds endpoints to a Service of its namespace.
    """
    own = Scope(namespace=item.meta.namespace)
    for scope, where in ((own, ""), (_EVERYONE, " in other namespaces")):
        rivals = seen_from(scope, candidates(db, host))
        first = service_at(db, scope, host)
        if first is None:
            continue
        adds = {one.key for one in rivals if _only_adds(one, first)}
        others = [one.key for one in rivals if one.key not in (item.meta.key, *adds)]
        seen = any(one.key == item.meta.key for one in rivals)
        if item.meta.key in adds or not others or not seen:
            continue
        if first.key != item.meta.key:
            return f"{host} is given by {first.key}{where}, which goes first"
        if scope is _EVERYONE or any(key.namespace == own.namespace for key in others):
            return f"{host} is given by this one{where}; {listed(others)} goes behind"
    return ""
