"""What a policy is for: workloads by their labels, or objects that it names (Istio: PolicyTargetReference)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.findings import Finding, at, conflict, invalid
from mizzen.api.hosts import check_selector
from mizzen.model.security import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_KINDS: Final = {
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
}
"""What policies may be attached to (Istio: AllowedTargetRefs)."""
_GROUP: Final = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


class PolicyTargetReference(ApiModel):
    """What a policy is attached to (Istio: type.v1beta1.PolicyTargetReference)."""

    group: str = Field(default="", max_length=253, pattern=_GROUP, description="Its group.")
    kind: str = Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$",
        description="Its kind.",
    )
    name: str = Field(min_length=1, max_length=253, description="Its name.")
    namespace: str = Field(default="", description="Must not be set.")


def check_reach(
    selector: WorkloadSelector | None,
    target_ref: PolicyTargetReference | None,
    target_refs: Sequence[PolicyTargetReference],
) -> Iterator[Finding]:
    """Check that a policy's selector and targets are sound, and that only one way is used."""
    if selector is not None:
        yield from check_selector(("selector", "matchLabels"), selector.match_labels)
    scopes = {"selector": selector, "targetRef": target_ref, "targetRefs": target_refs}
    written = [name for name, scope in scopes.items() if scope]
    if len(written) > 1:
        yield conflict((written[1],), f"{written[0]} and {written[1]} exclude each other")
    if target_ref is not None:
        yield from at(("targetRef",), _check_target(target_ref))
    for index, target in enumerate(target_refs):
        yield from at(("targetRefs", index), _check_target(target))


def _check_target(target: PolicyTargetReference) -> Iterator[Finding]:
    if target.namespace:
        yield invalid(("namespace",), "a target is of the policy's own namespace")
    if (target.group, target.kind) not in _KINDS:
        what = f"{target.group}/{target.kind}" if target.group else target.kind
        hint = "Targets are Gateways (of gateway.networking.k8s.io), Services and ServiceEntries."
        yield invalid(("kind",), f"a policy is not attached to {what}", hint)


def targets_of(
    target_ref: PolicyTargetReference | None, target_refs: Sequence[PolicyTargetReference]
) -> tuple[Target, ...]:
    """Return the objects that a policy names, each once."""
    written = (*((target_ref,) if target_ref else ()), *target_refs)
    return tuple(dict.fromkeys(Target(kind=one.kind, name=one.name) for one in written))
