"""Step 3: a header decides the version; a failing pod is hidden by retries and then taken out."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import ask, stats
from mizzen_cli.demo.stage import Measured
from mizzen_cli.demo.steps.canary import REVIEWS

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage

_FRONTEND: Final = "frontend-v1"
_CATALOG: Final = "http://catalog:9080/self"
_BROKEN: Final = "catalog-1"
_REQUESTS: Final = 200
_EJECTED: Final = "cluster.outbound.9080..catalog.*outlier_detection.ejections_active"


async def run(stage: Stage) -> tuple[Measured, ...]:
    """Ask as a tester; then break one of two pods and see who notices."""
    by_header = await _testers_version(stage)
    _tell_app(stage, "/break")
    try:
        hidden = await _broken_is_hidden(stage)
        ejected = await _broken_is_ejected(stage)
    finally:
        _tell_app(stage, "/mend")
    return (by_header, *hidden, ejected)


async def _testers_version(stage: Stage) -> Measured:
    answers = await stage.inside[_FRONTEND].many(REVIEWS, 100, headers={"end-user": "tester"})
    versions = Counter(str(answer.body.get("version")) for answer in answers)
    return Measured(
        what="100 requests with the header end-user: tester",
        value=", ".join(f"{version}: {count}" for version, count in versions.items()),
        holds=versions["v3"] == len(answers),
    )


async def _broken_is_hidden(stage: Stage) -> tuple[Measured, Measured]:
    before = _refusals(stage)
    answers = await stage.inside[_FRONTEND].many(_CATALOG, _REQUESTS)
    refused = _refusals(stage) - before
    good = sum(answer.ok for answer in answers)
    return (
        Measured(
            what=f"{_BROKEN} answers 503; {_REQUESTS} requests to the catalog",
            value=f"{good} of {_REQUESTS} answered well",
            holds=good == _REQUESTS,
        ),
        Measured(
            what="503s that retries hid",
            value=f"{refused}, then it got no more requests",
            holds=0 < refused < _REQUESTS // 2,
        ),
    )


async def _broken_is_ejected(stage: Stage) -> Measured:
    pod = stage.mesh.pod(_FRONTEND)
    found = stats(stage.mesh.realm, pod, _EJECTED)
    ejected = sum(found.values())
    before = _refusals(stage)
    await stage.inside[_FRONTEND].many(_CATALOG, _REQUESTS)
    meanwhile = _refusals(stage) - before
    return Measured(
        what="outlier detection in the frontend's Envoy",
        value=f"{ejected} pod taken out; {meanwhile} of {_REQUESTS} more requests met it",
        holds=ejected == 1 and meanwhile == 0,
    )


def _tell_app(stage: Stage, what: str) -> None:
    """Speak with the application from within its pod, past its Envoy."""
    ask(stage.mesh.realm, stage.mesh.pod(_BROKEN).network, ("127.0.0.1", 9080), what, "POST")


def _refusals(stage: Stage) -> int:
    """Return how many 503s the broken pod's application has answered so far."""
    network = stage.mesh.pod(_BROKEN).network
    _status, body = ask(stage.mesh.realm, network, ("127.0.0.1", 9080), "/count")
    return int(json.loads(body)["refused"])
