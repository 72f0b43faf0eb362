"""What is left behind of a run that failed: one folder with logs, objects, events and Envoy's configuration."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

from e2e.cluster.kubectl import CommandFailed

if TYPE_CHECKING:
    from pathlib import Path

    from e2e.cluster.kubectl import KubectlCluster

_PAGES: Final = ("config_dump?include_eds", "clusters", "stats", "server_info")
# Envoy's image has no shell: the admin page is fetched by the application beside it.
_FETCH: Final = (
    "import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1]).read().decode())"
)
_KINDS: Final = (
    "all,configmaps,endpointslices,leases.coordination.k8s.io",
    "mutatingwebhookconfigurations,validatingwebhookconfigurations,nodes",
    "virtualservices,destinationrules,gateways,serviceentries,peerauthentications,authorizationpolicies",
    "meshstatuses",
)


def collect(cluster: KubectlCluster, folder: Path) -> None:
    """Write into a folder what there is to know about a cluster; what cannot be had says why."""
    folder.mkdir(parents=True, exist_ok=True)
    for log in cluster.logs:
        shutil.copy(log, folder)
    _keep(cluster, folder / "events.txt", "get", "events", "-A", "--sort-by=.lastTimestamp")
    _keep(cluster, folder / "pods.txt", "describe", "pods", "-A")
    for kinds in _KINDS:
        file = folder / f"{kinds.partition(',')[0].partition('.')[0]}.yaml"
        _keep(cluster, file, "get", kinds, "-A", "-o", "yaml")
    try:
        pods = cluster.get("pods", "-A")["items"]
    except CommandFailed:
        return
    for pod in pods:
        _pod(cluster, folder, pod)


def _pod(cluster: KubectlCluster, folder: Path, pod: dict[str, Any]) -> None:
    name, where = pod["metadata"]["name"], pod["metadata"]["namespace"]
    place = folder / where / name
    place.mkdir(parents=True, exist_ok=True)
    statuses = pod["status"]
    both = ("initContainerStatuses", "containerStatuses")
    for status in [one for key in both for one in statuses.get(key, ())]:
        asked = ("logs", name, f"--namespace={where}", "-c", status["name"])
        _keep(cluster, place / f"{status['name']}.log", *asked)
        if status["restartCount"]:
            _keep(cluster, place / f"{status['name']}.before.log", *asked, "--previous")
    if any(one["name"] == "istio-proxy" for key in both for one in statuses.get(key, ())):
        _envoy(cluster, place, name, where)


def _envoy(cluster: KubectlCluster, place: Path, name: str, where: str) -> None:
    for page in _PAGES:
        url = f"http://127.0.0.1:15000/{page}"
        run = (
            "exec",
            name,
            f"--namespace={where}",
            "-c",
            "app",
            "--",
            "python3",
            "-c",
            _FETCH,
            url,
        )
        _keep(cluster, place / f"{page.partition('?')[0]}.txt", *run)


def _keep(cluster: KubectlCluster, file: Path, *arguments: str) -> None:
    try:
        said = cluster.kubectl(*arguments, timeout_s=30)
    except CommandFailed as failed:
        said = str(failed)
    file.write_text(said, encoding="utf-8")
