"""Step 7: a new version gets copies of real requests, and nobody gets its answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import FRONTEND, Measured
from mizzen_cli.demo.steps.canary import FILE, OBJECT, REVIEWS

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_NEWEST: Final = "reviews-v3"
_LAST_LINE: Final = "          weight: 10\n"
_MIRRORS: Final = """\
      mirrors:
        - destination: {host: reviews, subset: v3}
          percentage: {value: 100}
"""
_REQUESTS: Final = 200


async def run(stage: Stage, note: Note) -> None:
    """Have everyone's requests copied to version 3, which is only for testers."""
    async with stage.restored(FILE):
        landed = await stage.live(
            *OBJECT, stage.edit(FILE, (_LAST_LINE, f"{_LAST_LINE}{_MIRRORS}"))
        )
        note(Measured(what=f"{FILE}: copies of all requests for v3", value=str(landed)))
        before = await _seen(stage)
        answers = await stage.inside[FRONTEND].many(REVIEWS, _REQUESTS)
        note(_answered(Counter(str(a.body.get("version", a.said)) for a in answers)))
        copies = await stage.until(lambda: _copies(stage, before), "every copy arrives")
        note(
            Measured(
                what="requests that v3 saw meanwhile",
                value=f"{copies} copies, its answers dropped",
                holds=copies == _REQUESTS,
                expected=str(_REQUESTS),
            )
        )


def _answered(versions: Counter[str]) -> Measured:
    return Measured(
        what=f"{_REQUESTS} requests, answered by",
        value=", ".join(f"{version}: {count}" for version, count in sorted(versions.items())),
        holds=versions.keys() <= {"v1", "v2"} and versions.total() == _REQUESTS,
        expected="v1 and v2 alone",
    )


async def _seen(stage: Stage) -> int:
    return await asyncio.to_thread(_count, stage)


def _copies(stage: Stage, before: int) -> int | None:
    """Return how many requests came since, once they are as many as were sent."""
    since = _count(stage) - before
    return since if since >= _REQUESTS else None


def _count(stage: Stage) -> int:
    return int(json.loads(stage.tell(_NEWEST, "/count"))["answered"])
