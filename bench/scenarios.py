"""What a mesh of 500 services is measured by, from the file that is saved to the last proxy.

Every scenario is: say what must arrive, take the time, save a file (written beside and renamed, as
editors do), wait until every proxy has it. The figures and their bounds are the project's promises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic_ns
from typing import Final

from bench import mesh
from bench.control_plane import ControlPlane
from bench.fleet import Arrivals, Awaited, Fleet, nodes
from bench.mesh import MeshSize
from bench.report import Figure
from bench.sidecar import sidecar

SIZE: Final = MeshSize(services=500)

_ENDPOINT_EDITS: Final = 15
_OTHER_EDITS: Final = 7
# Services that no other edit is about.
_DELEGATES_FROM: Final = 100
_UNSEEN_FROM: Final = 150
# What one edit stirs up must be over before the next one; an acknowledgement takes a millisecond.
_BETWEEN_EDITS_S: Final = 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What was promised for a number of proxies; ``narrow_ms`` is for a Sidecar, a delegate, a policy."""

    proxies: int
    connect_s: float
    endpoint_ms: float
    route_ms: float
    resident_mb: float
    narrow_ms: float | None = None
    change_bytes: int = 2_048
    reconnect_percent: float = 1.0


PROMISED: Final = (
    Bounds(proxies=200, connect_s=0.8, endpoint_ms=30, route_ms=50, resident_mb=150, narrow_ms=60),
    Bounds(proxies=1_000, connect_s=4.0, endpoint_ms=150, route_ms=175, resident_mb=250),
)


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A kind of edit: which file it saves, and what every proxy must get because of it."""

    name: str
    file: Callable[[Path, int], Path]
    text: Callable[[int], str]
    awaited: Callable[[int], tuple[Awaited, ...]]
    count: int = _OTHER_EDITS


def outbound(kind: str, index: int, subset: str = "") -> Awaited:
    """Return what a service is at its callers: a cluster, or its endpoints."""
    name = mesh.host(mesh.service_name(index))
    return Awaited(kind=kind, contains=f"outbound|{mesh.PORT}|{subset}|{name}")


def virtual_host(index: int) -> Awaited:
    """Return what its callers route by."""
    return Awaited(kind="VIRTUAL_HOST", contains=mesh.host(mesh.service_name(index)))


def _in_folder(prefix: str) -> Callable[[Path, int], Path]:
    return lambda folder, index: folder / f"{prefix}-{mesh.service_name(index)}.yaml"


ENDPOINT: Final = Edit(
    "endpoint change",
    mesh.service_file,
    lambda index: mesh.service_documents(index, SIZE, replaced=1),
    lambda index: (outbound("ENDPOINT", index),),
    count=_ENDPOINT_EDITS,
)
VIRTUAL_SERVICE: Final = Edit(
    "new VirtualService",
    _in_folder("route"),
    mesh.virtual_service,
    lambda index: (virtual_host(index),),
)
DESTINATION_RULE: Final = Edit(
    "new DestinationRule with a subset",
    _in_folder("rule"),
    mesh.destination_rule,
    lambda index: (outbound("CLUSTER", index, "v2"), outbound("ENDPOINT", index, "v2")),
)
SERVICE: Final = Edit(
    "new Service",
    _in_folder("service"),
    lambda index: mesh.service_documents(SIZE.services + index, SIZE),
    lambda index: (
        outbound("CLUSTER", SIZE.services + index),
        outbound("ENDPOINT", SIZE.services + index),
        virtual_host(SIZE.services + index),
    ),
)


# Of all proxies, so that each edit is one's last: they come to every inbound listener, or take a host away.
DELEGATE: Final = Edit(
    "new VirtualService with a delegate",
    _in_folder("delegate"),
    lambda index: mesh.delegated(_DELEGATES_FROM + index),
    lambda index: (virtual_host(_DELEGATES_FROM + index),),
)
POLICY: Final = Edit(
    "AuthorizationPolicy of all workloads",
    lambda folder, _: folder / "policy.yaml",
    mesh.namespace_policy,
    lambda _: (Awaited(kind="LISTENER", contains="virtualInbound"),),
)
SIDECAR: Final = Edit(
    "Sidecar of all workloads",
    lambda folder, _: folder / "sidecar.yaml",
    lambda index: mesh.sidecar_without(_UNSEEN_FROM + index),
    lambda index: (replace(virtual_host(_UNSEEN_FROM + index), removed=True),),
)
_WHOLE: Final = ((DELEGATE, ""), (POLICY, "policy.yaml"), (SIDECAR, "sidecar.yaml"))


@dataclass(slots=True)
class Samples:
    """What the edits of one kind took, to the last proxy and to its acknowledgement."""

    last_ms: list[float] = field(default_factory=list)
    acked_ms: list[float] = field(default_factory=list)
    bytes_each: list[float] = field(default_factory=list)
    server_cpu_ms: list[float] = field(default_factory=list)
    generator_cpu_ms: list[float] = field(default_factory=list)

    def note(self) -> str:
        """Return what was seen besides the median."""
        return (
            f"longest {max(self.last_ms):.0f} ms; acknowledged {median(self.acked_ms):.1f} ms; "
            f"server {median(self.server_cpu_ms):.0f} ms of CPU, clients {median(self.generator_cpu_ms):.0f} ms"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A control plane with proxies connected to it, and the folder that is edited."""

    folder: Path
    plane: ControlPlane
    fleet: Fleet
    bounds: Bounds

    @property
    def group(self) -> str:
        """The heading of the figures."""
        return (
            f"{SIZE.services} services x {SIZE.endpoints} endpoints, {self.bounds.proxies} proxies"
        )

    def edit(self, edit: Edit) -> Samples:
        """Make all edits of a kind, one after the other."""
        samples = Samples()
        for index in range(edit.count):
            cpu = self.plane.usage().cpu_s
            self.fleet.arm(*edit.awaited(index))
            started = save(edit.file(self.folder, index), edit.text(index))
            arrivals = self.fleet.wait()
            sent = self.fleet.settle(_BETWEEN_EDITS_S)
            samples.last_ms.append(arrivals.last_ms(started))
            samples.acked_ms.append(arrivals.last_ack_ms(started))
            samples.bytes_each.append(sent / self.bounds.proxies)
            samples.server_cpu_ms.append((self.plane.usage().cpu_s - cpu) * 1e3)
            samples.generator_cpu_ms.append(arrivals.generator_cpu_s * 1e3)
        return samples


def save(file: Path, text: str) -> int:
    """Save a file in one step, and return when that began."""
    beside = file.with_name(f".{file.name}.new")
    started = monotonic_ns()
    beside.write_text(text)
    os.replace(beside, file)
    return started


def measure(bounds: Bounds) -> Iterator[Figure]:
    """Give the figures for a number of proxies, as they come."""
    with TemporaryDirectory(prefix="mizzen-bench-") as name:
        work = Path(name)
        folder = work / "mesh"
        mesh.write_folder(folder, SIZE)
        with ControlPlane(folder, work) as plane:
            ready_s = plane.wait_until_ready()
            before = plane.usage()
            with Fleet(plane.xds_port) as fleet:
                stage = Stage(folder, plane, fleet, bounds)
                note = f"{before.resident_mb:.0f} MB resident, {before.cpu_s:.1f} s of CPU"
                yield _plain(
                    stage, "start until ready, one file for each service", ready_s, "s", note
                )
                yield from _stage(stage)
            yield from _sidecar(stage, work)


def _stage(stage: Stage) -> Iterator[Figure]:
    first, figure = _connect(stage)
    yield figure
    bounds = stage.bounds
    yield _timed(stage, ENDPOINT, bounds.endpoint_ms)[0]
    figure, samples = _timed(stage, VIRTUAL_SERVICE, bounds.route_ms)
    yield figure
    yield Figure(
        group=stage.group,
        name="bytes sent to a proxy for a VirtualService change",
        value=median(samples.bytes_each),
        unit="B",
        bound=bounds.change_bytes,
        note="framing and acknowledgements' answers included",
    )
    yield _timed(stage, DESTINATION_RULE, bounds.route_ms)[0]
    yield _timed(stage, SERVICE, bounds.route_ms)[0]
    yield _reconnect(stage, first)
    used = stage.plane.usage()
    yield Figure(
        group=stage.group,
        name="resident memory of the control plane",
        value=used.resident_mb,
        unit="MB",
        bound=bounds.resident_mb,
        note=f"at its highest {used.peak_mb:.0f} MB",
    )
    # Last, since memory is promised for the default scope.
    for edit, file in _WHOLE:
        yield _timed(stage, edit, bounds.narrow_ms)[0]
        if file:
            (stage.folder / file).unlink()
            stage.fleet.settle()


def _connect(stage: Stage) -> tuple[Arrivals, Figure]:
    proxies = nodes(SIZE, stage.bounds.proxies)
    cpu = stage.plane.usage().cpu_s
    arrivals = stage.fleet.connect(proxies, clusters=SIZE.services, virtual_hosts=SIZE.services)
    cpu = stage.plane.usage().cpu_s - cpu
    stage.fleet.settle()
    figure = Figure(
        group=stage.group,
        name="all connected with their first full configuration",
        value=arrivals.last_ms(stage.fleet.started_ns) / 1e3,
        unit="s",
        bound=stage.bounds.connect_s,
        note=f"{arrivals.received_bytes / 1e6:.0f} MB; server {cpu:.1f} s of CPU, "
        f"clients {arrivals.generator_cpu_s:.1f} s",
    )
    return arrivals, figure


def _timed(stage: Stage, edit: Edit, bound: float | None) -> tuple[Figure, Samples]:
    samples = stage.edit(edit)
    figure = Figure(
        group=stage.group,
        name=f"{edit.name} → last proxy, median of {edit.count}",
        value=median(samples.last_ms),
        unit="ms",
        bound=bound,
        note=samples.note(),
    )
    return figure, samples


def _reconnect(stage: Stage, first: Arrivals) -> Figure:
    cpu = stage.plane.usage().cpu_s
    stage.fleet.reconnect()
    again = stage.fleet.settle()
    cpu = stage.plane.usage().cpu_s - cpu
    # A change that reaches everyone proves that all of them are connected again.
    probe = SIZE.services - 1
    stage.fleet.arm(outbound("ENDPOINT", probe))
    text = mesh.service_documents(probe, SIZE, replaced=1)
    save(mesh.service_file(stage.folder, probe), text)
    stage.fleet.wait()
    return Figure(
        group=stage.group,
        name="all reconnect with versions, nothing changed: share of the first bytes",
        value=100 * again / first.received_bytes,
        unit="%",
        bound=stage.bounds.reconnect_percent,
        note=f"{again / stage.bounds.proxies:.0f} B a proxy; server {cpu:.1f} s of CPU",
    )


def _sidecar(stage: Stage, work: Path) -> Iterator[Figure]:
    with sidecar(stage.plane.xds_port, work) as (seconds, used):
        note = f"stock Envoy, live after {seconds:.1f} s"
        yield _plain(stage, "memory of one Envoy sidecar", used.resident_mb, "MB", note)


def _plain(stage: Stage, name: str, value: float, unit: str, note: str) -> Figure:
    return Figure(group=stage.group, name=name, value=value, unit=unit, note=note)
