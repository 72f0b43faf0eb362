"""What one change costs the core, by the size of the mesh: the curve must be flat.

No network and no files: batches in, bundles of the live classes out. The sizes take turns edit by edit,
so that a noisy machine disturbs all of them alike; what counts is the ratio to the smallest mesh.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Final

from rich.console import Console

from bench.mesh import MeshSize
from bench.report import Figure, all_within_bounds, show
from bench.world import (
    authorization_policy,
    batch,
    destination_rule,
    node,
    replaced_endpoint,
    service_objects,
    virtual_service,
    whole_mesh,
)
from mizzen.compile import Compiler
from mizzen.model.meta import NO_LABELS
from mizzen.model.proxy import NodeInfo, ProxyClass
from mizzen.model.world import Batch

SIZES: Final = (500, 2_000, 5_000)

_EDITS: Final = 21
_LIVE_PROXIES: Final = 20
# Copying a table of references grows with the mesh at some nanoseconds an entry; more is a defect.
_FLAT: Final = 1.5
_POLICIES_S: Final = 1.0

Edit = Callable[[MeshSize, int], Batch]


def _endpoint(size: MeshSize, step: int) -> Batch:
    return replaced_endpoint(100, size, step + 1)


def _virtual_service(_size: MeshSize, step: int) -> Batch:
    return batch(virtual_service(150, step + 1))


def _destination_rule(_size: MeshSize, step: int) -> Batch:
    return batch(destination_rule(200, step + 1))


def _policy(_size: MeshSize, step: int) -> Batch:
    """A policy on a workload one of whose proxies is live."""
    return batch(authorization_policy(3, 100 + step))


def _service(size: MeshSize, step: int) -> Batch:
    return batch(*service_objects(size.services + step, size))


# The first three are promised to be flat; new services are shown beside them.
_EDITS_BY_NAME: Final[tuple[tuple[str, Edit, bool], ...]] = (
    ("one endpoint", _endpoint, True),
    ("one VirtualService", _virtual_service, True),
    ("one policy", _policy, True),
    ("one DestinationRule", _destination_rule, False),
    ("one new Service", _service, False),
)


@dataclass(frozen=True, slots=True, eq=False)
class _Mesh:
    """A compiler with a mesh in it and some proxies connected."""

    size: MeshSize
    compiler: Compiler
    nodes: tuple[NodeInfo, ...]

    def pull(self) -> None:
        """Bring every live class up to date, as after each commit."""
        classes: dict[ProxyClass, None] = {}
        for each in self.nodes:
            classes[self.compiler.classify(each)] = None
        for each_class in classes:
            self.compiler.bundle(each_class)

    def microseconds(self, change: Batch) -> float:
        """Return what a batch costs from commit to bundles."""
        start = perf_counter_ns()
        self.compiler.commit(change)
        self.pull()
        return (perf_counter_ns() - start) / 1e3


def measure(sizes: Sequence[int] = SIZES) -> list[Figure]:
    """Return the cost of each kind of change at each size."""
    meshes: list[_Mesh] = []
    figures: list[Figure] = []
    for services in sizes:
        mesh, seconds = _build(MeshSize(services=services))
        meshes.append(mesh)
        group = "core: everything from nothing"
        figures.append(Figure(group=group, name=f"{services} services", value=seconds, unit="s"))
    figures.append(_policies())
    gc.collect()
    gc.freeze()  # what was built stays; only the edits' own garbage is to be collected
    try:
        for name, edit, promised in _EDITS_BY_NAME:
            figures += _curve(name, edit, meshes, promised=promised)
    finally:
        gc.unfreeze()
    return figures


def _policies() -> Figure:
    """Measure 500 policies of one namespace from nothing, half of them for all of its workloads."""
    size = MeshSize(services=SIZES[0])
    written = [authorization_policy(index, index + 1) for index in range(size.services - 1)]
    every = [replace(one, selector=NO_LABELS) if i % 2 else one for i, one in enumerate(written)]
    mesh, without = _build(size)
    seconds = mesh.microseconds(batch(*every)) / 1e6
    return Figure(
        group="core: everything from nothing",
        name=f"{len(every)} policies of one namespace",
        value=seconds,
        unit="s",
        bound=_POLICIES_S,
        note=f"in a mesh that takes {without:.1f} s without them, {_LIVE_PROXIES} proxies",
    )


def _build(size: MeshSize) -> tuple[_Mesh, float]:
    change = whole_mesh(size)
    nodes = tuple(node(index) for index in range(_LIVE_PROXIES))
    mesh = _Mesh(size=size, compiler=Compiler(), nodes=nodes)
    return mesh, mesh.microseconds(change) / 1e6


def _curve(name: str, edit: Edit, meshes: Sequence[_Mesh], *, promised: bool) -> Iterator[Figure]:
    costs: dict[int, list[float]] = {mesh.size.services: [] for mesh in meshes}
    for step, mesh in itertools.product(range(_EDITS), meshes):
        costs[mesh.size.services].append(mesh.microseconds(edit(mesh.size, step)))
    typical = {services: _typical(samples) for services, samples in costs.items()}
    smallest = min(typical.values())
    for services, cost in typical.items():
        yield Figure(
            group=f"core: {name}, by size of the mesh (ratio to the cheapest)",
            name=f"{services} services",
            value=cost / smallest,
            unit="x",
            bound=_FLAT if promised else None,
            note=f"{cost:,.0f} µs; longest {max(costs[services][1:]):,.0f} µs",
        )


def _typical(samples: Sequence[float]) -> float:
    """Return the lower quartile: what an edit costs while nothing else disturbs the machine.

    The first edit is left out: it creates what the others change.
    """
    return sorted(samples[1:])[len(samples) // 4]


def main() -> int:
    """Measure and show; 1 where a curve is not flat."""
    figures = measure()
    show(figures, Console())
    return 0 if all_within_bounds(figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
