"""The tables of specs are many, speak of every kind that Istio validates, and repeat nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final

import pytest

from mizzen.api.kinds import KINDS
from tests.support.spec_tables import Row, rows

_LEAST: Final = 600
_LEAST_OF_A_KIND: Final = 8
_ROWS: Final = rows()
# Kinds that Istio validates: its own, and what it takes from Kubernetes to be its own.
_VALIDATED: Final = sorted(kind.name for kind in KINDS if "istio.io" in kind.group)


def test_there_are_six_hundred_rows() -> None:
    """The number that was promised, and more."""
    assert len(_ROWS) >= _LEAST


@pytest.mark.parametrize("kind", _VALIDATED)
def test_a_kind_has_valid_and_invalid_specs(kind: str) -> None:
    """So that neither silence nor noise goes unseen."""
    of_kind = [row for row in _ROWS if row.kind == kind]
    sound = [row for row in of_kind if not row.told]
    assert len(of_kind) >= _LEAST_OF_A_KIND
    assert 0 < len(sound) < len(of_kind)


def test_no_row_stands_there_twice() -> None:
    """Neither its name nor its manifest."""
    names = Counter(map(str, _ROWS))
    manifests = Counter(json.dumps(row.manifest, sort_keys=True, default=str) for row in _ROWS)
    assert [name for name, times in names.items() if times > 1] == []
    assert [text for text, times in manifests.items() if times > 1] == []


def test_a_row_names_its_mistake() -> None:
    """What is told is told of a field within the manifest, by a code of the catalogue."""
    assert [row for row in _ROWS if _is_strange(row)] == []


def _is_strange(row: Row) -> bool:
    return any(
        not path.startswith(("spec", "metadata", "data")) or not code.startswith("MZ0")
        for path, code in row.told.items()
    )
