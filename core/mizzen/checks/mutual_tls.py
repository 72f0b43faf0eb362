"""DestinationRules whose TLS the workloads do not take: their PeerAuthentication has the last word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.destination import ClientTls, DestinationRule, TlsMode
from mizzen.model.meta import NO_LABELS, selects
from mizzen.model.proxy import Workload
from mizzen.model.security import MtlsMode
from mizzen.resolve.endpoints import takes_mtls_on
from mizzen.resolve.gateways import gateways_of
from mizzen.resolve.instances import Instance, instances
from mizzen.resolve.peers import mode_on

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.destination import TrafficPolicy
    from mizzen.model.kube import ServicePort
    from mizzen.model.meta import Labels
    from mizzen.resolve.services import MeshService

    Block = tuple[str, ClientTls, Sequence[ServicePort]]


def check(db: Database, item: DestinationRule, service: MeshService) -> Found:
    """Yield where all workloads refuse what clients are told to do; endpoints outside take anything."""
    policies = [("spec.trafficPolicy", item.policy, NO_LABELS)]
    policies += [
        (f"spec.subsets[{n}].trafficPolicy", one.policy, one.labels)
        for n, one in enumerate(item.subsets)
    ]
    for where, policy, labels in policies:
        for path, tls, ports in _blocks(service, where, policy):
            refused = [port for port in ports if _is_refused(db, service, labels, port, tls)]
            if refused:
                begun = _BEGUN[tls.mode]
                taken = "no mutual TLS" if tls.mode is TlsMode.ISTIO_MUTUAL else "mutual TLS alone"
                on = "" if len(refused) == len(service.ports) else f" on {listed(_shown(refused))}"
                message = f"clients {begun}, and the workloads of {service.host} take {taken}{on}"
                yield finding(codes.REFUSED_TLS, item.meta, f"{path}.tls.mode", message)


_BEGUN = {
    TlsMode.DISABLE: "begin no TLS",
    TlsMode.SIMPLE: "begin TLS without showing who they are",
    TlsMode.ISTIO_MUTUAL: "begin mutual TLS",
}


def _shown(ports: Sequence[ServicePort]) -> Iterator[int]:
    return (port.number for port in ports)


def _blocks(service: MeshService, path: str, policy: TrafficPolicy | None) -> Iterator[Block]:
    """Yield path, TLS and ports of what a policy says of TLS."""
    if policy is None:
        return
    own = {number for number, _ in policy.ports}
    if policy.base.tls is not None:
        yield path, policy.base.tls, [port for port in service.ports if port.number not in own]
    for index, (number, block) in enumerate(policy.ports):
        port = service.port(number)
        if block.tls is not None and port is not None:
            yield f"{path}.portLevelSettings[{index}]", block.tls, [port]


def _is_refused(
    db: Database, service: MeshService, labels: Labels, port: ServicePort, tls: ClientTls
) -> bool:
    """Tell whether no workload takes it; of TLS with certificates of one's own nothing is known."""
    if tls.mode is TlsMode.MUTUAL or tls.credential_name:
        return False
    known = [
        one
        for one in instances(db, (service.key, service.host))
        if selects(labels, one.labels) and dict(one.ports).get(port.name)
    ]
    return bool(known) and all(_refuses(db, one, port.name, tls.mode) for one in known)


def _refuses(db: Database, instance: Instance, port: str, mode: TlsMode) -> bool:
    return _is_averse(db, instance, port, mode) and not _is_router(db, instance)


def _is_router(db: Database, instance: Instance) -> bool:
    """Tell whether Gateways say what a workload's ports take."""
    return bool(gateways_of(db, Workload(namespace=instance.namespace, labels=instance.labels)))


def _is_averse(db: Database, instance: Instance, port: str, mode: TlsMode) -> bool:
    if mode is TlsMode.ISTIO_MUTUAL:
        return instance.captive and not takes_mtls_on(db, instance, port)
    number = dict(instance.ports)[port]
    taken = mode_on(db, instance.namespace, instance.labels, number)
    return instance.mtls_ready and taken is MtlsMode.STRICT
