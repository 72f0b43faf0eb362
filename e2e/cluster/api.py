"""etcd and kube-apiserver: what there is to speak to, with nobody who acts on what is written there.

Needs no root. The tests against an API server run exactly this; a cluster adds those who act.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import ssl
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from e2e.cluster.certificates import Authority, Pair
from e2e.cluster.process import Daemon
from e2e.cluster.programs import program

if TYPE_CHECKING:
    from pathlib import Path

_START_S: Final = 120.0
_ANSWER_S: Final = 2.0
# Linux gives clients those from 32768 on, and Kubernetes gives services those from 30000 on.
_PORTS: Final = range(20_000, 30_000)
# An address that leads nowhere (RFC 5737): a loopback one is refused, though nobody asks it here.
_NOWHERE: Final = "192.0.2.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listens:
    """Where the API server is reached, and as what it makes itself known inside the cluster."""

    address: str = "127.0.0.1"
    advertise: str = _NOWHERE
    service_range: str = "10.96.0.0/16"
    service_address: str = "10.96.0.1"


class ControlApi:
    """etcd and kube-apiserver in a folder of their own."""

    def __init__(self, folder: Path, *, listens: Listens, flags: tuple[str, ...] = ()) -> None:
        self._listens = listens
        self._folder = folder
        port, self._etcd_port, peer = free_ports(3)
        self.url = f"https://{listens.address}:{port}"
        self.authority = Authority(folder)
        self._admin = self.authority.issue("admin", "admin", organisations=("system:masters",))
        self.kubeconfig = self.authority.kubeconfig("admin", self.url, self._admin)
        self.etcd = self._etcd(peer)
        self.server = self._server(port, flags)
        self._tls = ssl.create_default_context(cafile=self.authority.pair.certificate)
        self._tls.load_cert_chain(self._admin.certificate, self._admin.key)

    def start(self) -> None:
        """Start both and return when requests are served."""
        self.start_etcd()
        self.start_server()

    def stop(self) -> None:
        """Stop both."""
        self.server.stop()
        self.etcd.stop()

    def start_etcd(self) -> None:
        """Start etcd and return when it is healthy."""
        self.etcd.start()
        health = f"http://127.0.0.1:{self._etcd_port}/health"
        self.etcd.wait_until(lambda: _answers(health), within_s=_START_S)

    def start_server(self) -> None:
        """Start kube-apiserver and return when it is ready."""
        self.server.start()
        self.server.wait_until(self.ready, within_s=_START_S)

    def ready(self) -> bool:
        """Tell whether the API server serves requests."""
        return _answers(f"{self.url}/readyz", self._tls)

    def _etcd(self, peer: int) -> Daemon:
        client, peers = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer}"
        command = [str(program("etcd")), "--data-dir", str(self._folder / "etcd")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers]
        command += ["--initial-cluster", f"default={peers}", "--logger", "zap"]
        return Daemon("etcd", command, self._folder / "etcd.log")

    def _server(self, port: int, flags: tuple[str, ...]) -> Daemon:
        known_as = self._listens
        tls = self._serving_pair()
        signing = self.authority.issue("service-accounts", "service-accounts")
        values = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "secure-port": str(port),
            "bind-address": known_as.address,
            "advertise-address": known_as.advertise,
            "service-cluster-ip-range": known_as.service_range,
            "tls-cert-file": str(tls.certificate),
            "tls-private-key-file": str(tls.key),
            "client-ca-file": str(self.authority.pair.certificate),
            "service-account-key-file": str(signing.key),
            "service-account-signing-key-file": str(signing.key),
            "service-account-issuer": "https://kubernetes.default.svc",
            "authorization-mode": "Node,RBAC",
            "allow-privileged": "true",
            "profiling": "false",
        }
        command = [str(program("kube-apiserver")), *(f"--{k}={v}" for k, v in values.items())]
        log = self._folder / "kube-apiserver.log"
        return Daemon("kube-apiserver", [*command, *flags], log, _without_proxies())

    def _serving_pair(self) -> Pair:
        inside = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
        addresses = ("127.0.0.1", self._listens.address, self._listens.service_address)
        hosts = tuple(dict.fromkeys(("localhost", *inside, *addresses, self._listens.advertise)))
        return self.authority.issue("kube-apiserver", "kube-apiserver", hosts=hosts)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now, all different.

    None of those that the system gives to clients: one of them may take it before it is listened on.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found


def _answers(url: str, tls: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S, context=tls) as answer:
            said = answer.read()
    except (urllib.error.URLError, OSError, http.client.HTTPException):
        return False
    return said == b"ok" or bool(json.loads(said).get("health") == "true")


def _without_proxies() -> dict[str, str]:
    # The webhooks it calls are on this machine: no proxy of the environment leads there.
    return {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
