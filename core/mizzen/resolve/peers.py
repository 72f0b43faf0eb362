"""PeerAuthentication: which mutual TLS mode holds, on a workload's port and for a whole namespace.

The most specific policy that says something wins: workload, namespace, mesh; the oldest within each;
UNSET asks the next one; nothing at all is PERMISSIVE (Istio, PeerAuthentication).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.meta import Labels, selects
from mizzen.model.security import MtlsMode, PeerAuthentication
from mizzen.resolve.world import OBJECT, PEER_POLICIES_IN, settings

if TYPE_CHECKING:
    from mizzen.engine import Database


@query
def policies_in(db: Database, namespace: str) -> tuple[PeerAuthentication, ...]:
    """Return a namespace's policies, the oldest first."""
    found = (OBJECT(db, key) for key in PEER_POLICIES_IN(db, namespace))
    policies = [policy for policy in found if isinstance(policy, PeerAuthentication)]
    return tuple(sorted(policies, key=lambda policy: policy.meta.age_rank))


def namespace_policy(db: Database, namespace: str) -> PeerAuthentication | None:
    """Return the policy of a whole namespace: the oldest one without a selector."""
    return next((p for p in policies_in(db, namespace) if not p.selector), None)


def workload_policy(db: Database, namespace: str, labels: Labels) -> PeerAuthentication | None:
    """Return the oldest policy that selects a workload by its labels.

    Selectors in the root namespace are without effect (Istio).
    """
    if namespace == settings(db).root_namespace:
        return None
    policies = policies_in(db, namespace)
    return next((p for p in policies if p.selector and selects(p.selector, labels)), None)


@query
def namespace_mode(db: Database, namespace: str) -> MtlsMode:
    """Return the mode of a namespace's workloads that no policy of their own selects."""
    for where in (namespace, settings(db).root_namespace):
        policy = namespace_policy(db, where)
        if policy is not None and policy.mode is not MtlsMode.UNSET:
            return policy.mode
    return MtlsMode.PERMISSIVE


@query
def workload_modes(
    db: Database, workload: tuple[str, Labels]
) -> tuple[MtlsMode, tuple[tuple[int, MtlsMode], ...]]:
    """Return the mode of a workload (namespace, labels), and those of single ports that differ in origin.

    Ports are the workload's own (container) ports. None of the modes is UNSET.
    """
    namespace, labels = workload
    policy = workload_policy(db, namespace, labels)
    base = namespace_mode(db, namespace)
    if policy is None:
        return base, ()
    if policy.mode is not MtlsMode.UNSET:
        base = policy.mode
    ports = ((port, base if mode is MtlsMode.UNSET else mode) for port, mode in policy.port_modes)
    return base, tuple(sorted(ports))


def mode_on(db: Database, namespace: str, labels: Labels, port: int) -> MtlsMode:
    """Return the mode of a port of a workload's own."""
    base, ports = workload_modes(db, (namespace, labels))
    return dict(ports).get(port, base)


def takes_mtls(db: Database, namespace: str, labels: Labels, port: int) -> bool:
    """Tell whether a workload's policy lets it take mutual TLS on a port of its own."""
    return mode_on(db, namespace, labels, port) is not MtlsMode.DISABLE
