"""A whole mesh in a realm: a folder of YAML in, running pods with Envoys and a control plane out.

The demo and the tests with real traffic use this same class. Addresses are those of the manifests; the
hub, where the control plane listens, has the first address of the pods' range.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen.render.control_plane import ControlPlane, Endpoint, TokenOverTls
from mizzen_cli.demo.closing import Closing
from mizzen_cli.demo.inside import HUB
from mizzen_cli.demo.manifests import Cast, PodSpec, hosts_text, read_cast
from mizzen_cli.demo.proxies import (
    AskError,
    ask,
    capture_config,
    is_ready,
    load_capture,
    new_token,
    place_envoy,
    start_proxy,
    write_files,
)
from mizzen_cli.demo.realm import Command, enter
from mizzen_cli.demo.wire import InsideError

if TYPE_CHECKING:
    from collections.abc import Callable

HUB_IP: Final = "10.44.0.1"
_HUB_CIDR: Final = f"{HUB_IP}/16"
XDS: Final = Endpoint(host=HUB_IP, port=15012)
# On the hub's own loopback: what changes anything there is answered to the same machine alone.
HTTP: Final = Endpoint(host="127.0.0.1", port=15014)
SERVER_NAME: Final = "mizzen.mizzen-system.svc"
TRUST_DOMAIN: Final = "cluster.local"

# The `mizzen` command, from whatever folder its script is in.
_MIZZEN: Final = "from mizzen_cli.main import main; main()"

# A cold start of Python and gRPC on two busy cores.
_SERVE_TIMEOUT_SECONDS: Final = 60.0
_PROXIES_TIMEOUT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05


class MeshError(Exception):
    """The mesh did not come up; the message has the end of the log that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a mesh is made from.

    Attributes:
        manifests: A folder of YAML; it is copied, and only the copy is ever changed.
        more: Files of YAML that are laid beside, in the same copy.
        apps: What containers see as ``/app``.
    """

    manifests: Path
    apps: Path
    more: tuple[Path, ...] = ()


class Mesh(Closing):
    """Pods, Envoys and a control plane, started step by step; close it to end them all."""

    def __init__(self, sources: Sources, *, keep: bool = False) -> None:
        """Enter a realm and lay out the work folder; nothing runs yet."""
        self.realm = enter(keep=keep)
        self.folder = self.realm.workdir / "mesh"
        self.state = self.realm.workdir / "state"
        self.logs = self.realm.workdir / "logs"
        self.serve_pid = 0
        self._given_up = False
        self._apps = sources.apps
        self._pids: dict[str, int] = {}
        try:
            shutil.copytree(sources.manifests, self.folder, ignore=_only_yaml)
            for file in sources.more:
                shutil.copy(file, self.folder)
            self.state.mkdir(mode=0o700)
            self.cast: Cast = read_cast(self.folder)
            self._tokens = {pod.network: new_token() for pod in self.cast.pods}
            self._envoy = place_envoy(self.realm)
        except BaseException:
            self.realm.close()
            raise

    def pod(self, name: str) -> PodSpec:
        """Return a pod by its name; ``KeyError`` when there is none."""
        for pod in self.cast.pods:
            if name in (pod.name, pod.network):
                return pod
        raise KeyError(name)

    @property
    def proxied(self) -> tuple[PodSpec, ...]:
        """The pods that have an Envoy."""
        return tuple(pod for pod in self.cast.pods if pod.sidecar or pod.router)

    def start_networks(self) -> None:
        """Make a network for each pod, with capture where it has a sidecar, and names for all."""
        self.realm.bridge(_HUB_CIDR)
        capture = capture_config(self.realm, HUB_IP)
        for pod in self.cast.pods:
            self.realm.network(pod.network, f"{pod.ip}/16", HUB_IP)
            if pod.sidecar and pod.captured:
                load_capture(self.realm, pod.network, capture)
        self._name_services()

    def start_apps(self) -> None:
        """Start the applications, as the root of the realm, which Envoy is not."""
        for pod in self.cast.pods:
            if pod.command:
                self._pids[f"app {pod.network}"] = self._start_app(pod)

    def start_control_plane(self) -> None:
        """Start ``mizzen serve`` on the folder, and wait until it is ready to serve."""
        self._write_tokens()
        self.serve_pid = self.realm.spawn(
            Command(
                argv=(sys.executable, "-c", _MIZZEN, *self._serve_words()),
                log=self.logs / "serve.log",
                environment=(("PYTHONUNBUFFERED", "1"),),
            )
        )
        self.until(self.is_serving, _SERVE_TIMEOUT_SECONDS, "the control plane", "serve.log")

    def stop_control_plane(self, number: int = signal.SIGTERM) -> None:
        """Stop the control plane with a signal and wait for its end."""
        self.realm.send_signal(self.serve_pid, number)
        self.realm.wait(self.serve_pid, _SERVE_TIMEOUT_SECONDS)

    def start_proxies(self, control_plane: ControlPlane | None = None) -> None:
        """Start all Envoys at once, and wait until each has its first whole configuration."""
        root = (self.state / "root.pem").read_text(encoding="ascii")
        for pod in self.proxied:
            self.start_proxy(pod, root, control_plane)
        for pod in self.proxied:
            self.until(
                lambda pod=pod: is_ready(self.realm, pod),  # type: ignore[misc]  # bound at once
                _PROXIES_TIMEOUT_SECONDS,
                f"the Envoy of {pod.network}",
                f"{pod.network}.envoy.log",
            )

    def start_proxy(
        self, pod: PodSpec, root: str, control_plane: ControlPlane | None = None
    ) -> None:
        """Start one pod's Envoy, without waiting for it."""
        folder = self.realm.workdir / "proxies" / pod.network
        reached_by = control_plane or TokenOverTls(
            endpoint=XDS,
            server_name=SERVER_NAME,
            root_file=str(folder / "root.pem"),
            token_file=str(folder / "token"),
        )
        files = write_files(self.realm, pod, reached_by, self._tokens[pod.network], root)
        self._pids[f"envoy {pod.network}"] = start_proxy(
            self.realm, self._envoy, pod, files.bootstrap
        )

    def is_serving(self) -> bool:
        """Tell whether the control plane says that it is ready."""
        try:
            status, _body = self.ask_control_plane("/readyz")
        except AskError:
            return False
        return status == 200

    def ask_control_plane(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Return status and body of a request to the control plane's HTTP port."""
        return ask(self.realm, HUB, (HTTP.host, HTTP.port), path, method)

    def until(self, holds: Callable[[], bool], seconds: float, what: str, log: str) -> None:
        """Wait until something holds; :class:`MeshError` with the end of a log when it never does."""
        deadline = time.monotonic() + seconds
        while not holds():
            if self._given_up:
                raise MeshError(f"{what}: not waited for")
            watched = self._watched()
            for end in self.realm.exits():
                if end.pid in watched:
                    name, its_log = watched[end.pid]
                    raise MeshError(f"{name}: ended with code {end.code}\n{self._tail(its_log)}")
            if time.monotonic() > deadline:
                raise MeshError(f"{what}: not ready in {seconds:.0f} s\n{self._tail(log)}")
            time.sleep(_POLL_SECONDS)

    def give_up(self) -> None:
        """Let whoever waits in another thread wait no longer; what comes next is :meth:`close`."""
        self._given_up = True

    def close(self) -> None:
        """End everything; what it wrote goes too unless it is to be kept."""
        with suppress(InsideError, OSError, EOFError):
            if self.serve_pid:
                self.realm.send_signal(self.serve_pid)
        self.realm.close()

    def _name_services(self) -> None:
        """Give all processes the names of services, and no resolver that they could wait for."""
        files = {"/etc/hosts": hosts_text(self.cast), "/etc/resolv.conf": "nameserver 127.0.0.1\n"}
        for place, text in files.items():
            ours = self.realm.workdir / Path(place).name
            ours.write_text(text, encoding="ascii")
            if Path(place).exists():
                self.realm.bind(ours, Path(place).resolve())

    def _start_app(self, pod: PodSpec) -> int:
        words = [word.replace("/app/", f"{self._apps}/") for word in pod.command]
        if words[0] in ("python", "python3"):
            # nothing of the user's, no -I: a program may have modules beside it
            words[:1] = [sys.executable, "-E", "-s", "-B"]
        return self.realm.spawn(
            Command(
                argv=tuple(words),
                network=pod.network,
                log=self.logs / f"{pod.network}.app.log",
                environment=(("HOSTNAME", pod.name),),
            )
        )

    def _serve_words(self) -> tuple[str, ...]:
        return (
            "serve",
            str(self.folder),
            *("--xds", str(XDS)),
            *("--http", str(HTTP)),
            *("--state", str(self.state)),
            *("--trust-domain", TRUST_DOMAIN),
        )

    def _write_tokens(self) -> None:
        """Tell the control plane whose tokens are whose, where only it can read them."""
        folder = self.state / "tokens"
        folder.mkdir(mode=0o700, exist_ok=True)
        for pod in self.proxied:
            file = folder / f"{pod.namespace}.{pod.service_account}"
            if file.exists():  # pods of one account have one token
                self._tokens[pod.network] = file.read_text(encoding="ascii")
                continue
            file.touch(mode=0o600)
            file.write_text(self._tokens[pod.network], encoding="ascii")

    def _watched(self) -> dict[int, tuple[str, str]]:
        """Return what runs, by pid: how one calls it, and its log."""
        found = {self.serve_pid: ("the control plane", "serve.log")}
        for key, pid in self._pids.items():
            what, _, network = key.partition(" ")
            found[pid] = (f"the {what} of {network}", f"{network}.{what}.log")
        return found

    def _tail(self, log: str) -> str:
        """Return the last lines of a log."""
        try:
            text = (self.logs / log).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-15:])


def _only_yaml(folder: str, names: list[str]) -> list[str]:
    """Return what is not copied: all files but manifests, and hidden ones."""
    return [
        name
        for name in names
        if name.startswith(".") or not (name.endswith(".yaml") or (Path(folder) / name).is_dir())
    ]
