"""All benchmarks: what ``make bench`` runs. Exit code 1 where a figure is over its bound."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from bench import incremental, micro, publish, scenarios
from bench.report import Figure, all_within_bounds, keep, machine, show

_RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Measure, show, keep."""
    parser = argparse.ArgumentParser(description="Measure against the promised figures.")
    parser.add_argument("--proxies", type=int, action="append", help="only this many (200 or 1000)")
    parser.add_argument("--only", choices=("core", "mesh"), help="only the core, or only the mesh")
    options = parser.parse_args()
    console = Console()
    facts = machine()
    console.print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    figures: list[Figure] = []
    for figure in _all(options.proxies, options.only):
        console.print(f"[dim]{figure.group}: {figure.name}: {figure.value:.3g} {figure.unit}[/dim]")
        figures.append(figure)
    show(figures, console)
    if options.proxies is None and options.only is None:
        keep(figures, _RESULTS, facts)
    return 0 if all_within_bounds(figures) else 1


def _all(proxies: list[int] | None, only: str | None) -> Iterator[Figure]:
    if only != "core":
        for bounds in scenarios.PROMISED:
            if proxies is None or bounds.proxies in proxies:
                yield from scenarios.measure(bounds)
    if only != "mesh":
        yield from incremental.measure()
        yield from publish.measure()
        yield from micro.measure()


if __name__ == "__main__":
    raise SystemExit(main())
