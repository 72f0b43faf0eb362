"""Step 3: a header decides the version; a failing pod is hidden by retries and then taken out."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import stats
from mizzen_cli.demo.stage import CATALOG, FRONTEND, Measured
from mizzen_cli.demo.steps.canary import REVIEWS

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_CATALOG_URL: Final = "http://catalog:9080/self"
_TESTERS: Final = 100
_REQUESTS: Final = 200
_CLUSTER: Final = r"^cluster\.outbound.9080..catalog\.shop.*\."
_EJECTED: Final = _CLUSTER + r"outlier_detection\.ejections_active$"
_RETRIED: Final = _CLUSTER + r"upstream_rq_retry_success$"


async def run(stage: Stage, note: Note) -> None:
    """Ask as a tester; then break one of two pods and see who notices."""
    note(await _testers_version(stage))
    await asyncio.to_thread(stage.tell, CATALOG, "/break", "POST")
    try:
        await _broken_is_hidden(stage, note)
        note(await _broken_is_ejected(stage))
    finally:
        await asyncio.to_thread(stage.tell, CATALOG, "/mend", "POST")


async def _testers_version(stage: Stage) -> Measured:
    answers = await stage.inside[FRONTEND].many(REVIEWS, _TESTERS, headers={"end-user": "tester"})
    versions = Counter(str(answer.body.get("version", answer.said)) for answer in answers)
    return Measured(
        what=f"{_TESTERS} requests with the header end-user: tester",
        value=", ".join(f"{version}: {count}" for version, count in versions.items()),
        holds=versions["v3"] == _TESTERS,
        expected=f"v3: {_TESTERS}",
    )


async def _broken_is_hidden(stage: Stage, note: Note) -> None:
    refused_before, retried_before = await _refusals(stage), await _retried(stage)
    answers = await stage.inside[FRONTEND].many(_CATALOG_URL, _REQUESTS)
    refused = await _refusals(stage) - refused_before
    retried = await _retried(stage) - retried_before
    good = sum(answer.ok for answer in answers)
    note(
        Measured(
            what=f"{CATALOG} answers 503 to everything",
            value=f"{good} of {_REQUESTS} requests to the catalog went well",
            holds=good == _REQUESTS,
            expected="all answered well, by the other pod",
        )
    )
    note(
        Measured(
            what="503s hidden by retries, then no more",
            value=f"{refused} by {CATALOG}; {retried} requests retried well",
            holds=0 < retried <= refused < _REQUESTS // 2,
            expected="a few, and every one of them tried again",
        )
    )


async def _broken_is_ejected(stage: Stage) -> Measured:
    found = await asyncio.to_thread(_stat, stage, _EJECTED)
    before = await _refusals(stage)
    answers = await stage.inside[FRONTEND].many(_CATALOG_URL, _REQUESTS)
    meanwhile = await _refusals(stage) - before
    return Measured(
        what="outlier detection in the frontend's Envoy",
        value=f"{found} pod out; {meanwhile} of {_REQUESTS} more requests met it",
        holds=found == 1 and meanwhile == 0 and all(answer.ok for answer in answers),
        expected=f"1 pod taken out, met by none of {_REQUESTS} more requests",
    )


async def _refusals(stage: Stage) -> int:
    """Return how many 503s the broken pod's application has answered so far."""
    return int(json.loads(await asyncio.to_thread(stage.tell, CATALOG, "/count"))["refused"])


async def _retried(stage: Stage) -> int:
    """Return how many of the frontend's requests to the catalog were saved by a retry so far."""
    return await asyncio.to_thread(_stat, stage, _RETRIED)


def _stat(stage: Stage, pattern: str) -> int:
    return sum(stats(stage.mesh.realm, stage.mesh.pod(FRONTEND), pattern).values())
