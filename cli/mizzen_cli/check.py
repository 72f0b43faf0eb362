"""``mizzen check``: whether a cluster is fit for Mizzen, and whether what is installed is well."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import click
from typing_extensions import Unpack

from mizzen_cli.cluster import Options, cluster_options, run

if TYPE_CHECKING:
    from rich.console import Console

    from mizzen_cli.checks.run import Result

_MARKS: Final = {
    "passed": ("✓", "green"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "bold red"),
    "skipped": ("-", "dim"),
}


@click.command()
@click.option("--before", is_flag=True, help="Only what can be known before the installation.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format.")
@cluster_options
def check(*, before: bool, output: str, **options: Unpack[Options]) -> None:
    """Check a cluster before the installation, or the cluster and the installation after it.

    Each check says what it proves and, where it fails, what to do.

    Exit codes: 0 nothing failed (warnings do not count); 1 something failed; 2 the command line is
    wrong.
    """
    results = run(_results(options, before=before))
    if output == "json":
        click.echo(json.dumps([result.document() for result in results], indent=2))
    else:
        _print(results)
    sys.exit(1 if any(result.state == "failed" for result in results) else 0)


async def _results(options: Options, *, before: bool) -> tuple[Result, ...]:
    from mizzen_cli.checks.catalogue import AFTER, BEFORE  # noqa: PLC0415  # wait for the verb
    from mizzen_cli.checks.run import ClusterView, run_checks  # noqa: PLC0415
    from mizzen_operator.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient.auto(options["kubeconfig"]) as api:
        view = ClusterView(api, options["control_plane"])
        return await run_checks(BEFORE if before else (*BEFORE, *AFTER), view)


def _print(results: tuple[Result, ...]) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False, soft_wrap=True)
    for result in results:
        _show(console, result)
    counts = {state: sum(one.state == state for one in results) for state in _MARKS}
    words = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    console.print(words)


def _show(console: Console, result: Result) -> None:
    mark, style = _MARKS[result.state]
    console.print(f"[{style}]{mark}[/] {result.check.proves}")
    if result.message:
        console.print(f"    {result.message}", markup=False)
    if result.state in ("failed", "warning"):
        console.print(f"    ➜ {result.check.remedy}", markup=False)
        console.print(f"    see {result.check.link}", style="dim", markup=False)
