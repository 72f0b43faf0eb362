"""For whom a policy is: by the labels of workloads, or by the objects that it is attached to.

A policy of a Gateway (of the Gateway API) is for the pods that were made for it, which have its name in a
label. One of a Service or ServiceEntry is for the workloads that this selects, on the ports that it gives
them, whoever calls and by whatever name. Istio has waypoints enforce the latter; here the workloads' own
proxies do, because a policy that nobody enforces would leave open what it is to close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.model.meta import Labels, label, selects
from mizzen.model.security import AuthorizationPolicy, RequestAuthentication, Target
from mizzen.names import ObjectKey
from mizzen.resolve.world import OBJECT, POLICIES_IN, TOKEN_POLICIES_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.model.meta import Meta
    from mizzen.model.proxy import Workload

SERVICES: Final = ("Service", "ServiceEntry")
_GATEWAY_NAMES: Final = ("gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name")

Services = frozenset[ObjectKey]
NO_SERVICES: Final[Services] = frozenset()


def holds(
    policy: AuthorizationPolicy | RequestAuthentication, workload: Workload, services: Services
) -> bool:
    """Tell whether a policy of its own or the root namespace is for a workload's port, given by services."""
    if not policy.targets:
        return selects(policy.selector, workload.labels)
    if policy.meta.namespace != workload.namespace:
        return False
    return any(_is_for(one, policy.meta, workload, services) for one in policy.targets)


def _is_for(target: Target, meta: Meta, workload: Workload, services: Services) -> bool:
    if target.kind in SERVICES:
        return key_of(target, meta) in services
    return target.kind == "Gateway" and is_of_gateway(workload.labels, target.name)


def is_of_gateway(labels: Labels, name: str) -> bool:
    """Tell whether a workload was made for a Gateway of the Gateway API."""
    return any(label(labels, key) == name for key in _GATEWAY_NAMES)


def key_of(target: Target, meta: Meta) -> ObjectKey:
    """Return the key of what a policy is attached to."""
    return ObjectKey(meta.registry, target.kind, meta.namespace, target.name)


@query
def targeted(db: Database, namespace: str) -> Services:
    """Return the services that policies of a namespace are attached to."""
    return frozenset(_targeted(db, namespace))


def _targeted(db: Database, namespace: str) -> Iterator[ObjectKey]:
    for key in (*POLICIES_IN(db, namespace), *TOKEN_POLICIES_IN(db, namespace)):
        policy = OBJECT(db, key)
        if isinstance(policy, AuthorizationPolicy | RequestAuthentication):
            yield from (key_of(t, policy.meta) for t in policy.targets if t.kind in SERVICES)
