"""Whether a pod gets a sidecar: Istio's labels, in Istio's order (``pkg/kube/inject``, webhook selectors).

There are two questions. Which pods the API server asks about at all is decided by the labels of namespace
and pod (:mod:`mizzen_operator.inject.webhooks` says the same as selectors): ``istio-injection`` of the
namespace comes before ``istio.io/rev``, and a pod can leave but not enter a namespace that is disabled. Of
those, :func:`decide` leaves out what cannot or must not have one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_operator.inject import raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings

INJECTION: Final = "istio-injection"
REVISION: Final = "istio.io/rev"
INJECT: Final = "sidecar.istio.io/inject"
STATUS: Final = "sidecar.istio.io/status"
PROXY: Final = "istio-proxy"
INIT: Final = "istio-init"

# Where a mesh would stand in its own way (Istio's list).
SYSTEM_NAMESPACES: Final = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
)
DEFAULT_REVISION: Final = "default"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a sidecar is due, and why."""

    inject: bool
    reason: str


def is_injected(pod: Json) -> bool:
    """Tell whether a pod has its sidecar."""
    both = (*raw.init_containers(pod), *raw.containers(pod))
    return any(one.get("name") == PROXY for one in both) and STATUS in raw.annotations_of(pod)


def should_inject(
    pod: Json, namespace_labels: Mapping[str, str], settings: InjectSettings
) -> Decision:
    """Return whether a pod of a namespace is to have a sidecar, the API server's part included."""
    selected = is_selected(raw.labels_of(pod), namespace_labels, settings)
    if not selected.inject:
        return selected
    verdict = decide(pod, settings)
    return selected if verdict.inject else verdict


def is_selected(
    pod_labels: Mapping[str, str], namespace_labels: Mapping[str, str], settings: InjectSettings
) -> Decision:
    """Return whether the API server asks about a pod with these labels."""
    injection, revision = namespace_labels.get(INJECTION), namespace_labels.get(REVISION)
    is_default = settings.revision == DEFAULT_REVISION
    wish = pod_labels.get(INJECT)
    if injection is not None:
        if injection != "enabled" or not is_default:
            return Decision(False, f"its namespace has {INJECTION}={injection}")
        return _unless_refused(wish, f"its namespace has {INJECTION}=enabled")
    if revision is not None:
        if revision != settings.revision:
            return Decision(False, f"its namespace has {REVISION}={revision}")
        return _unless_refused(wish, f"its namespace has {REVISION}={revision}")
    return _by_itself(pod_labels, settings, is_default=is_default)


def _by_itself(
    pod_labels: Mapping[str, str], settings: InjectSettings, *, is_default: bool
) -> Decision:
    """Return what a pod says whose namespace says nothing."""
    wish, revision = pod_labels.get(INJECT), pod_labels.get(REVISION)
    if revision is not None:
        if revision != settings.revision:
            return Decision(False, f"it has the label {REVISION}={revision}")
        return _unless_refused(wish, f"it has the label {REVISION}={revision}")
    if wish == "true" and is_default:
        return Decision(True, f"it has the label {INJECT}=true")
    if settings.enabled_by_default and is_default:
        return _unless_refused(wish, "namespaces are injected by default")
    return Decision(False, "neither its namespace nor itself asks for a sidecar")


def _unless_refused(wish: str | None, reason: str) -> Decision:
    if wish == "false":
        return Decision(False, f"it has the label {INJECT}=false")
    return Decision(True, reason)


def decide(pod: Json, settings: InjectSettings) -> Decision:
    """Return whether a pod that the API server asks about gets a sidecar."""
    hindrance = _hindrance(pod)
    if hindrance:
        return Decision(False, hindrance)
    wish = raw.labels_of(pod).get(INJECT, raw.annotations_of(pod).get(INJECT, ""))
    if wish:
        return Decision(wish == "true", f"it says {INJECT}={wish}")
    if _any_selects(settings.never, raw.labels_of(pod)):
        return Decision(False, "its labels are among those never injected")
    if _any_selects(settings.always, raw.labels_of(pod)):
        return Decision(True, "its labels are among those always injected")
    return Decision(True, "nothing speaks against it")


def _hindrance(pod: Json) -> str:
    spec = raw.spec(pod)
    if spec.get("hostNetwork"):
        return "it has its node's network, which is not to be captured"
    if raw.metadata(pod).get("namespace") in SYSTEM_NAMESPACES:
        return "its namespace belongs to the cluster itself"
    if (spec.get("os") or {}).get("name") == "windows":
        return "there is no Envoy for Windows"
    if is_injected(pod):
        return "it has its sidecar"
    return ""


def _any_selects(
    selectors: tuple[tuple[tuple[str, str], ...], ...], labels: Mapping[str, str]
) -> bool:
    return any(set(pairs) <= set(labels.items()) for pairs in selectors)
