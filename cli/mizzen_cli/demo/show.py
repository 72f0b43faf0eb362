"""What the demo looks like: headings, one line for each thing measured, verdicts."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from mizzen_cli.demo.stage import Measured
    from mizzen_cli.demo.tour import Outcome, Step

# Wider lines are hard to read; and where there is no terminal, this is how wide it is.
_WIDTH: Final = 100

# Lines that are cut off at the end of their row; ours all fit, and this is half of the picture.
_CLIPS: Final = re.compile(r' clip-path="url\(#[^)]*\)"')

# A page for Console.export_svg that asks nobody for a font, so that it looks the same offline.
_PICTURE: Final = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace;
font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width;
}}
{styles}
</style>
<rect width="{width}" height="{height}" rx="8" fill="#16181d"/>
<g transform="translate({terminal_x}, {terminal_y})">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


class Show:
    """Writes to a terminal as things happen; and keeps a picture of it where one is wanted."""

    def __init__(self, console: Console | None = None, picture: Path | None = None) -> None:
        """Write to a console, the terminal by default; to a picture as well when the show is over."""
        self._console = console or _terminal()
        self._picture = picture
        self._kept: Console | None = None
        if picture is not None:
            self._kept = Console(
                record=True, file=io.StringIO(), width=_WIDTH, force_terminal=True, highlight=False
            )

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that something is going on while the block lasts; only on a terminal."""
        with self._console.status(Text(what, style="dim")):
            yield

    def opening(self, pods: int, note: str) -> None:
        """Say what is going to happen, and what is not as usual on this machine."""
        self._print(
            Text.assemble(
                ("Mizzen", "bold cyan"),
                f": a mesh of {pods} pods on this machine, each with a network of its own.",
            )
        )
        if note:
            self._print(Text.assemble(("Note: ", "yellow"), note))
        self._print("")

    def started(self, what: str, seconds: float) -> None:
        """Tell that a part is running."""
        self._print(
            Text.assemble(("  ✓ ", "green"), f"{what} ", (f"{seconds:.1f} s", "dim")),
        )

    def open(self, door: str, seconds: float) -> None:
        """Tell that the mesh is up."""
        self._print(
            Text.assemble(
                "\nThe shop is open at ", (door, "bold"), (f"  after {seconds:.1f} s", "dim")
            )
        )

    def step(self, number: int, step: Step) -> None:
        """Start a step: what it is about and what it proves."""
        title = Text.assemble((f"{number}. ", "cyan"), (step.title, "bold"))
        self._print("", Rule(title, align="left", style="dim"), Text(step.proves, style="italic"))

    def measured(self, found: Measured) -> None:
        """Show one thing that was measured; where it does not hold, what should have been."""
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=3, justify="right")
        table.add_column(ratio=9)
        table.add_column(ratio=10, overflow="fold")
        sign = Text("✓", style="green") if found.holds else Text("✗", style="bold red")
        value = Text(found.value, style="bold" if found.holds else "bold red")
        table.add_row(sign, Text(found.what), value)
        if not found.holds:
            table.add_row("", Text("expected", style="red"), Text(found.expected, style="red"))
        self._print(table)

    def verdict(self, outcome: Outcome) -> None:
        """End a step."""
        said = ("holds", "bold green") if outcome.holds else ("DOES NOT HOLD", "bold red")
        self._print(Text.assemble("    ", said, (f"  {outcome.seconds:.1f} s", "dim")))

    def final(self, outcomes: tuple[Outcome, ...], requests: int, seconds: float) -> None:
        """Say how it all ended."""
        broken = [outcome.step.title for outcome in outcomes if not outcome.holds]
        kept = len(outcomes) - len(broken)
        style = "bold red" if broken else "bold green"
        self._print(
            "",
            Rule(style="dim"),
            Text.assemble(
                (f"{'✗' if broken else '✓'} {kept} of {len(outcomes)} promises held", style),
                (f"  {requests:,} requests, {seconds:.0f} s in all", "dim"),
            ),
            *(Text(f"  does not hold: {title}", style="red") for title in broken),
        )

    def say(self, *lines: RenderableType) -> None:
        """Write something that belongs to no step, and is on no picture."""
        self._console.print(*lines, highlight=False, soft_wrap=True, sep="\n")

    def close(self) -> None:
        """Write the picture, where one is wanted."""
        if self._kept is None or self._picture is None:
            return
        text = self._kept.export_svg(title="", code_format=_PICTURE, unique_id="mizzen")
        self._picture.write_text(_CLIPS.sub("", text), encoding="utf-8")

    def _print(self, *lines: RenderableType) -> None:
        width = min(self._console.width, _WIDTH)
        self._console.print(Group(*lines), width=width, highlight=False)
        if self._kept is not None:
            self._kept.print(Group(*lines))


def _terminal() -> Console:
    """Return the terminal; a pipe or a file is as wide as one likes."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)
