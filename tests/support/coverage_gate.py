"""Holds the coverage that the project promises, over the data that the last pytest run left behind.

Ends with 1 and the lines that are missing where a promise is broken.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import StringIO
from typing import Final

from coverage import Coverage
from coverage.exceptions import NoDataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A promise: the files that match ``include`` are covered, branches too, to ``at_least`` percent."""

    name: str
    include: str
    at_least: float


GATES: Final = (
    Gate(name="core", include="core/mizzen/*", at_least=95.0),
    Gate(name="engine", include="core/mizzen/engine.py", at_least=100.0),
    Gate(name="subscription", include="xds/mizzen_xds/subscription.py", at_least=100.0),
    Gate(name="stream", include="xds/mizzen_xds/stream.py", at_least=100.0),
)


def main() -> int:
    """Print each promise with what was measured; return 1 where one is broken."""
    coverage = Coverage()
    coverage.load()
    broken = [gate for gate in GATES if not _holds(coverage, gate)]
    return 1 if broken else 0


def _holds(coverage: Coverage, gate: Gate) -> bool:
    table = StringIO()
    try:
        percent = coverage.report(include=[gate.include], file=table)
    except NoDataError:
        percent = 0.0
    held = percent >= gate.at_least
    verdict = "holds" if held else "BROKEN"
    print(f"coverage of {gate.name}: {percent:.1f} % of {gate.at_least:.0f} %: {verdict}")
    if not held:
        print(table.getvalue())
    return held


if __name__ == "__main__":
    sys.exit(main())
