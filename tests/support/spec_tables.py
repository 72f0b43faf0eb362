"""Tables of valid and invalid specs, a file for each kind in ``tests/unit/api/tables``.

A file is a list of sections. A section has a template of a spec, in which ``$`` stands for what its rows put
there; a key ``$`` takes the fields of a mapping. A row is ``[what, value]`` where nothing is said of it, or
``[what, value, {path: code}]`` with everything that is; paths begin where the section says (``at``). What is
not translated yet (MZ0201) is for other tests: it changes from version to version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TABLES: Final = ROOT / "tests" / "unit" / "api" / "tables"
_HOLE: Final = "$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A manifest and what is said of it: codes by path; ``what`` is a sentence on it."""

    kind: str
    what: str
    manifest: dict[str, Any]
    told: dict[str, str]

    def __str__(self) -> str:
        """Return how a test report names it."""
        return f"{self.kind}: {self.what}"


def rows() -> list[Row]:
    """Return the rows of all tables."""
    return [row for file in sorted(TABLES.glob("*.yaml")) for row in _rows_of(file)]


def _rows_of(file: Path) -> Iterator[Row]:
    for section in yaml.safe_load(file.read_text(encoding="utf-8")):
        for what, value, *told in section["rows"]:
            yield Row(
                kind=file.stem,
                what=f"{section['about']}: {what}",
                manifest=_manifest(file.stem, section, value),
                told={f"{section['at']}{path}": code for path, code in (told or [{}])[0].items()},
            )


def _manifest(kind: str, section: dict[str, Any], value: object) -> dict[str, Any]:
    return {
        "apiVersion": section["apiVersion"],
        "kind": kind,
        "metadata": {
            "name": "it",
            "namespace": "shop",
            **_filled(section.get("metadata", {}), value),
        },
        **({"spec": _filled(section["spec"], value)} if "spec" in section else {}),
        **({"data": _filled(section["data"], value)} if "data" in section else {}),
    }


def _filled(template: Any, value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    if template == _HOLE:
        return value
    if isinstance(template, list):
        return [_filled(part, value) for part in template]
    if isinstance(template, dict):
        fixed = {name: _filled(part, value) for name, part in template.items() if name != _HOLE}
        return {**fixed, **value} if _HOLE in template else fixed
    return template
