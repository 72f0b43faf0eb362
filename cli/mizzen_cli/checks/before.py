"""What can be known of a cluster before anything is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen_operator.kube.paths import path

if TYPE_CHECKING:
    from mizzen_cli.checks.run import ClusterView

_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_EXTENSIONS: Final = "apiextensions.k8s.io/v1"
_OLDEST: Final = (1, 25)
_NATIVE: Final = (1, 29)
# What the chart makes, as (group, plural).
_MADE: Final = (
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apps", "deployments"),
)


async def api_reachable(view: ClusterView) -> str:
    """Say why the API server does not answer."""
    await view.api.get("/version")
    return ""


async def api_version(view: ClusterView) -> str:
    """Say which version it is where that is too old."""
    return await _older_than(view, _OLDEST)


async def native_sidecars(view: ClusterView) -> str:
    """Say which version it is where it knows no native sidecars."""
    return await _older_than(view, _NATIVE)


async def _older_than(view: ClusterView, oldest: tuple[int, int]) -> str:
    found = await view.api.get("/version")
    number = (_digits(found["major"]), _digits(found["minor"]))
    return f"this is {found['gitVersion']}" if number < oldest else ""


def _digits(text: str) -> int:
    """Return the number that a version's part begins with; some providers write ``29+``."""
    return int("".join(character for character in text if character.isdigit()) or "0")


async def may_install(view: ClusterView) -> str:
    """Name what the user may not create."""
    denied = [plural for group, plural in _MADE if not await _may_create(view, group, plural)]
    return f"you may not create {', '.join(denied)}" if denied else ""


async def _may_create(view: ClusterView, group: str, plural: str) -> bool:
    attributes = {"group": group, "resource": plural, "verb": "create"}
    if plural in ("serviceaccounts", "services", "deployments"):
        attributes["namespace"] = view.namespace
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await view.api.create(
        path("authorization.k8s.io/v1", "selfsubjectaccessreviews"), review
    )
    return bool(answer["status"]["allowed"])


async def no_other_injector(view: ClusterView) -> str:
    """Name the webhooks of other meshes that change pods."""
    configurations = await view.list(path(_ADMISSION, "mutatingwebhookconfigurations"))
    found = [
        one["metadata"]["name"]
        for one in configurations
        if any(word in one["metadata"]["name"] for word in ("istio", "linkerd", "kuma", "consul"))
    ]
    return f"there is {', '.join(found)}" if found else ""


async def kinds_free(view: ClusterView) -> str:
    """Say whose the kinds are, where they are not ours."""
    kinds = await view.list(path(_EXTENSIONS, "customresourcedefinitions"))
    others = [
        one["metadata"]["name"]
        for one in kinds
        if one["spec"]["group"] in ("networking.istio.io", "security.istio.io")
        and (one["metadata"].get("labels") or {}).get("app.kubernetes.io/part-of") != "mizzen"
    ]
    return f"{others[0]} and {len(others) - 1} more are there" if others else ""
