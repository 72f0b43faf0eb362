"""What a mesh of 500 services is measured by on Kubernetes, from the write to the last proxy: ``make bench-kube``.

A real API server holds the mesh; ``mizzen operator`` runs against it; hundreds of proxies open TLS
streams with tokens that are bound to their pods. Time runs from the moment before a write is sent to the
API server, admission by our own webhook included, until the last proxy has what follows from it.
Exit code 1 where a figure is over its bound.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Final, Self

from rich.console import Console

from bench import mesh
from bench.control_plane import ControlPlaneError, answers, free_port, stop
from bench.fleet import Awaited, Believes, Fleet
from bench.kube_mesh import CONTROL_PLANE, KubeMesh, status_writes
from bench.mesh import MeshSize
from bench.processes import Usage, usage
from bench.report import Figure, all_within_bounds, keep, machine, show
from bench.scenarios import Samples, outbound, virtual_host
from tests.support.kube_api import ApiServer

SIZE: Final = MeshSize(services=500)

_ROOT: Final = Path(__file__).parents[1]
_RESULTS: Final = Path(__file__).parent / "results"
_EDITS: Final = 15
_BETWEEN_EDITS_S: Final = 0.3
_READY_S: Final = 120.0
# No status may be written for so long before it counts as written.
_QUIET_S: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What was promised for a number of proxies; ``generation`` tells the runs' edits apart."""

    proxies: int
    endpoint_ms: float
    route_ms: float
    resident_mb: float
    generation: int
    start_s: float = 5.0
    status_writes: int = 3


PROMISED: Final = (
    Bounds(proxies=200, endpoint_ms=40, route_ms=60, resident_mb=170, generation=1),
    Bounds(proxies=1_000, endpoint_ms=160, route_ms=200, resident_mb=270, generation=2),
)


class Operator:
    """``mizzen operator`` as a process to be measured, on free ports of loopback."""

    def __init__(self, server: ApiServer, work: Path) -> None:
        self.xds_port, self.http_port, webhooks = free_port(), free_port(), free_port()
        self._log = work / "operator.log"
        command = [
            *(str(Path(sys.executable).parent / "mizzen"), "operator"),
            *("--kubeconfig", str(server.kubeconfig), "--namespace", CONTROL_PLANE),
            *("--xds", f"127.0.0.1:{self.xds_port}", "--http", f"127.0.0.1:{self.http_port}"),
            *("--webhooks", f"127.0.0.1:{webhooks}", "--replicas", f"127.0.0.1:{free_port()}"),
            *("--webhook-url", f"https://127.0.0.1:{webhooks}", "--drain-seconds", "0"),
        ]
        environment = _compiled(work)
        self._started = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop(self._process)

    def wait_until_ready(self) -> float:
        """Return how many seconds it took from the start until it was ready to serve."""
        self.wait(lambda: answers(f"http://127.0.0.1:{self.http_port}/readyz"))
        return time.monotonic() - self._started

    def wait(self, until: Callable[[], object]) -> None:
        """Wait for something to be true; ``ControlPlaneError`` with the log's end where it is not."""
        deadline = time.monotonic() + _READY_S
        while not until():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise ControlPlaneError(self._log.read_text()[-3000:])
            time.sleep(0.02)

    def usage(self) -> Usage:
        """Return the memory and the processor time that it has taken."""
        return usage(self._process.pid)


def _compiled(work: Path) -> dict[str, str]:
    """Return an environment in which every module is compiled, as it is in the image."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {"PYTHONPYCACHEPREFIX": str(work / "compiled")}
    imports = "import kopf, mizzen_operator.kube_app, mizzen_operator.kube.watching"
    subprocess.run([sys.executable, "-c", imports], env=environment, check=True)
    return environment


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A replica with proxies connected to it, and the API server that is written to."""

    server: ApiServer
    mesh: KubeMesh
    operator: Operator
    fleet: Fleet
    bounds: Bounds

    def figure(self, name: str, value: float, unit: str, bound: float | None, note: str) -> Figure:
        """Return something measured here."""
        return _figure(self.bounds, name, value, unit, bound, note)

    def edit(self, write: Callable[[int], None], awaited: Callable[[int], Awaited]) -> Samples:
        """Write one object after the other, each time until every proxy has what follows."""
        samples = Samples()
        for index in range(_EDITS):
            cpu = self.operator.usage().cpu_s
            self.fleet.arm(awaited(index))
            started = monotonic_ns()
            write(index)
            arrivals = self.fleet.wait()
            sent = self.fleet.settle(_BETWEEN_EDITS_S)
            samples.last_ms.append(arrivals.last_ms(started))
            samples.acked_ms.append(arrivals.last_ack_ms(started))
            samples.bytes_each.append(sent / self.bounds.proxies)
            samples.server_cpu_ms.append((self.operator.usage().cpu_s - cpu) * 1e3)
            samples.generator_cpu_ms.append(arrivals.generator_cpu_s * 1e3)
        return samples

    def written(self) -> dict[str, int]:
        """Return how often status was written, once that is over."""
        before = status_writes(self.server.kubectl("get", "--raw", "/metrics"))
        while True:
            self.fleet.settle(_QUIET_S)
            now = status_writes(self.server.kubectl("get", "--raw", "/metrics"))
            if now == before:
                return now
            before = now


def main() -> int:
    """Measure, show, keep."""
    parser = argparse.ArgumentParser(description="Measure on a real Kubernetes API server.")
    parser.add_argument("--proxies", type=int, action="append", help="only this many (200 or 1000)")
    options = parser.parse_args()
    console, facts = Console(), machine()
    console.print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    figures: list[Figure] = []
    for figure in _all(options.proxies, console):
        console.print(f"[dim]{figure.group}: {figure.name}: {figure.value:.3g} {figure.unit}[/dim]")
        figures.append(figure)
    show(figures, console)
    if options.proxies is None:
        keep(figures, _RESULTS, facts, name="kubernetes", command="make bench-kube")
    return 0 if all_within_bounds(figures) else 1


def _all(proxies: list[int] | None, console: Console) -> Iterator[Figure]:
    with TemporaryDirectory(prefix="mizzen-bench-") as name:
        work = Path(name)
        with ApiServer(work / "api") as server, KubeMesh(server.kubeconfig, SIZE) as objects:
            server.kubectl("apply", "--server-side", "-f", str(_ROOT / "crds"))
            server.kubectl("wait", "--for=condition=Established", "crd", "--all")
            started = time.monotonic()
            count = objects.load(edited=_EDITS, generations=len(PROMISED))
            took = time.monotonic() - started
            console.print(f"[dim]{count} objects written in {took:.0f} s[/dim]")
            for bounds in PROMISED:
                if proxies is None or bounds.proxies in proxies:
                    yield from _measure(server, objects, bounds, work)


def _measure(server: ApiServer, objects: KubeMesh, bounds: Bounds, work: Path) -> Iterator[Figure]:
    with Operator(server, work) as operator:
        ready_s = operator.wait_until_ready()
        used = operator.usage()
        note = f"{used.resident_mb:.0f} MB resident, {used.cpu_s:.1f} s of CPU"
        yield _figure(bounds, "start until ready", ready_s, "s", bounds.start_s, note)
        operator.wait(objects.roots)
        roots = work / "roots.pem"
        roots.write_text(objects.roots())
        believes = Believes(roots=roots, server_name=f"mizzen.{CONTROL_PLANE}.svc")
        with Fleet(operator.xds_port, tls=believes) as fleet:
            yield from _stage(Stage(server, objects, operator, fleet, bounds))
    objects.remove("VirtualService")


def _stage(stage: Stage) -> Iterator[Figure]:
    yield _connect(stage)
    bounds, objects = stage.bounds, stage.mesh
    endpoints = stage.edit(
        lambda index: objects.replace_slice(index, bounds.generation),
        lambda index: outbound("ENDPOINT", index),
    )
    yield _timed(stage, "endpoint change", endpoints, bounds.endpoint_ms)
    routes = stage.edit(lambda index: objects.create(mesh.virtual_service(index)), virtual_host)
    yield _timed(stage, "new VirtualService", routes, bounds.route_ms)
    yield _status(stage)
    used = stage.operator.usage()
    yield stage.figure(
        "resident memory of the replica",
        used.resident_mb,
        "MB",
        bounds.resident_mb,
        f"at its highest {used.peak_mb:.0f} MB",
    )


def _connect(stage: Stage) -> Figure:
    proxies, tokens = stage.mesh.tokens(stage.bounds.proxies)
    cpu = stage.operator.usage().cpu_s
    arrivals = stage.fleet.connect(
        proxies, tokens=tokens, clusters=SIZE.services, virtual_hosts=SIZE.services
    )
    cpu = stage.operator.usage().cpu_s - cpu
    stage.fleet.settle()
    seconds = arrivals.last_ms(stage.fleet.started_ns) / 1e3
    note = (
        f"{arrivals.received_bytes / 1e6:.0f} MB; server {cpu:.1f} s of CPU; TLS, tokens reviewed"
    )
    return stage.figure(
        "all connected with their first full configuration", seconds, "s", None, note
    )


def _timed(stage: Stage, name: str, samples: Samples, bound: float) -> Figure:
    title = f"{name}: API write → last proxy, median of {_EDITS}"
    return stage.figure(title, median(samples.last_ms), "ms", bound, samples.note())


def _status(stage: Stage) -> Figure:
    before = stage.written()
    stage.mesh.replace(mesh.virtual_service(0, timeout_s=9))
    after = stage.written()
    grown = {what: after[what] - before.get(what, 0) for what in after}
    note = ", ".join(f"{count} of {what}" for what, count in grown.items() if count)
    return stage.figure(
        "status writes for one change to one object",
        sum(grown.values()),
        "",
        stage.bounds.status_writes,
        note,
    )


def _figure(
    bounds: Bounds, name: str, value: float, unit: str, bound: float | None, note: str
) -> Figure:
    group = f"{SIZE.services} services x {SIZE.endpoints} endpoints, {bounds.proxies} proxies"
    return Figure(group=group, name=name, value=value, unit=unit, bound=bound, note=note)


if __name__ == "__main__":
    raise SystemExit(main())
