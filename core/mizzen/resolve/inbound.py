"""The inbound side of a sidecar: its workload's ports, the mutual TLS they ask for, who may come in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeGuard

from mizzen.engine import query
from mizzen.ir import OPEN, InboundPolicy, InboundPort, Origins, PortChecks
from mizzen.model.gateway import ServerTlsMode
from mizzen.model.kube import Protocol, Service, ServicePort
from mizzen.model.meta import selects
from mizzen.model.proxy import Scope, Workload
from mizzen.model.security import MtlsMode
from mizzen.model.sidecar import Ingress, Sidecar
from mizzen.model.traffic import ConnectionPool, ServiceEntry
from mizzen.resolve.authentication import tokens_for
from mizzen.resolve.authorization import authorization_for
from mizzen.resolve.habits import habits
from mizzen.resolve.matching import retry_policy
from mizzen.resolve.peers import namespace_policy, workload_modes, workload_policy
from mizzen.resolve.rules import policy_for, rule_for
from mizzen.resolve.sidecars import sidecar_for
from mizzen.resolve.targets import Services, targeted
from mizzen.resolve.world import OBJECT, SERVICES_SELECTING, hosts_of, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.names import ObjectKey


OWN_TLS: Final = (ServerTlsMode.SIMPLE, ServerTlsMode.MUTUAL, ServerTlsMode.OPTIONAL_MUTUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPort:
    """A port on which a workload serves, and the service that says so."""

    port: int
    service: Service | ServiceEntry
    service_port: ServicePort
    host: str


@query
def served_ports(db: Database, workload: Workload) -> tuple[ServedPort, ...]:
    """Return the ports that services give to a workload, sorted; the oldest service has each."""
    found: dict[int, ServedPort] = {}
    for service in _services_of(db, workload):
        host = hosts_of(service, settings(db))[0]
        for port in service.ports:
            number = target_port(workload, port)
            if number is not None and port.protocol is not Protocol.UDP:
                served = ServedPort(port=number, service=service, service_port=port, host=host)
                found.setdefault(number, served)
    return tuple(found[number] for number in sorted(found))


def _services_of(db: Database, workload: Workload) -> list[Service | ServiceEntry]:
    """Return the services that select a workload, the oldest first."""
    keys = [
        k for pair in workload.labels for k in SERVICES_SELECTING(db, (workload.namespace, pair))
    ]
    found = (OBJECT(db, key) for key in keys)
    chosen = [item for item in found if _selects(item, workload)]
    return sorted(chosen, key=lambda item: item.meta.age_rank)


def _selects(item: object, workload: Workload) -> TypeGuard[Service | ServiceEntry]:
    match item:
        case Service(selector=selector) | ServiceEntry(selector=selector) if selector:
            return selects(selector, workload.labels)
        case _:
            return False


def attached_services(db: Database, workload: Workload) -> tuple[tuple[int, Services], ...]:
    """Return, by port, the services that give it to a workload and that policies are attached to."""
    wanted = targeted(db, workload.namespace)
    found: dict[int, set[ObjectKey]] = {}
    for service in _services_of(db, workload) if wanted else ():
        numbers = (target_port(workload, port) for port in service.ports)
        for number in numbers if service.meta.key in wanted else ():
            if number is not None:
                found.setdefault(number, set()).add(service.meta.key)
    return tuple((number, frozenset(found[number])) for number in sorted(found))


def target_port(workload: Workload, port: ServicePort) -> int | None:
    """Return the number of the workload's own port; None where a named one is not declared."""
    match port.target:
        case None:
            return port.number
        case int():
            return port.target
        case name:
            return dict(workload.ports).get(name)


@query
def inbound_policy(db: Database, workload: Workload) -> InboundPolicy:
    """Return everything that a sidecar does with what arrives for its workload."""
    return replace(
        inbound_ports(db, workload),
        authorization=authorization_for(db, workload),
        tokens=tokens_for(db, workload),
        attached=tuple(
            PortChecks(
                port=port,
                authorization=authorization_for(db, workload, services),
                tokens=tokens_for(db, workload, services),
            )
            for port, services in attached_services(db, workload)
        ),
    )


@query
def inbound_ports(db: Database, workload: Workload) -> InboundPolicy:
    """Return what a sidecar does with what arrives, but for who may come."""
    mesh = settings(db)
    base, port_modes = workload_modes(db, (workload.namespace, workload.labels))
    modes = dict(port_modes)
    ports = tuple(
        with_own_tls(replace(port, mode=modes.get(port.port, base)))
        for port in _inbound_ports(db, workload)
    )
    declared = {port.port for port in ports}
    policy = InboundPolicy(
        ports=ports,
        default_mode=base,
        port_modes=tuple((port, mode) for port, mode in port_modes if port not in declared),
        families=workload.families,
        trust_domains=(mesh.trust_domain, *mesh.trust_domain_aliases),
        authorization=OPEN,
        habits=habits(db),
        server_tls=mesh.server_tls,
        origins=_peer_origins(db, workload),
    )
    written = mesh.inbound_retries
    return policy if written is None else replace(policy, retry=retry_policy(written, hashed=True))


def with_own_tls(port: InboundPort) -> InboundPort:
    """Return a port whose own TLS ends here only where there is no mutual TLS of the mesh (Istio)."""
    end = port.end
    if end is None or end.mode not in OWN_TLS or port.mode is not MtlsMode.DISABLE:
        return replace(port, end=None)
    inside = Protocol.HTTP if port.protocol is Protocol.HTTPS else Protocol.TCP
    return replace(port, protocol=inside)


def _inbound_ports(db: Database, workload: Workload) -> tuple[InboundPort, ...]:
    """Return the ports of a workload: those that its Sidecar says, else those that services say.

    Modes are left UNSET. A Sidecar's limits go before those of a service's rule, a port's before all.
    """
    sidecar = sidecar_for(db, workload.namespace, workload.labels)
    served = served_ports(db, workload)
    if sidecar is None:
        return tuple(_inbound_port(db, port) for port in served)
    if not sidecar.ingress:
        ports = (_inbound_port(db, port) for port in served)
        pool = sidecar.inbound_pool
        return tuple(replace(port, connection_pool=pool) if pool else port for port in ports)
    by_number = {port.port: _inbound_port(db, port) for port in served}
    return tuple(
        _ingress(sidecar, _placed(entry, workload), by_number.get(entry.port))
        for entry in sorted(sidecar.ingress, key=lambda entry: entry.port)
    )


def _placed(entry: Ingress, workload: Workload) -> Ingress:
    """Return a port as a workload has it: where nothing is captured, callers can only call the proxy."""
    return entry if workload.captured or entry.bind else replace(entry, bind=entry.free_bind)


def _inbound_port(db: Database, served: ServedPort) -> InboundPort:
    return InboundPort(
        port=served.port,
        service_port=served.service_port.number,
        protocol=served.service_port.protocol,
        mode=MtlsMode.UNSET,
        host=served.host,
        connection_pool=_pool(db, served),
        endpoint=f"127.0.0.1:{served.port}" if settings(db).loopback else "",
        origins=(served.service.meta.key,),
    )


def _ingress(sidecar: Sidecar, entry: Ingress, served: InboundPort | None) -> InboundPort:
    """Return a port as a Sidecar says it; what it does not say is as a service says it."""
    pool = entry.connection_pool or sidecar.inbound_pool
    return InboundPort(
        port=entry.port,
        service_port=served.service_port if served else entry.port,
        protocol=entry.protocol,
        mode=MtlsMode.UNSET,
        host=served.host if served else "",
        connection_pool=pool or (served.connection_pool if served else None),
        endpoint=entry.endpoint,
        own_port=entry.own_port,
        bind=entry.bind,
        end=entry.tls,
        origins=(sidecar.meta.key, *(served.origins if served else ())),
    )


def _pool(db: Database, served: ServedPort) -> ConnectionPool | None:
    """Return the connection pool that the service's rule sets; it bounds the inbound side too."""
    scope = Scope(namespace=served.service.meta.namespace)
    rule = rule_for(db, (scope, served.host))
    return policy_for(rule, served.service_port.number).connection_pool


def _peer_origins(db: Database, workload: Workload) -> Origins:
    policies = (
        workload_policy(db, workload.namespace, workload.labels),
        namespace_policy(db, workload.namespace),
        namespace_policy(db, settings(db).root_namespace),
    )
    return tuple(dict.fromkeys(policy.meta.key for policy in policies if policy is not None))
