"""The small costs that the large ones are made of: reading manifests, and the memo's own overhead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Final

from bench import mesh
from bench.mesh import MeshSize
from bench.report import Figure
from mizzen.engine import Database, Input, query
from mizzen_operator.sources.directory import read_folder
from mizzen_operator.sources.files import read_text

_SIZE: Final = MeshSize(services=500)
_REPEATS: Final = 15
_PULLS: Final = 2_000
_READING: Final = "reading manifests"
_MEMO: Final = "the memo's own overhead"

_CELL: Final[Input[int, int]] = Input("cell", 0)


@query
def _half(db: Database, key: int) -> int:
    return _CELL(db, key) // 2


@query
def _sum(db: Database, _key: str) -> int:
    return sum(_half(db, each) for each in range(10))


def measure() -> Iterator[Figure]:
    """Give all small figures."""
    with TemporaryDirectory(prefix="mizzen-bench-") as name:
        mesh.write_folder(Path(name) / "many", _SIZE)
        mesh.write_single_file(Path(name) / "one", _SIZE)
        yield from _reading(
            Path(name) / "many",
            mesh.service_file(Path(name) / "many", 0),
            "one file for each service",
        )
        yield from _reading(Path(name) / "one", Path(name) / "one" / "mesh.yaml", "all in one file")
    yield from _memo()


def _reading(root: Path, edited: Path, form: str) -> Iterator[Figure]:
    start = perf_counter_ns()
    folder, batch = read_folder(root)
    seconds = (perf_counter_ns() - start) / 1e9
    objects = len(batch.changes)
    yield _figure(
        _READING,
        f"an object, {form}",
        seconds / objects * 1e6,
        f"{objects:,} objects in {seconds:.2f} s",
    )
    text = edited.read_text()

    def edit(step: int) -> None:
        edited.write_text(text.replace("image: shop/svc-0000:", f"image: shop/svc-0000:{step}.", 1))
        folder.update({str(edited): read_text(edited)}, settled=False)

    yield _figure(_READING, f"an edit of one object, {form}", _typical(edit), "")


def _memo() -> Iterator[Figure]:
    db = Database()
    db.commit([(_CELL, each, each) for each in range(10)])
    _sum(db, "")

    def clean(_step: int) -> None:
        for _ in range(_PULLS):
            _sum(db, "")

    def changed(step: int) -> None:
        db.commit([(_CELL, 0, 10_000 + 2 * step)])
        _sum(db, "")

    def stopped(step: int) -> None:
        # The half is the same as before, so the sum is not computed again.
        db.commit([(_CELL, 0, 100 + step % 2)])
        _sum(db, "")

    stopped(0)
    yield _figure(_MEMO, "a pull of what is known", _typical(clean) / _PULLS, "")
    yield _figure(_MEMO, "a change that stops at once", _typical(stopped), "two queries deep")
    yield _figure(_MEMO, "a change that goes through", _typical(changed), "two queries deep")


def _typical(run: Callable[[int], None]) -> float:
    """Return the median microseconds of a call."""
    samples = []
    for step in range(_REPEATS):
        start = perf_counter_ns()
        run(step)
        samples.append((perf_counter_ns() - start) / 1e3)
    return median(samples)


def _figure(group: str, name: str, value: float, note: str) -> Figure:
    return Figure(group=group, name=name, value=value, unit="µs", note=note)
