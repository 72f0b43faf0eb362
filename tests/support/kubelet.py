"""What a kubelet does with an injected pod: fills in variables, starts Envoy, asks the probes."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from mizzen.capture import PROXY_UID
from mizzen_cli.demo.proxies import is_ready, proxy_uid
from mizzen_cli.demo.realm import Command
from mizzen_operator.inject.decide import PROXY
from tests.support.live_mesh import LiveMesh, Reply, eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.inject.raw import Json

# Kubernetes, "Dependent environment variables": $(NAME) is a variable where there is one, $$ is a dollar.
_REFERENCE: Final = re.compile(r"\$(\$|\((?P<name>[A-Za-z_][A-Za-z0-9_]*)\))")

# A proxy that runs as root is told from others by its group.
_AS_GROUP: Final = ("setpriv", "--regid", str(PROXY_UID), "--clear-groups")


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return an argument as the container gets it."""

    def value(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "$"
        return variables.get(name, found[0])

    return _REFERENCE.sub(value, text)


def container(pod: Json, name: str) -> Json:
    """Return a container by name, wherever the pod has it."""
    both = (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    return next(one for one in both if one["name"] == name)


def arguments(pod: Json, ip: str) -> list[str]:
    """Return Envoy's command line in a pod that runs at an address."""
    variables = {
        "POD_NAME": pod["metadata"]["name"],
        "POD_NAMESPACE": pod["metadata"]["namespace"],
        "INSTANCE_IP": ip,
        "SERVICE_ACCOUNT": pod["spec"].get("serviceAccountName", "default"),
        "NODE_NAME": "node",
    }
    declared = {one["name"] for one in container(pod, PROXY)["env"]}
    assert declared == set(variables)
    return [expanded(text, variables) for text in container(pod, PROXY)["args"]]


def start_injected(mesh: LiveMesh, pod: Json) -> None:
    """Run a pod's Envoy as injection wants it, with the mesh's own way to its control plane."""
    name = pod["metadata"]["name"]
    spec = mesh.pod(name)
    words = arguments(pod, spec.ip)
    place = words.index("--config-yaml") + 1
    file = mesh.mesh.realm.workdir / "proxies" / spec.network / "bootstrap.json"
    reached = json.loads(file.read_text(encoding="utf-8"))["dynamic_resources"]
    bootstrap: dict[str, Any] = json.loads(words[place])
    words[place] = json.dumps(bootstrap | {"dynamic_resources": reached})
    realm = mesh.mesh.realm
    argv = (str(realm.workdir / "envoy"), *words)
    as_root = container(pod, PROXY)["securityContext"]["runAsUser"] == 0
    pid = realm.spawn(
        Command(
            argv=(*_AS_GROUP, *argv) if as_root else argv,
            network=spec.network,
            uid=0 if as_root else proxy_uid(realm),
            log=realm.workdir / "logs" / f"{spec.network}.envoy.log",
        )
    )
    mesh.mesh._pids[f"envoy {spec.network}"] = pid
    eventually(lambda: is_ready(realm, spec), f"the Envoy of {name} is ready")


def ask(mesh: LiveMesh, pod: Json, name: str, action: str) -> Reply:
    """Ask a probe, or a hook, of a container as the kubelet does: from the node, without certificate."""
    found = container(pod, name)
    http = (found[action] if action in found else found["lifecycle"][action])["httpGet"]
    headers = {one["name"]: one["value"] for one in http.get("httpHeaders", ())}
    ip = mesh.pod(pod["metadata"]["name"]).ip
    return mesh.call("", f"http://{ip}:{http['port']}{http['path']}", headers=headers)
