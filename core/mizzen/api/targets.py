"""What a policy is for: workloads by their labels, or objects that it names (Istio: PolicyTargetReference)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, WorkloadSelector
from mizzen.api.findings import Finding, conflict, invalid
from mizzen.api.hosts import check_selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TARGETS_LATER: Final = NotTranslated(
    "policies for single Gateways and Services come later; no effect"
)
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
    if target_ref is not None and target_ref.namespace:
        yield _of_own_namespace("targetRef", "namespace")
    for index, target in enumerate(target_refs):
        if target.namespace:
            yield _of_own_namespace("targetRefs", index, "namespace")


def _of_own_namespace(*path: str | int) -> Finding:
    return invalid(path, "a target is of the policy's own namespace")
