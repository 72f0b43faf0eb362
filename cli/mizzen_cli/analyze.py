"""``mizzen analyze``: every diagnostic of a folder, with its code, its file and line, and what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format.")
def analyze(directory: Path, output: str) -> None:
    """Check all YAML below DIRECTORY without a cluster, and say what to correct.

    Exit codes: 0 no errors (warnings do not count); 1 errors; 2 the command line is wrong.
    """
    from mizzen.diagnostics import Severity  # noqa: PLC0415  # heavy imports wait for the verb
    from mizzen_cli.findings import count  # noqa: PLC0415
    from mizzen_cli.offline import load  # noqa: PLC0415

    mesh = load(directory)
    if output == "json":
        _print_json(mesh.findings, objects=mesh.objects)
    else:
        _print_text(mesh.findings, objects=mesh.objects)
    sys.exit(1 if count(mesh.findings, Severity.ERROR) else 0)


def _print_json(findings: tuple[Diagnostic, ...], *, objects: int) -> None:
    from mizzen.diagnostics import Severity  # noqa: PLC0415
    from mizzen_cli.findings import as_json, count  # noqa: PLC0415

    summary = {f"{severity}s": count(findings, severity) for severity in Severity}
    document = {"findings": [as_json(f) for f in findings], "objects": objects, **summary}
    click.echo(json.dumps(document, indent=2))


def _print_text(findings: tuple[Diagnostic, ...], *, objects: int) -> None:
    from rich.console import Console  # noqa: PLC0415

    from mizzen.diagnostics import Severity  # noqa: PLC0415
    from mizzen_cli.findings import count, show  # noqa: PLC0415

    console = Console(highlight=False)
    for found in findings:
        show(console, found)
    errors, warnings = count(findings, Severity.ERROR), count(findings, Severity.WARNING)
    counted = (errors, "error"), (warnings, "warning"), (objects, "object")
    said = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counted]
    console.print(f"{said[0]}, {said[1]} in {said[2]}")
