"""Captured pods with real Envoys whose configuration is rendered from IR and nothing else.

Applications and clients live in the test's own process: their sockets are made inside the pods'
networks and used out here. An application keeps what it was sent, byte by byte.
"""

from __future__ import annotations

import ssl
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.model.meta import NO_LABELS
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET
from mizzen.render.control_plane import Endpoint, Plaintext
from mizzen.render.secrets import tls_certificate, validation_context
from mizzen_certs.authority import Authority
from mizzen_certs.clock import SystemClock
from mizzen_certs.store import MemoryStore
from mizzen_cli.demo.closing import Closing
from mizzen_cli.demo.manifests import PodSpec
from mizzen_cli.demo.proxies import (
    capture_config,
    is_ready,
    load_capture,
    place_envoy,
    start_proxy,
    stats,
    write_files,
)
from mizzen_cli.demo.realm import Command, Realm
from tests.support import static_ads

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from mizzen.wire import Resource

HUB: Final = "10.44.0.1"
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

_ADS: Final = Endpoint(host=HUB, port=15010)
_READ_BYTES: Final = 65_536
_PATIENCE_S: Final = 20.0
_SOCKET_S: Final = 5.0


def pod(name: str, number: int, *, router: bool = False) -> PodSpec:
    """Return a pod with the service account of its own name."""
    return PodSpec(
        name=name,
        namespace="test",
        ip=f"10.44.0.{number}",
        labels=NO_LABELS,
        service_account=name,
        router=router,
    )


def identity_of(spec: PodSpec) -> SpiffeId:
    """Return who a pod is."""
    return SpiffeId(
        trust_domain=DEFAULT_TRUST_DOMAIN,
        namespace=spec.namespace,
        service_account=spec.service_account,
    )


class Application:
    """A server in a pod, in a thread: keeps what it reads, answers HTTP/1.1 and echoes the rest.

    ``greeting`` is sent before anything is read, as server-first protocols do.
    """

    def __init__(self, listening: socket.socket, greeting: bytes = b"") -> None:
        """Serve on a bound socket until it is closed."""
        self.received: list[bytes] = []
        self._listening = listening
        self._greeting = greeting
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                accepted, _peer = self._listening.accept()
                threading.Thread(target=self._answer, args=(accepted,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_SOCKET_S)
        with connection, suppress(OSError):
            if self._greeting:
                connection.sendall(self._greeting)
            while data := connection.recv(_READ_BYTES):
                self.received.append(data)
                connection.sendall(_answer_to(data))

    def close(self) -> None:
        """Accept nothing more."""
        self._listening.close()


def _answer_to(data: bytes) -> bytes:
    if data.startswith(b"GET "):
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
    return b"echo:" + data


class RenderedWorld(Closing):
    """A realm, an ADS server with fixed answers in its hub, and pods."""

    def __init__(self) -> None:
        """Enter the realm; nothing runs yet."""
        self.realm = Realm()
        self._authority = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, SystemClock())
        self._applications: dict[tuple[str, int], Application] = {}

    def close(self) -> None:
        """End everything."""
        for application in self._applications.values():
            application.close()
        self.realm.close()

    def start(self, pods: Mapping[str, tuple[PodSpec, Iterable[Resource]]]) -> None:
        """Start the pods' Envoys with these resources, and wait until all have them."""
        self.realm.bridge(f"{HUB}/16")
        file = self.realm.workdir / "resources"
        nodes = {
            _node_id(spec): [*resources, *self._secrets(spec)] for spec, resources in pods.values()
        }
        static_ads.write(file, nodes)
        argv = (sys.executable, str(Path(static_ads.__file__)), str(file), str(_ADS))
        self.realm.spawn(Command(argv=argv, log=self._ads_log))
        self._until(lambda: "serving" in self._ads_lines(), "the ADS server")
        envoy = place_envoy(self.realm)
        for spec, _resources in pods.values():
            self._start_pod(spec, envoy)
        for spec, _resources in pods.values():
            self._until(lambda spec=spec: is_ready(self.realm, spec), spec.name)  # type: ignore[misc]

    def _start_pod(self, spec: PodSpec, envoy: Path) -> None:
        self.realm.network(spec.network, f"{spec.ip}/16", HUB)
        if not spec.router:
            load_capture(self.realm, spec.network, capture_config(self.realm, HUB))
        files = write_files(self.realm, spec, Plaintext(endpoint=_ADS), "", "")
        start_proxy(self.realm, envoy, spec, files.bootstrap)

    @property
    def _ads_log(self) -> Path:
        return self.realm.workdir / "logs" / "ads.log"

    def _ads_lines(self) -> str:
        log = self._ads_log
        return log.read_text(encoding="utf-8") if log.exists() else ""

    @property
    def rejections(self) -> list[str]:
        """What proxies refused."""
        return [line for line in self._ads_lines().splitlines() if line.startswith("rejected")]

    def serve(self, spec: PodSpec, port: int, greeting: bytes = b"") -> Application:
        """Start an application, or return the one that has the port already."""
        key = (spec.name, port)
        if key not in self._applications:
            listening = self.realm.open_socket(spec.network)
            listening.bind(("0.0.0.0", port))
            listening.listen()
            self._applications[key] = Application(listening, greeting)
        return self._applications[key]

    def send(self, network: str, address: tuple[str, int], data: bytes) -> bytes:
        """Return the first bytes of the answer to these; empty where the connection is refused or cut."""
        try:
            with self.realm.connect(address, network=network, timeout=_SOCKET_S) as made:
                if data:
                    made.sendall(data)
                return made.recv(_READ_BYTES)
        except ConnectionError:
            return b""

    def client_context(self, spec: PodSpec) -> ssl.SSLContext:
        """Return TLS as a pod's identity, for a client that is no Envoy; servers are not verified."""
        svid = self._authority.issue(identity_of(spec))
        file = self.realm.workdir / f"{spec.name}.pem"
        file.write_bytes(svid.chain_pem + svid.key.reveal())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(file)
        return context

    def stat(self, spec: PodSpec, name: str) -> int:
        """Return one of an Envoy's counters."""
        pattern = name.replace("|", "%7C").replace(";", "%3B")
        found = stats(self.realm, spec, pattern.replace(".", "[.]"))
        return found.get(name, 0)

    def _secrets(self, spec: PodSpec) -> tuple[Resource, ...]:
        svid = self._authority.issue(identity_of(spec))
        return (
            tls_certificate(WORKLOAD_SECRET, svid.chain_pem, svid.key.reveal()),
            validation_context(ROOTS_SECRET, self._authority.bundle().roots_pem),
        )

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{what} never got ready: {self.rejections}"
            time.sleep(0.05)


def _node_id(spec: PodSpec) -> str:
    kind = "router" if spec.router else "sidecar"
    domain = f"{spec.namespace}.svc.cluster.local"
    return f"{kind}~{spec.ip}~{spec.name}.{spec.namespace}~{domain}"
