"""A folder of YAML compiled once, without a control plane: what the offline verbs work on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mizzen.compile import Compiler
from mizzen.model.mesh import MeshSettings
from mizzen_cli.findings import in_reading_order
from mizzen_cli.workloads import with_workloads
from mizzen_operator.sources.directory import read_folder

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineMesh:
    """A folder's objects in a compiler, and everything there is to say about them."""

    compiler: Compiler
    findings: tuple[Diagnostic, ...]
    objects: int


def load(directory: Path, settings: MeshSettings | None = None) -> OfflineMesh:
    """Read and compile all manifests below a folder, with what a cluster would make of Deployments and the like."""
    folder, read = read_folder(directory)
    batch, workloads = with_workloads(directory, read)
    compiler = Compiler(settings or MeshSettings())
    compiler.commit(batch)
    analysed = (folder.located(f) for found in compiler.analyze().values() for f in found)
    edge = (found for findings in batch.diagnostics.values() for found in findings)
    return OfflineMesh(
        compiler=compiler,
        findings=in_reading_order((*edge, *analysed)),
        objects=sum(item is not None for item in read.changes.values()) + workloads,
    )
