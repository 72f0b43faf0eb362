"""Step 2: ten in a hundred, then half; and how long it takes from saving to the last proxy."""

from __future__ import annotations

from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage

FILE: Final = "canary.yaml"
OBJECT: Final = ("VirtualService", "shop/reviews")
REVIEWS: Final = "http://reviews:9080/self"
_REQUESTS: Final = 1000
# A fair split is outside of four standard deviations once in sixteen thousand runs.
_DEVIATIONS: Final = 4


async def run(stage: Stage) -> tuple[Measured, ...]:
    """Count versions before and after an edit."""
    before = await _split(stage, 0.1)
    saved = await stage.edit(FILE, ("weight: 90", "weight: 50"), ("weight: 10", "weight: 50"))
    seconds = await stage.live(*OBJECT, saved)
    edited = Measured(
        what=f"{FILE}: 90/10 → 50/50, saved",
        value=f"acknowledged by the last proxy after {seconds * 1000:.0f} ms",
    )
    return (before, edited, await _split(stage, 0.5))


async def _split(stage: Stage, share: float) -> Measured:
    answers = await stage.inside["frontend-v1"].many(REVIEWS, _REQUESTS)
    versions = Counter(str(answer.body.get("version", answer.failure)) for answer in answers)
    expected = _REQUESTS * share
    tolerance = _DEVIATIONS * sqrt(_REQUESTS * share * (1 - share))
    fair = (
        abs(versions["v2"] - expected) <= tolerance and versions["v1"] + versions["v2"] == _REQUESTS
    )
    return Measured(
        what=f"{_REQUESTS:,} requests, {share:.0%} meant for v2",
        value=", ".join(f"{version}: {count}" for version, count in sorted(versions.items())),
        holds=fair,
    )
