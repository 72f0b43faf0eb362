"""Services: what a host means, from where the mesh is seen.

A Kubernetes Service and a ServiceEntry both give the mesh hosts with ports. Several objects may give the
same host; which one counts depends on who asks (Istio: own namespace first, then the Kubernetes Service,
then the oldest).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.kube import Distribution, Service, ServicePort
from mizzen.model.meta import EXPORT_ALL, ExportTo, Meta, visible_from
from mizzen.model.proxy import Scope
from mizzen.model.traffic import Resolution, ServiceEntry
from mizzen.resolve.allocation import allocated
from mizzen.resolve.sidecars import imports
from mizzen.resolve.world import OBJECT, SERVICES_AT_HOST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mizzen.engine import Database
    from mizzen.names import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshService:
    """One host of one object.

    Attributes:
        addresses: Virtual addresses, CIDRs included; empty for headless services and for entries
            without addresses.
        headless: True where clients get the endpoints' own addresses.
        external: True for a MESH_EXTERNAL ServiceEntry: no automatic mTLS.
        resolution: How its endpoints are found; STATIC for Kubernetes' own.
        resolved: False for what is but another name of something else (ExternalName).
        distribution: Which endpoints are used first, where a Service says so.
    """

    key: ObjectKey
    host: str
    meta: Meta
    ports: tuple[ServicePort, ...]
    addresses: tuple[str, ...]
    headless: bool
    external: bool
    resolution: Resolution = Resolution.STATIC
    resolved: bool = True
    export_to: ExportTo
    subject_alt_names: tuple[str, ...] = ()
    distribution: Distribution | None = None

    @property
    def namespace(self) -> str:
        """The namespace of the object."""
        return self.meta.namespace

    @property
    def virtual_addresses(self) -> tuple[str, ...]:
        """The single addresses, without CIDRs: those that have listeners of their own."""
        return tuple(address for address in self.addresses if "/" not in address)

    def port(self, number: int) -> ServicePort | None:
        """Return the port of a number."""
        return next((port for port in self.ports if port.number == number), None)


def from_object(item: object, host: str) -> MeshService | None:
    """Return what an object says of a host; None where it is neither Service nor ServiceEntry."""
    match item:
        case Service():
            return _from_service(item, host)
        case ServiceEntry():
            return _from_entry(item, host)
        case _:
            return None


def _from_service(item: Service, host: str) -> MeshService:
    return MeshService(
        key=item.meta.key,
        host=host,
        meta=item.meta,
        ports=item.ports,
        addresses=item.cluster_ips,
        headless=item.headless,
        external=False,
        resolved=not item.external_name,
        export_to=item.export_to,
        distribution=item.distribution,
    )


def _from_entry(item: ServiceEntry, host: str) -> MeshService:
    return MeshService(
        key=item.meta.key,
        host=host,
        meta=item.meta,
        ports=item.ports,
        addresses=item.addresses,
        headless=False,
        external=item.external,
        resolution=item.resolution,
        export_to=item.export_to,
        subject_alt_names=item.subject_alt_names,
    )


@query
def written(db: Database, host: str) -> tuple[MeshService, ...]:
    """Return everything that gives a host, the preferred first, wherever it may be seen from."""
    found = (from_object(OBJECT(db, key), host) for key in SERVICES_AT_HOST(db, host))
    return tuple(sorted((service for service in found if service), key=_preference))


def candidates(db: Database, host: str) -> tuple[MeshService, ...]:
    """Return what of :func:`written` can be what a host means; another name for a host cannot."""
    return tuple(service for service in written(db, host) if service.resolved)


def _preference(service: MeshService) -> tuple[bool, tuple[float, str, str]]:
    return (service.key.kind != "Service", service.meta.age_rank)


@query
def is_public(db: Database, host: str) -> bool:
    """Tell whether every namespace sees the same in a host, as far as services go."""
    found = written(db, host)
    return len(found) <= 1 and all(service.export_to == EXPORT_ALL for service in found)


def seen_from(scope: Scope, services: Iterable[MeshService]) -> list[MeshService]:
    """Return the services that a scope may see."""
    return [
        service
        for service in services
        if visible_from(scope.namespace, owner=service.namespace, export_to=service.export_to)
    ]


def imported(db: Database, scope: Scope, host: str) -> list[MeshService]:
    """Return the services of a host that a scope may see and does see; without a Sidecar all of them."""
    visible = seen_from(scope, candidates(db, host))
    return [one for one in visible if imports(db, scope, one.namespace, host)]


def service_at(db: Database, scope: Scope, host: str) -> MeshService | None:
    """Return the service that a host is when seen from a scope, or None."""
    visible = imported(db, scope, host) or seen_from(scope, candidates(db, host))
    own = (service for service in visible if service.namespace == scope.namespace)
    first = next(own, visible[0] if visible else None)
    if first is None:
        return None
    if scope.dns and not first.addresses:
        first = _addressed(db, scope, first)
    return first if len(visible) == 1 else _joined(first, visible)


def _addressed(db: Database, scope: Scope, service: MeshService) -> MeshService:
    """Give a host without addresses its own, for those whose questions for it come to the proxy."""
    if service.key.kind != "ServiceEntry" or service.resolution is Resolution.NONE:
        return service
    given = allocated(db, service.host)
    return replace(service, addresses=tuple(one for one in given if scope.families.has(one)))


def _joined(first: MeshService, visible: list[MeshService]) -> MeshService:
    """Add the ports that others of the same namespace give the host besides (Istio: ``addService``)."""
    ports = {port.number: port for port in reversed(first.ports)}
    beside = [one for one in visible if one.namespace == first.namespace]
    more = {
        port.number: port
        for one in reversed(beside)
        for port in one.ports
        if port.number not in ports
    }
    return replace(first, ports=(*first.ports, *more.values())) if more else first
