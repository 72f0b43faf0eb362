"""What is wrong in one manifest, before it is known where the manifest stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.diagnostics import (
    COSTLY,
    DEPRECATED,
    INVALID_COMBINATION,
    INVALID_FIELD,
    MISSING_FIELD,
    NO_EFFECT,
    NOT_TRANSLATED,
    WIDER,
    Code,
    Severity,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Fields, keys of maps and indexes of lists, from the manifest's root.
Path = tuple[str | int, ...]

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """A diagnostic without its object and place."""

    code: Code
    path: Path
    message: str
    remedy: str = ""


def render_path(path: Path) -> str:
    """Return a path as Kubernetes writes it: ``spec.http[0].headers[x-user]``."""
    text = ""
    for part in path:
        if isinstance(part, int) or not _WORD.fullmatch(part):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def invalid(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that a field's value is not allowed."""
    return Finding(INVALID_FIELD, path, message, remedy)


def missing(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that a field is missing; ``path`` names it."""
    return Finding(MISSING_FIELD, path, message, remedy)


def conflict(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that fields do not go together."""
    return Finding(INVALID_COMBINATION, path, message, remedy)


def untranslated(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that something is valid but has no effect yet."""
    return Finding(NOT_TRANSLATED, path, message, remedy)


def without_effect(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that a field changes nothing, as the others are written."""
    return Finding(NO_EFFECT, path, message, remedy)


def deprecated(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that something still works and should be written in another way."""
    return Finding(DEPRECATED, path, message, remedy)


def wider(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that something holds for more than its author may think."""
    return Finding(WIDER, path, message, remedy)


def costly(path: Path, message: str, remedy: str = "") -> Finding:
    """Return the finding that something is in force and dear."""
    return Finding(COSTLY, path, message, remedy)


def fatal(findings: Iterable[Finding]) -> bool:
    """Tell whether any finding keeps the object from being in force."""
    return any(finding.code.severity is Severity.ERROR for finding in findings)


def at(prefix: Path, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings of a part with the path of the part in front."""
    for found in findings:
        yield Finding(found.code, prefix + found.path, found.message, found.remedy)


def duplicates(path: Path, values: Iterable[str], what: str) -> Iterator[Finding]:
    """Yield a finding for every value of a list that stands there before."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield invalid((*path, index), f"{what} {value!r} stands in the list twice", "Keep one.")
        seen.add(value)
