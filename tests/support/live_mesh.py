"""A whole live mesh for tests: manifests in, a real control plane, stock Envoys and captured pods out.

What a test edits is in force when :meth:`LiveMesh.apply` returns: a last object, which concerns no proxy,
marks the end of an edit, and then every proxy has acknowledged what it is to have. So nothing here sleeps
and hopes; what a proxy does later by itself (draining, ejecting) is waited for with :func:`eventually`.

Clients live in the test's process. Their sockets are made inside the pods' networks, where capture takes
them for the application's.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from mizzen_cli.demo.closing import Closing
from mizzen_cli.demo.mesh import Mesh, Sources
from mizzen_cli.demo.proxies import AskError, admin, is_ready, stats
from tests.support.live_client import SOCKET_S, Client, Document, Load, Reply
from tests.support.live_manifests import (
    ANY_PORT,
    GREETING_PORT,
    HTTP_PORT,
    NAMESPACE,
    TCP_PORT,
    UNDECLARED_PORT,
    pod,
    pod_ip,
    router,
    service,
    service_ip,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from mizzen.render.control_plane import ControlPlane
    from mizzen_cli.demo.manifests import PodSpec

__all__ = (
    "ANY_PORT",
    "GREETING_PORT",
    "HTTP_PORT",
    "HUB",
    "NAMESPACE",
    "TCP_PORT",
    "UNDECLARED_PORT",
    "Document",
    "LiveMesh",
    "Load",
    "Reply",
    "eventually",
    "pod",
    "pod_ip",
    "router",
    "service",
    "service_ip",
)

HUB: Final = ""

_APPS: Final = Path(__file__).parent
_PATIENCE_S: Final = 20.0
_POLL_S: Final = 0.02
_READ_BYTES: Final = 65_536
_MARK_FILE: Final = "zz-mark.yaml"
# Of their namespaces, each its own, so that two marks do not contend for anything.
_MARK_PREFIX: Final = "mark-"


def _mark(number: int) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: {_MARK_PREFIX}{number}}}
spec: {{mtls: {{mode: STRICT}}}}
"""


class LiveMesh(Closing):
    """A running mesh; use as a context manager.

    ``files`` are manifests by file name. Pods are those that they name at the start. ``apps`` is what their
    containers see as ``/app``; every application listens on ``app_port``.
    """

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, str],
        *,
        apps: Path = _APPS,
        app_port: int = HTTP_PORT,
    ) -> None:
        for name, text in (*files.items(), (_MARK_FILE, _mark(0))):
            (folder / name).write_text(text, encoding="utf-8")
        self.mesh = Mesh(Sources(manifests=folder, apps=apps))
        self._app_port = app_port
        self._marks = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.mesh.close()
            raise
        return self

    def close(self) -> None:
        """End everything."""
        self.mesh.close()

    def start(self) -> None:
        """Start everything, and wait until it is there."""
        self.mesh.start_networks()
        self.mesh.start_apps()
        self.mesh.start_control_plane()
        self.mesh.start_proxies()
        eventually(self._apps_answer, "every application answers")
        self.settle()

    def _apps_answer(self) -> bool:
        try:
            for spec in self.mesh.cast.pods:
                if spec.command:
                    self.connect(spec.name, ("127.0.0.1", self._app_port)).close()
        except OSError:
            return False
        return True

    # Edits

    def write(self, name: str, text: str) -> None:
        """Save a manifest whole, as editors do; nothing is waited for."""
        path = self.mesh.folder / name
        draft = path.with_name(f".{name}.draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)

    def remove(self, name: str) -> None:
        """Delete a manifest; nothing is waited for."""
        (self.mesh.folder / name).unlink(missing_ok=True)

    def apply(self, name: str, text: str) -> None:
        """Save a manifest and wait until it is in force on every proxy."""
        self.write(name, text)
        self.settle()

    @contextmanager
    def having(self, *texts: str) -> Iterator[None]:
        """Have these manifests in force for as long as the block lasts."""
        names = [f"having-{number}.yaml" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            assert not (self.mesh.folder / name).exists(), "having() is not nested"
            self.write(name, text)
        self.settle()
        try:
            self._assert_read()
            yield
        finally:
            for name in names:
                self.remove(name)
            self.settle()

    def _assert_read(self) -> None:
        """A mistake in a test's own manifest is not to be looked for in the mesh."""
        said = self.status()
        found = [one for entry in (said, *said["objects"]) for one in entry["diagnostics"]]
        unread = [one for one in found if one["code"].startswith("MZ01")]
        assert not unread, unread

    def settle(self) -> None:
        """Wait until all that was saved and deleted is in force on every proxy.

        The mark is saved last, and the one before it is taken away last: removals wait for a moment
        in which the missing object might turn up in another file.
        """
        self.notice()
        eventually(self.is_settled, "every proxy has what it is to have")

    def notice(self) -> None:
        """Wait until all that was saved and deleted has been compiled and offered to the proxies."""
        self._marks += 1
        self.write(_MARK_FILE, _mark(self._marks))
        eventually(
            lambda: self._marks_in_force() == [f"{_MARK_PREFIX}{self._marks}"], "an edit is noticed"
        )

    def _marks_in_force(self) -> list[str]:
        found = (one["namespace"] for one in self.status()["objects"])
        return [namespace for namespace in found if namespace.startswith(_MARK_PREFIX)]

    def is_settled(self) -> bool:
        """Tell whether every proxy is here and has what it is to have."""
        proxies = self.status()["proxies"]
        return len(proxies) == len(self.mesh.proxied) and all(one["upToDate"] for one in proxies)

    # What the control plane says

    def status(self) -> Document:
        """Return what ``/status`` says."""
        code, body = self.mesh.ask_control_plane("/status")
        assert code == 200, body
        found: Document = json.loads(body)
        return found

    def object(self, kind: str, name: str) -> Document:
        """Return what ``/status`` says of an object, by ``namespace/name``; empty where nothing."""
        for found in self.status()["objects"]:
            if (found["kind"], f"{found['namespace']}/{found['name']}") == (kind, name):
                return dict(found)
        return {}

    def counter(self, name: str, **labels: str) -> int:
        """Return the sum of the control plane's samples that have this name and these labels."""
        _code, body = self.mesh.ask_control_plane("/metrics")
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = (line.rpartition(" ") for line in body.splitlines() if not line.startswith("#"))
        return sum(
            int(float(value))
            for sample, _space, value in lines
            if sample.partition("{")[0] == name and all(one in sample for one in wanted)
        )

    # What proxies say

    def pod(self, name: str) -> PodSpec:
        """Return a pod by its name."""
        return self.mesh.pod(name)

    def stats(self, of: str, pattern: str) -> dict[str, int]:
        """Return an Envoy's counters and gauges whose names match a regex."""
        return stats(self.mesh.realm, self.pod(of), pattern)

    def admin(self, of: str, path: str) -> str:
        """Return what an Envoy's admin interface answers."""
        return admin(self.mesh.realm, self.pod(of), path)

    def restart_proxy(self, of: str, control_plane: ControlPlane | None = None) -> None:
        """Kill a pod's Envoy, start another one, and wait until that is ready."""
        self.kill_proxy(of)
        root = (self.mesh.state / "root.pem").read_text(encoding="ascii")
        self.mesh.start_proxy(self.pod(of), root, control_plane)
        eventually(lambda: is_ready(self.mesh.realm, self.pod(of)), f"the Envoy of {of} is ready")

    def kill_proxy(self, of: str) -> None:
        """Kill a pod's Envoy."""
        pid = self.mesh._pids[f"envoy {self.pod(of).network}"]
        self.mesh.realm.send_signal(pid, signal.SIGKILL)
        self.mesh.realm.wait(pid, _PATIENCE_S)

    def identity(self, of: str) -> str:
        """Return the SPIFFE id of the certificate that a pod's Envoy shows; empty where it has none."""
        for found in json.loads(self.admin(of, "/certs"))["certificates"]:
            for chain in found.get("cert_chain", ()):
                return str(chain["subject_alt_names"][0]["uri"])
        return ""

    # Clients

    def address(self, host: str) -> str:
        """Return the address of a service or pod by any name that it had at the start."""
        with suppress(KeyError):
            return self.mesh.cast.address(host)
        return host

    def connect(self, of: str, address: tuple[str, int]) -> socket.socket:
        """Return a connection made from a pod's network, or from the hub's."""
        network = self.pod(of).network if of else HUB
        return self.mesh.realm.connect(address, network=network, timeout=SOCKET_S)

    def _client(self, of: str) -> Client:
        return Client(lambda address: self.connect(of, address), self.address)

    def call(
        self,
        of: str,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        at: str = "",
        body: bytes = b"",
    ) -> Reply:
        """Make one request on a connection of its own."""
        client = self._client(of)
        try:
            return client.call(url, method=method, headers=headers, at=at, body=body)
        finally:
            client.close()

    def calls(
        self, of: str, url: str, count: int, *, headers: Mapping[str, str] | None = None
    ) -> list[Reply]:
        """Make many requests, one after the other."""
        client = self._client(of)
        try:
            return [client.call(url, headers=headers) for _ in range(count)]
        finally:
            client.close()

    def at_once(self, of: str, url: str, count: int) -> list[Reply]:
        """Make many requests at the same time, each on a connection of its own."""
        replies: list[Reply] = []
        threads = [
            threading.Thread(target=lambda: replies.append(self.call(of, url)))
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return replies

    def tcp(self, of: str, host: str, port: int, data: bytes = b"hello\n") -> bytes:
        """Return the first bytes of the answer to these; empty where the connection is refused or cut."""
        try:
            with self.connect(of, (self.address(host), port)) as made:
                if data:
                    made.sendall(data)
                return made.recv(_READ_BYTES)
        except ConnectionError:
            return b""

    @contextmanager
    def load(self, of: str, *urls: str, workers: int = 2) -> Iterator[Load]:
        """Keep calling URLs for as long as the block lasts; the last requests are waited for."""
        load, over, lock = Load(), threading.Event(), threading.Lock()

        def work(number: int) -> None:
            client = self._client(of)
            turn = number
            while not over.is_set():
                reply = client.call(urls[turn % len(urls)])
                turn += 1
                with lock:
                    load.record(reply)
                over.wait(0.005)  # leaves the processors to what is being tested
            client.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: load.requests > workers, "the load has begun")
            yield load
        finally:
            over.set()
            for thread in threads:
                thread.join()


def eventually(holds: Callable[[], object], what: str, seconds: float = _PATIENCE_S) -> None:
    """Wait until something holds that nobody announces; fails the test when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(AskError):
            if holds():
                return
        assert time.monotonic() < deadline, f"never within {seconds:.0f} s: {what}"
        time.sleep(_POLL_S)
