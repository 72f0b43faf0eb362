"""What of us was installed owns what we make besides, so that an uninstall takes it along.

The owner is the ClusterRole ``mizzen``: of what the chart installs, the one thing without a namespace,
and only such a thing may own objects in all namespaces and those in none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen_operator.kube.client import NotFoundError
from mizzen_operator.kube.paths import path

if TYPE_CHECKING:
    from mizzen_operator.kube.client import ApiClient

_RBAC: Final = "rbac.authorization.k8s.io/v1"
_NAME: Final = "mizzen"


async def owners(api: ApiClient) -> tuple[dict[str, Any], ...]:
    """Return the ``ownerReferences`` of what we make, none where nothing of us was installed.

    Raises :class:`ApiError` where the server does not answer.
    """
    try:
        role = await api.get(path(_RBAC, "clusterroles", name=_NAME))
    except NotFoundError:
        return ()
    reference = {
        "apiVersion": _RBAC,
        "kind": "ClusterRole",
        "name": _NAME,
        "uid": role["metadata"]["uid"],
    }
    return (reference,)
