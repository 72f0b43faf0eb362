"""The row of the mesh is written soon when it matters, and seldom when it does not."""

from __future__ import annotations

from typing import Any, Final

from mizzen_operator.kube_status.row import Pace

READY: Final = {"type": "Ready", "status": "True", "reason": "AllIsWell", "message": ""}


def _document(ready: str = "True", p99: str = "24 ms") -> dict[str, Any]:
    return {"ready": ready, "convergenceP99": p99, "conditions": [READY]}


def test_what_matters_is_written_soon_and_what_always_changes_seldom() -> None:
    """The first one at once, and an equal one never."""
    pace = Pace()
    assert pace.is_due(_document(), 0.0)
    pace.wrote(_document(), 0.0)
    assert not pace.is_due(_document(), 3600.0)
    assert [pace.is_due(_document("False"), after) for after in (4.0, 5.0)] == [False, True]
    assert [pace.is_due(_document(p99="9 s"), after) for after in (29.0, 30.0)] == [False, True]
    pace.forget()
    assert pace.is_due(_document(), 0.0)
