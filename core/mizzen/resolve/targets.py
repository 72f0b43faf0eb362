"""For whom a policy is: by the labels of workloads, or by the objects that it is attached to.

A policy of a Gateway (of the Gateway API) is for the pods that were made for it, which have its name in a
label. One of a Service or ServiceEntry is for the workloads that this selects, on the ports that it gives
them, whoever calls and by whatever name. Istio has waypoints enforce the latter; here the workloads' own
proxies do, because a policy that nobody enforces would leave open what it is to close.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class Keys:
    """Sorted keys of objects, many of them, in sets that many share: the hash is made once."""

    keys: tuple[ObjectKey, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.keys))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """For whom the policies of a namespace are; what they say is not in it.

    Attributes:
        general: Those of all workloads.
        by_pair: Those with a selector, by one pair of it.
        attached: Those of objects.
    """

    general: Keys
    by_pair: Mapping[tuple[str, str], tuple[tuple[ObjectKey, Labels], ...]]
    attached: tuple[tuple[ObjectKey, tuple[Target, ...]], ...]

    def of(self, workload: Workload, services: Services) -> tuple[ObjectKey, ...]:
        """Return those that are for a workload's port, given by services, besides the general ones."""
        pairs = (entry for pair in workload.labels for entry in self.by_pair.get(pair, ()))
        found = [key for key, selector in pairs if selects(selector, workload.labels)]
        found += [
            key
            for key, targets in self.attached
            if key.namespace == workload.namespace
            and any(_is_for(one, key, workload, services) for one in targets)
        ]
        return tuple(found)


@query
def choices(db: Database, namespace: str) -> Choices:
    """Return for whom the AuthorizationPolicies of a namespace are."""
    found = (OBJECT(db, key) for key in POLICIES_IN(db, namespace))
    policies = [item for item in found if isinstance(item, AuthorizationPolicy)]
    by_pair: dict[tuple[str, str], list[tuple[ObjectKey, Labels]]] = {}
    for one in policies:
        if one.selector and not one.targets:
            by_pair.setdefault(one.selector[0], []).append((one.meta.key, one.selector))
    return Choices(
        general=Keys(tuple(i.meta.key for i in policies if not i.targets and not i.selector)),
        by_pair={pair: tuple(entries) for pair, entries in by_pair.items()},
        attached=tuple((one.meta.key, one.targets) for one in policies if one.targets),
    )


def holds(
    policy: AuthorizationPolicy | RequestAuthentication, workload: Workload, services: Services
) -> bool:
    """Tell whether a policy of its own or the root namespace is for a workload's port, given by services."""
    if not policy.targets:
        return selects(policy.selector, workload.labels)
    if policy.meta.namespace != workload.namespace:
        return False
    return any(_is_for(one, policy.meta, workload, services) for one in policy.targets)


def _is_for(target: Target, meta: Meta | ObjectKey, workload: Workload, services: Services) -> bool:
    if target.kind in SERVICES:
        return key_of(target, meta) in services
    return target.kind == "Gateway" and is_of_gateway(workload.labels, target.name)


def is_of_gateway(labels: Labels, name: str) -> bool:
    """Tell whether a workload was made for a Gateway of the Gateway API."""
    return any(label(labels, key) == name for key in _GATEWAY_NAMES)


def key_of(target: Target, meta: Meta | ObjectKey) -> ObjectKey:
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
