"""What a kubelet does with an injected pod: fills in variables, starts Envoy, asks the probes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mizzen.capture import PROXY_UID
from mizzen_cli.demo.mesh import XDS
from mizzen_cli.demo.proxies import is_ready, proxy_uid
from mizzen_cli.demo.realm import Command
from mizzen_operator.inject.decide import PROXY
from mizzen_operator.inject.settings import (
    ROOT_FOLDER,
    ROOT_KEY,
    TOKEN_FOLDER,
    TOKEN_NAME,
    InjectSettings,
)
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


class Mounts:
    """The volumes of a pod's proxy, replaced as the kubelet replaces them: all files at once, by a link.

    Source: pkg/volume/util/atomic_writer.go. The files are readable by everybody; their folder is not.
    """

    def __init__(self, mesh: LiveMesh, pod: Json) -> None:
        spec = mesh.pod(pod["metadata"]["name"])
        given = mesh.mesh.realm.workdir / "proxies" / spec.network
        self._folder = mesh.mesh.realm.workdir / "mounts" / spec.network
        self.root = (given / "root.pem").read_text(encoding="ascii")
        self.token = (given / "token").read_text(encoding="ascii")
        annotations = pod["metadata"]["annotations"]
        self._documents = {
            name: self.here(annotations[annotation])
            for name, (annotation, _) in InjectSettings().documents.items()
        }

    def here(self, text: str) -> str:
        """Return a text in which the pod's paths are those at which a test has the files."""
        for path in (TOKEN_FOLDER, ROOT_FOLDER):
            text = text.replace(path, f"{self._folder}{path}")
        return text

    def publish(self, *, root: str = "", token: str = "") -> None:
        """Have these files in force; empty is what the mesh began with."""
        self._replace(TOKEN_FOLDER, {TOKEN_NAME: token or self.token, **self._documents})
        self._replace(ROOT_FOLDER, {ROOT_KEY: root or self.root})

    def _replace(self, mount: str, files: Mapping[str, str]) -> None:
        folder = self._folder / mount.removeprefix("/")
        folder.mkdir(parents=True, exist_ok=True)
        version = folder / f"..{len(list(folder.iterdir()))}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text, encoding="ascii")
            link = folder / name
            if not link.is_symlink():
                link.symlink_to(f"..data/{name}")
        draft = folder / "..data_tmp"
        draft.symlink_to(version.name)
        draft.replace(folder / "..data")


def start_injected(mesh: LiveMesh, pod: Json) -> Mounts:
    """Run a pod's Envoy as injection wants it, with the control plane of the mesh; return its volumes."""
    name = pod["metadata"]["name"]
    spec = mesh.pod(name)
    mounts = Mounts(mesh, pod)
    mounts.publish()
    words = arguments(pod, spec.ip)
    place = words.index("--config-yaml") + 1
    where = InjectSettings().control_plane.endpoint
    words[place] = (
        mounts.here(words[place])
        .replace(f'"{where.host}"', f'"{XDS.host}"')
        .replace(f'"port_value":{where.port}', f'"port_value":{XDS.port}')
    )
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
    return mounts


def ask(mesh: LiveMesh, pod: Json, name: str, action: str) -> Reply:
    """Ask a probe, or a hook, of a container as the kubelet does: from the node, without certificate."""
    found = container(pod, name)
    http = (found[action] if action in found else found["lifecycle"][action])["httpGet"]
    headers = {one["name"]: one["value"] for one in http.get("httpHeaders", ())}
    ip = mesh.pod(pod["metadata"]["name"]).ip
    return mesh.call("", f"http://{ip}:{http['port']}{http['path']}", headers=headers)
