"""What a pod belongs to, as far as it can be told before it exists: its workload and its canonical name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mizzen_operator.inject import raw

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

CANONICAL_NAME: Final = "service.istio.io/canonical-name"
CANONICAL_REVISION: Final = "service.istio.io/canonical-revision"

# A CronJob's Jobs end in the minute that they were due.
_SCHEDULED: Final = re.compile(r"^(.+)-\d{8,10}$")


def workload_name(pod: Json) -> str:
    """Return the name of the Deployment, StatefulSet, CronJob or whatever made a pod; else its own."""
    owner: Json = next(
        (one for one in raw.metadata(pod).get("ownerReferences") or [] if one.get("controller")),
        {},
    )
    name: str = owner.get("name", "")
    match owner.get("kind"):
        case "ReplicaSet":
            template = raw.labels_of(pod).get("pod-template-hash", "")
            return name.removesuffix(f"-{template}") if template else name
        case "Job":
            scheduled = _SCHEDULED.match(name)
            return scheduled[1] if scheduled else name
        case None:
            own: Json = raw.metadata(pod)
            return str(own.get("name") or own.get("generateName", "")).rstrip("-")
        case _:
            return name


def canonical_labels(pod: Json) -> dict[str, str]:
    """Return the labels by which telemetry knows a pod (Istio: canonical service)."""
    labels = raw.labels_of(pod)
    name = (
        labels.get(CANONICAL_NAME)
        or labels.get("app.kubernetes.io/name")
        or labels.get("app")
        or workload_name(pod)
    )
    revision = (
        labels.get(CANONICAL_REVISION)
        or labels.get("app.kubernetes.io/version")
        or labels.get("version")
        or "latest"
    )
    # a label's value has at most 63 characters, a name may have more
    return {CANONICAL_NAME: name[:63].rstrip("-._"), CANONICAL_REVISION: revision}
