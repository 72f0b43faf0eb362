"""What can be known of an installation, from the objects of the cluster alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mizzen.api.crd_kinds import CUSTOM_KINDS
from mizzen_cli.cluster import PODS_OF
from mizzen_cli.version import installed
from mizzen_operator.kube.paths import path

if TYPE_CHECKING:
    from mizzen_cli.checks.run import ClusterView

Json = dict[str, Any]

_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_NAME: Final = "mizzen"
_ROOTS: Final = "mizzen-ca-root-cert"
_WEBHOOKS: Final = (
    ("mutatingwebhookconfigurations", "mizzen-injector"),
    ("validatingwebhookconfigurations", "mizzen-validator"),
)
_SHOWN: Final = 5


async def kinds_served(view: ClusterView) -> str:
    """Name the kinds that the cluster does not serve in the version that is ours."""
    stored = await view.list(path("apiextensions.k8s.io/v1", "customresourcedefinitions"))
    served = {
        (one["metadata"]["name"], version["name"])
        for one in stored
        for version in one["spec"]["versions"]
        if version["served"]
    }
    missing = [
        kind.crd_name for kind in CUSTOM_KINDS if (kind.crd_name, kind.versions[0]) not in served
    ]
    return _some(missing, "not served")


async def replicas_ready(view: ClusterView) -> str:
    """Name the replicas that are not ready."""
    pods = await _replicas(view)
    if not pods:
        return f"no replica is in namespace {view.namespace}"
    waiting = [pod["metadata"]["name"] for pod in pods if not _is_ready(pod)]
    return _some(waiting, f"of {len(pods)} replicas not ready")


async def _replicas(view: ClusterView) -> list[Json]:
    pods = await view.list(path("v1", "pods", view.namespace), labelSelector=PODS_OF)
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def _is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def one_version(view: ClusterView) -> str:
    """Name the versions where they differ."""
    ours = installed(_NAME)
    status = await _mesh(view)
    versions = {one.get("version") or ours for one in status.get("replicas") or ()} | {ours}
    return f"there are {', '.join(sorted(versions))}" if len(versions) > 1 else ""


async def leader_there(view: ClusterView) -> str:
    """Say since when nobody holds the Lease."""
    lease = await view.get(path("coordination.k8s.io/v1", "leases", view.namespace, _NAME))
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return "nobody holds the Lease"
    renewed = datetime.fromisoformat(spec["renewTime"])
    patience = timedelta(seconds=2 * spec.get("leaseDurationSeconds", 15))
    if datetime.now(UTC) - renewed > patience:
        return f"{spec['holderIdentity']} has not renewed it since {renewed:%H:%M:%S} UTC"
    return ""


async def webhooks_there(view: ClusterView) -> str:
    """Name the configurations that are missing or trust nobody."""
    wrong = []
    for plural, name in _WEBHOOKS:
        found = await view.get(path(_ADMISSION, plural, name=name))
        entries = (found or {}).get("webhooks") or ()
        if not entries or not all(entry["clientConfig"].get("caBundle") for entry in entries):
            wrong.append(name)
    return _some(wrong, "missing or without roots")


async def roots_there(view: ClusterView) -> str:
    """Name the namespaces without the roots, or with others than most have."""
    namespaces = await view.list(path("v1", "namespaces"))
    names = [
        one["metadata"]["name"]
        for one in namespaces
        if not one["metadata"].get("deletionTimestamp")
    ]
    field = f"metadata.name={_ROOTS}"
    held = await view.list(path("v1", "configmaps"), fieldSelector=field)
    roots = {one["metadata"]["namespace"]: one["data"].get("root-cert.pem") for one in held}
    own = roots.get(view.namespace)
    return _some([name for name in names if not own or roots.get(name) != own], "without the roots")


async def mesh_ready(view: ClusterView) -> str:
    """Say what the mesh's own condition says."""
    status = await _mesh(view)
    if not status:
        return "there is no MeshStatus mizzen yet"
    conditions: list[Json] = status.get("conditions") or []
    ready = next((one for one in conditions if one["type"] == "Ready"), {})
    return "" if ready.get("status") == "True" else str(ready.get("message", "not said"))


async def _mesh(view: ClusterView) -> Json:
    found = await view.get(path("mizzen.dev/v1alpha1", "meshstatuses", name=_NAME))
    status: Json = (found or {}).get("status") or {}
    return status


async def proxies_up_to_date(view: ClusterView) -> str:
    """Say how many proxies are behind or refuse something."""
    status = await _mesh(view)
    behind = status.get("proxies", 0) - status.get("upToDate", 0)
    rejecting = status.get("rejecting", 0)
    if not behind and not rejecting:
        return ""
    return f"{behind} of {status['proxies']} proxies are behind, {rejecting} refuse something"


async def sidecars_there(view: ClusterView) -> str:
    """Name the pods without a sidecar."""
    return _some((await _mesh(view)).get("uninjected") or [], "without a sidecar")


async def objects_sound(view: ClusterView) -> str:
    """Say how many errors and warnings there are."""
    status = await _mesh(view)
    errors, warnings = status.get("errors", 0), status.get("warnings", 0)
    return f"{errors} errors, {warnings} warnings" if errors or warnings else ""


def _some(names: list[str], what: str) -> str:
    """Return the first of some names in a sentence, empty where there are none."""
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"
