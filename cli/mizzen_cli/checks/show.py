"""What became of checks, as people read it and as scripts read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from rich.console import Console

if TYPE_CHECKING:
    from mizzen_cli.checks.run import Result

_MARKS: Final = {
    "passed": ("✓", "green"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "bold red"),
    "skipped": ("-", "dim"),
}


def show_json(results: tuple[Result, ...]) -> str:
    """Return a list of documents, one for each check."""
    return json.dumps([result.document() for result in results], indent=2)


def show_text(results: tuple[Result, ...], console: Console | None = None) -> None:
    """Print a line for each check, what is wrong and what to do below it, and how many are of each kind."""
    console = console or Console(highlight=False, soft_wrap=True)
    for result in results:
        _show(console, result)
    counts = {state: sum(one.state == state for one in results) for state in _MARKS}
    console.print(", ".join(f"{number} {state}" for state, number in counts.items() if number))


def _show(console: Console, result: Result) -> None:
    mark, style = _MARKS[result.state]
    console.print(f"[{style}]{mark}[/] {result.check.proves}")
    if result.message:
        console.print(f"    {result.message}", markup=False)
    if result.state in ("failed", "warning"):
        console.print(f"    ➜ {result.check.remedy}", markup=False)
        console.print(f"    see {result.check.link}", style="dim", markup=False)
