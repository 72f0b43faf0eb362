"""One stock Envoy as a sidecar of the generated mesh: until when it is live, and what it takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.control_plane import answers, free_port, stop
from bench.mesh import NAMESPACE, pod
from bench.processes import Usage, usage
from mizzen.model.meta import labels
from mizzen.model.proxy import ProxyKind
from mizzen.render.bootstrap import BootstrapConfig, Node, bootstrap_text
from mizzen.render.control_plane import Endpoint, Plaintext

_LIVE_S: Final = 60.0
# Istio's default for a sidecar.
_WORKER_THREADS: Final = 2


@contextmanager
def sidecar(xds_port: int, work: Path) -> Iterator[tuple[float, Usage]]:
    """Give the seconds until an Envoy was live with its whole configuration, and its usage then."""
    config = _config(xds_port)
    file = work / "envoy.json"
    file.write_text(bootstrap_text(config))
    command = [
        str(Path(sys.executable).parent / "envoy"),
        *("--config-path", str(file)),
        *("--concurrency", str(_WORKER_THREADS)),
        *("--log-level", "warning", "--disable-hot-restart"),
    ]
    started = time.monotonic()
    with (work / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not answers(f"http://127.0.0.1:{config.admin_port}/ready"):
            if process.poll() is not None or time.monotonic() - started > _LIVE_S:
                raise RuntimeError((work / "envoy.log").read_text()[-2000:])
            time.sleep(0.02)
        yield time.monotonic() - started, usage(process.pid)
    finally:
        stop(process)


def _config(xds_port: int) -> BootstrapConfig:
    of = pod(0, 0)
    node = Node(
        kind=ProxyKind.SIDECAR,
        pod=of.name,
        namespace=NAMESPACE,
        ips=(of.ip,),
        service_account=of.service_account,
        labels=labels(dict(of.labels)),
        workload=of.service_account,
    )
    return BootstrapConfig(
        node=node,
        control_plane=Plaintext(endpoint=Endpoint(host="127.0.0.1", port=xds_port)),
        admin_port=free_port(),
        readiness_port=free_port(),
        prometheus_port=free_port(),
    )
