"""The proxy of one pod: its bootstrap with the kubelet's variables, and its command line.

A pod's name and address are known only when it runs. So the bootstrap, which is an argument of Envoy's,
holds ``$(POD_NAME)`` and the like, and the kubelet fills them in from the downward API.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Final

from mizzen.model.meta import labels
from mizzen.model.proxy import ProxyKind
from mizzen.render.application import Application
from mizzen.render.bootstrap import NO_LIMIT, BootstrapConfig, Node, bootstrap_line
from mizzen_operator.inject import raw
from mizzen_operator.inject.workload import canonical_labels, workload_name

if TYPE_CHECKING:
    from mizzen.render.application import Check, Metrics
    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings
    from mizzen_operator.inject.wishes import Wishes

# Variable of the container -> the field of the pod that the kubelet fills it with.
VARIABLES: Final = {
    "POD_NAME": "metadata.name",
    "POD_NAMESPACE": "metadata.namespace",
    "INSTANCE_IP": "status.podIP",
    "SERVICE_ACCOUNT": "spec.serviceAccountName",
    "NODE_NAME": "spec.nodeName",
}
_OURS: Final = re.compile(rf"\$\$\(({'|'.join(VARIABLES)})\)")

_DEFAULT_THREADS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What of the application Envoy opens on 15020."""

    checks: tuple[Check, ...] = ()
    metrics: Metrics | None = None


def proxy_arguments(
    pod: Json, kind: ProxyKind, wishes: Wishes, settings: InjectSettings, opened: Opened
) -> list[str]:
    """Return Envoy's command line, ready for the kubelet to fill in."""
    return [
        *(
            "--config-yaml",
            _expandable(bootstrap_line(_config(pod, kind, wishes, settings, opened))),
        ),
        *("--concurrency", str(_threads(wishes, settings))),
        *("--drain-time-s", str(wishes.drain_seconds)),
        # as Istio starts it: a connection under a rule that is gone ends with its next response
        *("--drain-strategy", "immediate"),
        *("--local-address-ip-version", "v6" if settings.ipv6 else "v4"),
        *("--file-flush-interval-msec", "1000"),
        "--disable-hot-restart",
        *("-l", wishes.log_level or settings.log_level),
        *("--component-log-level", wishes.component_log_level),
    ]


def _expandable(text: str) -> str:
    """Return a text in which the kubelet replaces our variables and nothing else."""
    return _OURS.sub(r"$(\1)", text.replace("$", "$$"))


def _config(
    pod: Json, kind: ProxyKind, wishes: Wishes, settings: InjectSettings, opened: Opened
) -> BootstrapConfig:
    node = Node(
        kind=kind,
        pod="$(POD_NAME)",
        namespace="$(POD_NAMESPACE)",
        ips=("$(INSTANCE_IP)",),
        service_account="$(SERVICE_ACCOUNT)",
        labels=labels(raw.labels_of(pod) | canonical_labels(pod)),
        workload=workload_name(pod),
        domain=settings.domain,
        cluster_id=settings.cluster_id,
        node_name="$(NODE_NAME)",
        mesh_id=settings.mesh_id,
    )
    ordinary = kind is ProxyKind.ROUTER or not wishes.native
    application = Application(
        host="$(INSTANCE_IP)",
        source="::6" if settings.ipv6 else "127.0.0.6",
        checks=opened.checks,
        metrics=opened.metrics,
        linger=timedelta(seconds=wishes.linger_seconds) if ordinary else None,
        quits=ordinary,
    )
    config = BootstrapConfig(
        node=node,
        control_plane=settings.control_plane,
        application=application,
        max_connections=wishes.max_connections or NO_LIMIT,
    )
    return replace(config, bind="::") if settings.ipv6 else config


def _threads(wishes: Wishes, settings: InjectSettings) -> int:
    """Return as many threads as the CPU limit pays for."""
    if wishes.concurrency is not None:
        return wishes.concurrency
    limit = wishes.cpu_limit or settings.resources.cpu_limit
    try:
        cores = Decimal(limit.removesuffix("m")) / (1000 if limit.endswith("m") else 1)
    except InvalidOperation:
        return _DEFAULT_THREADS
    return max(1, math.ceil(cores))
