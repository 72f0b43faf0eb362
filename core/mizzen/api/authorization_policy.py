"""AuthorizationPolicy (security.istio.io): who may do what (Istio: authorization_policy.proto).

What is not translated yet must never make a policy weaker. So an ALLOW rule that says something not
translated is left out (it allows less), and a DENY rule is kept without it (it denies more); the
diagnostic says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from mizzen.api.authorization_rules import (
    Rule,
    check_rule,
    is_untranslated,
    value_of,
)
from mizzen.api.base import ApiModel, NotTranslated, WorkloadSelector
from mizzen.api.findings import Finding, at, conflict, missing, untranslated
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import TARGETS_LATER, PolicyTargetReference, check_reach
from mizzen.model.meta import NO_LABELS, Meta, label, labels
from mizzen.model.security import AuthorizationPolicy, PolicyAction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_DRY_RUN: Final = "istio.io/dry-run"


class ExtensionProvider(ApiModel):
    """Who decides of a CUSTOM policy (Istio: AuthorizationPolicy.ExtensionProvider)."""

    name: str = Field(default="", description="A provider of the mesh's settings.")


class AuthorizationPolicySpec(ApiModel):
    """An AuthorizationPolicy's spec (Istio: AuthorizationPolicy)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_ref: Annotated[PolicyTargetReference | None, TARGETS_LATER] = Field(
        default=None, description="Deprecated: use targetRefs."
    )
    target_refs: Annotated[list[PolicyTargetReference], TARGETS_LATER] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    rules: list[Rule] = Field(
        default_factory=list,
        max_length=512,
        description="Rules, any of which matches; none matches nothing.",
    )
    action: Annotated[
        Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"],
        NotTranslated(
            "only ALLOW and DENY are; the policy has no effect, its requests are neither "
            "recorded nor refused",
            only=("AUDIT", "CUSTOM"),
        ),
    ] = Field(default="ALLOW", description="What is done with requests that match.")
    provider: Annotated[
        ExtensionProvider | None, NotTranslated("external authorization comes with a later version")
    ] = Field(default=None, description="Who decides, of a CUSTOM policy.")


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
    if manifest.metadata.annotations.get(_DRY_RUN, "").lower() == "true":
        message = "dry run comes with a later version; the policy has no effect"
        yield untranslated(("metadata", "annotations", _DRY_RUN), message)


def _spec(spec: AuthorizationPolicySpec) -> Iterator[Finding]:
    yield from check_reach(spec.selector, spec.target_ref, spec.target_refs)
    if spec.action == "DENY" and not spec.rules:
        message = "a DENY policy without rules matches nothing and denies nothing"
        yield missing(("rules",), message, "Add rules; - {} denies everything.")
    if spec.action == "CUSTOM" and spec.provider is None:
        yield missing(("provider",), "a CUSTOM policy needs a provider")
    if spec.action != "CUSTOM" and spec.provider is not None:
        yield conflict(("provider",), f"a provider goes with CUSTOM, not with {spec.action}")
    for index, rule in enumerate(spec.rules):
        yield from at(("rules", index), check_rule(rule, deny=spec.action == "DENY"))


def _convert(manifest: AuthorizationPolicyManifest, meta: Meta) -> AuthorizationPolicy:
    spec = manifest.spec
    action = PolicyAction(spec.action)
    denies = action is PolicyAction.DENY
    kept = (rule for rule in spec.rules if denies or not is_untranslated(rule))
    return AuthorizationPolicy(
        meta=meta,
        selector=labels(spec.selector.match_labels) if spec.selector else NO_LABELS,
        action=action,
        rules=tuple(value_of(rule) for rule in kept),
        enforced=_is_enforced(spec, meta),
    )


def _is_enforced(spec: AuthorizationPolicySpec, meta: Meta) -> bool:
    attached = spec.target_ref is not None or bool(spec.target_refs)
    dry = label(meta.annotations, _DRY_RUN).lower() == "true"
    return spec.action in ("ALLOW", "DENY") and not attached and not dry
