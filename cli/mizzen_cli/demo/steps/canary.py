"""Step 2: ten in a hundred, then half; and how long it takes from saving to the last proxy."""

from __future__ import annotations

import asyncio
from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import FRONTEND, Measured, NeverError

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

FILE: Final = "canary.yaml"
OBJECT: Final = ("VirtualService", "shop/reviews")
REVIEWS: Final = "http://reviews:9080/self"
_REQUESTS: Final = 1000
# A fair split is outside of four standard deviations once in sixteen thousand runs.
_DEVIATIONS: Final = 4
# Envoy's own word for when it has taken new virtual hosts, in milliseconds since the epoch.
_TAKEN_AT: Final = r"^http\..*\.rds\.vhds\.9080\.update_time$"


async def run(stage: Stage, note: Note) -> None:
    """Count versions before and after an edit."""
    async with stage.restored(FILE):
        note(await _split(stage, 0.1))
        saved = stage.edit(FILE, ("weight: 90", "weight: 50"), ("weight: 10", "weight: 50"))
        landed = await stage.live(*OBJECT, saved)
        note(
            Measured(
                what=f"{FILE}: 90/10 → 50/50, saved",
                value=f"the last of {landed.proxies} proxies said ACK "
                f"after {landed.seconds * 1000:.1f} ms",
            )
        )
        note(await _by_envoys_clock(stage, saved, landed.seconds, landed.proxies))
        note(await _split(stage, 0.5))


def other_weights(text: str) -> str:
    """Return the canary with its weights a little different, whatever they are."""
    first, second = (int(part.split()[0]) for part in text.split("weight: ")[1:])
    head, _, rest = text.partition(f"weight: {first}")
    middle, _, tail = rest.partition(f"weight: {second}")
    return f"{head}weight: {first - 1}{middle}weight: {second + 1}{tail}"


async def _by_envoys_clock(
    stage: Stage, saved: float, acknowledged: float, proxies: int
) -> Measured:
    """Ask the Envoys themselves when they took it; their clock has milliseconds."""
    counted = await asyncio.to_thread(stage.counted, _TAKEN_AT)
    moments = [max(found.values()) for found in counted.values() if found]
    taken = [moment / 1000 - saved for moment in moments if moment / 1000 >= saved - 0.001]
    if not taken:
        raise NeverError("no Envoy says that it took new virtual hosts")
    return Measured(
        what="the same by the Envoys' own clocks",
        value=f"{len(taken)} took it after {min(taken) * 1000:.0f} to {max(taken) * 1000:.0f} ms",
        holds=len(taken) == proxies and max(taken) <= acknowledged + 0.001,
        expected=f"taken by {proxies} proxies, before they acknowledged it",
    )


async def _split(stage: Stage, share: float) -> Measured:
    answers = await stage.inside[FRONTEND].many(REVIEWS, _REQUESTS)
    versions = Counter(str(answer.body.get("version", answer.said)) for answer in answers)
    expected = _REQUESTS * share
    tolerance = _DEVIATIONS * sqrt(_REQUESTS * share * (1 - share))
    fair = (
        abs(versions["v2"] - expected) <= tolerance and versions["v1"] + versions["v2"] == _REQUESTS
    )
    return Measured(
        what=f"{_REQUESTS:,} requests, {share:.0%} meant for v2",
        value=", ".join(f"{version}: {count}" for version, count in sorted(versions.items())),
        holds=fair,
        expected=f"v2: {expected:.0f} ± {tolerance:.0f}, all others v1",
    )
