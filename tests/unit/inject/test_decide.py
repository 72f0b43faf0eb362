"""Which pods get a sidecar: labels of namespace and pod, and what stands against one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Final

import pytest

from mizzen_operator.inject.decide import decide, is_selected, should_inject
from mizzen_operator.inject.raw import Json
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.inject.webhooks import injection_webhooks

_SETTINGS: Final = InjectSettings()
_ENABLED: Final = {"istio-injection": "enabled"}
_DISABLED: Final = {"istio-injection": "disabled"}
_OURS: Final = {"istio.io/rev": "default"}
_THEIRS: Final = {"istio.io/rev": "canary"}
_WANTS: Final = {"sidecar.istio.io/inject": "true"}
_REFUSES: Final = {"sidecar.istio.io/inject": "false"}

# Labels of the namespace, labels of the pod, whether a sidecar is due (Istio: webhook selectors).
_TABLE: Final[tuple[tuple[dict[str, str], dict[str, str], bool], ...]] = (
    ({}, {}, False),
    ({}, _WANTS, True),
    ({}, _REFUSES, False),
    ({}, _OURS, True),
    ({}, _THEIRS, False),
    ({}, _OURS | _REFUSES, False),
    ({}, _THEIRS | _WANTS, False),
    (_ENABLED, {}, True),
    (_ENABLED, _WANTS, True),
    (_ENABLED, _REFUSES, False),
    (_DISABLED, {}, False),
    (_DISABLED, _WANTS, False),
    (_DISABLED, _OURS, False),
    (_OURS, {}, True),
    (_OURS, _REFUSES, False),
    (_THEIRS, {}, False),
    (_THEIRS, _WANTS, False),
    (_ENABLED | _THEIRS, {}, True),
    (_DISABLED | _OURS, _WANTS, False),
)


def _pod(labels: dict[str, str] | None = None, **more: object) -> Json:
    return {"metadata": {"labels": labels or {}, "namespace": "shop"}, "spec": more}


@pytest.mark.parametrize(("namespace", "pod", "due"), _TABLE)
def test_labels_decide_as_istios_do(
    namespace: dict[str, str], pod: dict[str, str], due: bool
) -> None:
    """The namespace's istio-injection comes first, then its revision, then what the pod says."""
    assert should_inject(_pod(pod), namespace, _SETTINGS).inject is due


def test_by_default_everything_is_injected_where_the_mesh_says_so() -> None:
    """What refuses, belongs to another revision or is disabled stays out all the same."""
    everywhere = replace(_SETTINGS, enabled_by_default=True)
    assert should_inject(_pod(), {}, everywhere).inject
    assert not should_inject(_pod(_REFUSES), {}, everywhere).inject
    assert not should_inject(_pod(_THEIRS), {}, everywhere).inject
    assert not should_inject(_pod(), _DISABLED, everywhere).inject


def test_another_revision_leaves_the_namespaces_label_alone() -> None:
    """``istio-injection=enabled`` means the default revision."""
    canary = replace(_SETTINGS, revision="canary")
    assert not should_inject(_pod(), _ENABLED, canary).inject
    assert should_inject(_pod(), _THEIRS, canary).inject
    assert should_inject(_pod(_THEIRS), {}, canary).inject


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (_pod(hostNetwork=True), "node's network"),
        (_pod(os={"name": "windows"}), "Windows"),
        ({"metadata": {"namespace": "kube-system"}, "spec": {}}, "cluster itself"),
        (
            {
                "metadata": {"annotations": {"sidecar.istio.io/status": "{}"}},
                "spec": {"containers": [{"name": "istio-proxy"}]},
            },
            "has its sidecar",
        ),
    ],
)
def test_what_cannot_have_a_sidecar_has_none(pod: Json, why: str) -> None:
    """Labels don't change that, and the reason says it."""
    verdict = should_inject(pod, _ENABLED, _SETTINGS)
    assert not verdict.inject
    assert why in verdict.reason


def test_the_label_comes_before_the_annotation() -> None:
    """The annotation is Istio's older way, and still heard."""
    refused = {"annotations": dict(_REFUSES)}
    assert not decide({"metadata": refused}, _SETTINGS).inject
    assert decide({"metadata": refused | {"labels": _WANTS}}, _SETTINGS).inject


def test_labels_that_are_never_or_always_injected_decide_last() -> None:
    """They count for pods that say nothing themselves; never comes before always."""
    settings = replace(
        _SETTINGS, never=((("team", "infra"),),), always=((("team", "infra"), ("app", "web")),)
    )
    assert not decide(_pod({"team": "infra"}), settings).inject
    assert not decide(_pod({"team": "infra", "app": "web"}), settings).inject
    assert decide(_pod({"team": "infra"} | _WANTS), settings).inject


# --- the webhook's selectors ---


def _matches(selector: Json, labels: dict[str, str]) -> bool:
    """Tell what the API server would: source, labels.Selector of Kubernetes."""
    return all(_holds(one, labels) for one in selector["matchExpressions"])


def _holds(requirement: Json, labels: dict[str, str]) -> bool:
    key, values = requirement["key"], requirement.get("values", ())
    match requirement["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "DoesNotExist":
            return key not in labels
        case unknown:
            raise AssertionError(unknown)


@pytest.mark.parametrize(
    "settings",
    [
        _SETTINGS,
        replace(_SETTINGS, enabled_by_default=True),
        replace(_SETTINGS, revision="canary"),
    ],
)
def test_the_selectors_say_what_the_function_says(settings: InjectSettings) -> None:
    """For every combination of labels the API server asks about exactly the pods that are selected."""
    entries = injection_webhooks({}, settings)
    values = {
        "istio-injection": (None, "enabled", "disabled"),
        "istio.io/rev": (None, "default", "canary"),
        "sidecar.istio.io/inject": (None, "true", "false", "other"),
    }
    for words in itertools.product(
        values["istio-injection"],
        values["istio.io/rev"],
        values["istio.io/rev"],
        values["sidecar.istio.io/inject"],
    ):
        injection, namespace_revision, pod_revision, wish = words
        namespace = _present({"istio-injection": injection, "istio.io/rev": namespace_revision})
        pod = _present({"istio.io/rev": pod_revision, "sidecar.istio.io/inject": wish})
        asked = [
            entry["name"]
            for entry in entries
            if _matches(entry["namespaceSelector"], namespace)
            and _matches(entry["objectSelector"], pod)
        ]
        assert bool(asked) is is_selected(pod, namespace, settings).inject, (namespace, pod)
        assert len(asked) <= 1, "a pod is asked about once"


def _present(labels: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value is not None}


def test_the_clusters_own_namespaces_are_never_asked_about() -> None:
    """A cluster whose own pods waited for the mesh could not start it."""
    for entry in injection_webhooks({}, _SETTINGS):
        labels = _ENABLED | {"kubernetes.io/metadata.name": "kube-system"}
        assert not _matches(entry["namespaceSelector"], labels)
        assert entry["failurePolicy"] == "Fail"
        assert entry["sideEffects"] == "None"
