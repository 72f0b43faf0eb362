"""AuthorizationPolicy (security.istio.io): who may do what (Istio: authorization_policy.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mizzen.api.authorization_rules import Rule, check_custom, check_rule, value_of
from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.findings import Finding, at, conflict, invalid, missing
from mizzen.api.meta import DRY_RUN, Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import PolicyTargetReference, check_reach, targets_of
from mizzen.model.meta import NO_LABELS, Meta, label, labels
from mizzen.model.security import AuthorizationPolicy, PolicyAction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_YES: Final = ("1", "t", "true")
_NO: Final = ("0", "f", "false")
_CAN_BE_DRY: Final = (PolicyAction.ALLOW, PolicyAction.DENY)


class ExtensionProvider(ApiModel):
    """Who decides of a CUSTOM policy (Istio: AuthorizationPolicy.ExtensionProvider)."""

    name: str = Field(default="", description="A provider of the mesh's settings.")


class AuthorizationPolicySpec(ApiModel):
    """An AuthorizationPolicy's spec (Istio: AuthorizationPolicy)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_ref: PolicyTargetReference | None = Field(
        default=None, description="Deprecated: use targetRefs."
    )
    target_refs: list[PolicyTargetReference] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    rules: list[Rule] = Field(
        default_factory=list,
        max_length=512,
        description="Rules, any of which matches; none matches nothing.",
    )
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = Field(
        default="ALLOW", description="What is done with requests that match."
    )
    provider: ExtensionProvider | None = Field(
        default=None, description="Who decides, of a CUSTOM policy."
    )


class AuthorizationPolicyManifest(Manifest):
    """An AuthorizationPolicy."""

    spec: AuthorizationPolicySpec = Field(
        default_factory=AuthorizationPolicySpec,
        description="Its spec (Istio: AuthorizationPolicy).",
    )


def read_authorization_policy(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the AuthorizationPolicy that a manifest means."""
    return read(raw, key, AuthorizationPolicyManifest, _convert, _check)


def _check(manifest: AuthorizationPolicyManifest) -> Iterator[Finding]:
    yield from at(("spec",), _spec(manifest.spec))
    yield from _dry_run(manifest)


def _dry_run(manifest: AuthorizationPolicyManifest) -> Iterator[Finding]:
    written = manifest.metadata.annotations.get(DRY_RUN)
    path = ("metadata", "annotations", DRY_RUN)
    if written is None:
        return
    if manifest.spec.action not in _CAN_BE_DRY:
        yield conflict(path, f"a policy with action {manifest.spec.action} cannot be tried out")
    elif written.lower() not in (*_YES, *_NO):
        yield invalid(path, f"{written!r} is neither true nor false")


def _spec(spec: AuthorizationPolicySpec) -> Iterator[Finding]:
    yield from check_reach(spec.selector, spec.target_ref, spec.target_refs)
    if spec.action in ("DENY", "CUSTOM") and not spec.rules:
        message = f"a {spec.action} policy without rules matches nothing and has no effect"
        yield missing(("rules",), message, "Add rules; - {} is for every request.")
    yield from _provider(spec)
    for index, rule in enumerate(spec.rules):
        yield from at(("rules", index), check_rule(rule))
        if spec.action == "CUSTOM":
            yield from at(("rules", index), check_custom(rule))


def _provider(spec: AuthorizationPolicySpec) -> Iterator[Finding]:
    if spec.action != "CUSTOM" and spec.provider is not None:
        yield conflict(("provider",), f"a provider goes with CUSTOM, not with {spec.action}")
    elif spec.action == "CUSTOM" and spec.rules and not (spec.provider and spec.provider.name):
        yield missing(("provider",), "a CUSTOM policy needs a provider with a name")


def _convert(manifest: AuthorizationPolicyManifest, meta: Meta) -> AuthorizationPolicy:
    spec = manifest.spec
    action = PolicyAction(spec.action)
    return AuthorizationPolicy(
        meta=meta,
        selector=labels(spec.selector.match_labels) if spec.selector else NO_LABELS,
        action=action,
        provider=spec.provider.name if spec.provider else "",
        rules=tuple(value_of(rule) for rule in spec.rules),
        targets=targets_of(spec.target_ref, spec.target_refs),
        dry_run=action in _CAN_BE_DRY and label(meta.annotations, DRY_RUN).lower() in _YES,
    )
