"""A whole cluster of one node in a room: API server, controllers, scheduler, kubelet, proxy, containerd and DNS.

Everything is what a cluster is made of; only DNS is a process of the node instead of a pod of the cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from typing_extensions import override

from e2e.cluster.api import ControlApi, Listens
from e2e.cluster.kubectl import KubectlCluster, run
from e2e.cluster.process import Daemon, DaemonFailed
from e2e.cluster.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NODE: Final = "node"
ADDRESS: Final = "10.250.0.1"
_PODS: Final = "10.244.0.0/16"
_SERVICES: Final = "10.96.0.0/16"
_DNS: Final = "10.96.0.10"
# A name that leads out of the cluster: to the node.
OUTSIDE: Final = "outside.example"
_DOMAIN: Final = "cluster.local"
_READY_S: Final = 90.0
PAUSE_IMAGE: Final = "mizzen.test/base:1"


class Cluster(KubectlCluster):
    """One node; inside a room (:mod:`e2e.cluster.room`) only."""

    def __init__(self, folder: Path, groups: str) -> None:
        self._folder = folder / "cluster"
        self._folder.mkdir()
        self._groups = groups
        self._socket = self._folder / "containerd.sock"
        self.api = self._control_api()
        super().__init__(self.api.kubeconfig)
        self._daemons: list[Daemon] = []
        self._leaders: list[Daemon] = []

    def start(self, images: Iterable[Path]) -> None:
        """Start everything, one after the other as they need each other, and return when the node is ready."""
        _make_node_address()
        self._say("etcd and kube-apiserver", self.api.start)
        self._say("containerd", self._start_containerd)
        for image in images:
            self._say(f"images of {image.name}", lambda image=image: self._import(image))  # type: ignore[misc]
        self._say("controllers, scheduler, kubelet, proxy and DNS", self._start_rest)
        self._say("the node's readiness", self._await_node)

    def stop(self) -> None:
        """Stop what was started; what it leaves ends with the room."""
        for daemon in reversed(self._daemons):
            daemon.stop()
        self.api.stop()

    def stop_api(self) -> None:
        """Stop the API server, and those who give up without it.

        Controllers and the scheduler lose their Leases in an outage, end, and are started again. Ours have
        none, so they would go on with what they saw last: that the node was silent for so long.
        """
        self.api.server.stop()
        for leader in self._leaders:
            leader.stop()

    def start_api(self) -> None:
        """End the outage."""
        self.api.start_server()
        for leader in self._leaders:
            leader.start()

    @property
    @override
    def logs(self) -> list[Path]:
        return sorted(self._folder.glob("*.log"))

    def _say(self, what: str, do: Callable[[], None]) -> None:
        started = time.monotonic()
        do()
        print(f"==> {what}: {time.monotonic() - started:.1f} s", flush=True)

    def _control_api(self) -> ControlApi:
        listens = Listens(address=ADDRESS, advertise=ADDRESS, service_range=_SERVICES)
        admin = (self._folder / "admin.crt", self._folder / "admin.key")
        flags = (
            f"--kubelet-client-certificate={admin[0]}",
            f"--kubelet-client-key={admin[1]}",
            "--kubelet-preferred-address-types=InternalIP",
        )
        return ControlApi(self._folder, listens=listens, flags=flags)

    def _start_containerd(self) -> None:
        (self._folder / "network").mkdir()
        self._write("network/10-pods.conflist", json.dumps(_pod_network(self._folder)))
        file = self._write("containerd.toml", _containerd(self._folder, self._socket))
        daemon = self._daemon("containerd", str(program("containerd")), "--config", str(file))
        daemon.start()
        daemon.wait_until(self._containerd_answers, within_s=_READY_S)

    def _containerd_answers(self) -> bool:
        if not self._socket.exists():
            return False
        done = subprocess.run(self._ctr("version"), capture_output=True, check=False)
        return done.returncode == 0

    def _import(self, image: Path) -> None:
        run(self._ctr("images", "import", str(image)), timeout_s=300)

    def _ctr(self, *arguments: str) -> list[str]:
        return [str(program("ctr")), "-a", str(self._socket), "-n", "k8s.io", *arguments]

    def _start_rest(self) -> None:
        authority = self.api.authority
        admin = f"--kubeconfig={self.kubeconfig}"
        key = self._folder / "service-accounts.key"
        controllers = self._daemon(
            "kube-controller-manager",
            str(program("kube-controller-manager")),
            admin,
            "--leader-elect=false",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={authority.pair.certificate}",
            f"--cluster-signing-cert-file={authority.pair.certificate}",
            f"--cluster-signing-key-file={authority.pair.key}",
        )
        scheduler = str(program("kube-scheduler"))
        self._leaders = [
            controllers,
            self._daemon("kube-scheduler", scheduler, admin, "--leader-elect=false"),
        ]
        for leader in self._leaders:
            leader.start()
        proxy = self._write("kube-proxy.yaml", yaml.safe_dump(_kube_proxy(self.kubeconfig)))
        self._daemon("kube-proxy", str(program("kube-proxy")), f"--config={proxy}").start()
        self._start_dns()
        self._start_kubelet()

    def _start_dns(self) -> None:
        file = self._write("Corefile", _corefile(self.kubeconfig))
        self._daemon("coredns", str(program("coredns")), "-conf", str(file)).start()
        self.kubectl("apply", "-f", "-", given=json.dumps(_dns_service()))

    def _start_kubelet(self) -> None:
        authority = self.api.authority
        client = authority.issue("kubelet", f"system:node:{NODE}", organisations=("system:nodes",))
        kubeconfig = authority.kubeconfig("kubelet", self.api.url, client)
        settings = _kubelet(self._socket, authority.pair.certificate, self._groups)
        file = self._write("kubelet.yaml", yaml.safe_dump(settings))
        self._daemon(
            "kubelet",
            str(program("kubelet")),
            f"--config={file}",
            f"--kubeconfig={kubeconfig}",
            f"--node-ip={ADDRESS}",
            f"--hostname-override={NODE}",
        ).start()

    def _await_node(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not self._node_is_ready():
            dead = [daemon for daemon in self._daemons if not daemon.running]
            if dead or time.monotonic() > deadline:
                words = [f"{one.name}:\n{one.last_words()}" for one in dead or self._daemons]
                raise DaemonFailed("the node is not ready\n" + "\n".join(words))
            time.sleep(0.5)

    def _node_is_ready(self) -> bool:
        nodes = self.get("nodes")["items"]
        accounts = self.get("serviceaccounts", "-n", "default")["items"]
        conditions = [one for node in nodes for one in node["status"].get("conditions", ())]
        ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        return ready and bool(accounts)

    def _daemon(self, name: str, *command: str) -> Daemon:
        plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        log = self._folder / f"{name}.log"
        daemon = Daemon(name, list(command), log, plain | {"PATH": _with_daemons(plain)})
        self._daemons.append(daemon)
        return daemon

    def _write(self, name: str, text: str) -> Path:
        file = self._folder / name
        file.write_text(text, encoding="utf-8")
        return file


def _make_node_address() -> None:
    for arguments in (
        "link add node0 type bridge",
        f"address add {ADDRESS}/24 dev node0",
        "link set node0 up",
        # What leads nowhere must have a way there, or connecting fails at once instead of being captured.
        "route add default dev node0",
    ):
        run([str(program("ip")), *arguments.split()])


def _with_daemons(environment: dict[str, str]) -> str:
    return f"{environment.get('PATH', '')}:/usr/sbin:/sbin:/usr/lib/cni"


def _containerd(folder: Path, socket: Path) -> str:
    return f"""\
version = 2
root = "{folder}/containerd"
state = "/run/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a score cannot be lowered, and every sandbox would die of it.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/network"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def _pod_network(folder: Path) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": str(folder / "addresses"),
        "ranges": [[{"subnet": _PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "hairpinMode": True}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    plugins = [bridge | {"ipam": addresses}, ports]
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": plugins}


def _kube_proxy(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE,
        "clusterCIDR": _PODS,
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
            "udpTimeout": "0s",
            "udpStreamTimeout": "0s",
        },
    }


def _kubelet(socket: Path, authority: Path, groups: str) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{socket}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": _DOMAIN,
        "clusterDNS": [_DNS],
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{groups}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # The disk and the memory are shared with whatever else runs here.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        # Pods of tests come and go faster than those of people.
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "maxPods": 110,
    }


def _corefile(kubeconfig: Path) -> str:
    return f"""\
.:53 {{
  bind {ADDRESS}
  errors
  hosts {{
    {ADDRESS} {OUTSIDE}
    fallthrough
  }}
  kubernetes {_DOMAIN} in-addr.arpa ip6.arpa {{
    kubeconfig {kubeconfig}
    pods insecure
    ttl 5
  }}
}}
"""


def _dns_service() -> dict[str, Any]:
    where = {"namespace": "kube-system"}
    ports = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": where | {"name": "kube-dns"},
        "spec": {"clusterIP": _DNS, "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": where
        | {"name": "kube-dns-node", "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [ADDRESS]}],
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, endpoints]}
