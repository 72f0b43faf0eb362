"""Diagnostics as people read them in a terminal and as scripts read them in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.diagnostics import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from mizzen.diagnostics import Diagnostic

_STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def in_reading_order(findings: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return findings by file and line, those without a place last, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=_place))


def _place(found: Diagnostic) -> tuple[bool, list[str], int, str, str, str]:
    where = found.location
    file, line = (where.file.split("/"), where.line) if where else ([], 0)
    return (where is None, file, line, found.code.id, str(found.object), found.path)


def count(findings: Iterable[Diagnostic], severity: Severity) -> int:
    """Return how many findings are of a severity."""
    return sum(found.code.severity is severity for found in findings)


def as_json(found: Diagnostic) -> dict[str, object]:
    """Return a finding as JSON has it; what is not known is null."""
    key, where = found.object, found.location
    return {
        "code": found.code.id,
        "severity": found.code.severity.value,
        "title": found.code.title,
        "object": key and {"kind": key.kind, "namespace": key.namespace, "name": key.name},
        "field": found.path or None,
        "message": found.message,
        "remedy": found.advice,
        "file": where and where.file,
        "line": where and where.line,
    }


def show(console: Console, found: Diagnostic) -> None:
    """Print a finding: where, how bad and on what; what is wrong; what to do."""
    from rich.text import Text  # noqa: PLC0415  # rich costs more than the rest of this module

    style = _STYLES[found.code.severity]
    head = Text()
    if found.location is not None:
        head.append(f"{found.location} ", style="bold")
    head.append(f"{found.code.severity} {found.code.id}", style=style)
    for part in (found.object, found.path):
        if part:
            head.append(f"  {part}")
    console.print(head, soft_wrap=True)
    console.print(Text(f"  {found.message}"), soft_wrap=True)
    console.print(Text(f"  ➜ {found.advice}", style="dim"), soft_wrap=True)
