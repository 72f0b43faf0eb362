"""Steps 5 and 6: a dependency that is slow, ill or overrun, and what its callers notice."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from math import sqrt
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import stats
from mizzen_cli.demo.stage import FRONTEND, LEDGER_POD, Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_LEDGER: Final = "http://ledger:9080/self"
_SLOW_LEDGER: Final = "http://ledger:9080/nap"
_FAULTS: Final = ("fault-injection", "faults.yaml", "VirtualService", "shop/ledger")
_LIMITS: Final = ("circuit-breaking", "limits.yaml", "DestinationRule", "shop/ledger")
# What samples/fault-injection and samples/circuit-breaking say.
_DELAY_SECONDS: Final = 0.5
# Envoy's timers count whole milliseconds, from a clock that it reads once for many events.
_CLOCK_SECONDS: Final = 0.01
_SHARE: Final = 0.25
_LET_IN: Final = 2
_REQUESTS: Final = 400
_AT_ONCE: Final = 20
# As for the canary.
_DEVIATIONS: Final = 4
_OVERFLOWS: Final = r"^cluster\.outbound.9080..ledger\.shop.*\.upstream_rq_pending_overflow$"


async def injection(stage: Stage, note: Note) -> None:
    """Delay testers, fail a quarter of all others, and see that the ledger has no part in it."""
    async with stage.trying(*_FAULTS) as landed:
        note(landed)
        note(await _testers_wait(stage))
        before = await _arrived(stage)
        answers = await stage.inside[FRONTEND].many(_LEDGER, _REQUESTS)
        arrived = await _arrived(stage) - before
        note(_some_fail(Counter(answer.said for answer in answers), arrived))


async def breaker(stage: Stage, note: Note) -> None:
    """Ask a slow ledger twenty things at once, without limits and with them."""
    note(await _at_once(stage, "unlimited", refused=0))
    async with stage.trying(*_LIMITS) as landed:
        note(landed)
        before = await asyncio.to_thread(_overflows, stage)
        note(await _at_once(stage, "limited", refused=_AT_ONCE - _LET_IN))
        counted = await asyncio.to_thread(_overflows, stage) - before
        note(
            Measured(
                what="counted by the frontend's Envoy",
                value=f"{counted} sent back, of which the ledger heard nothing",
                holds=counted > 0,
                expected="as many as were refused",
            )
        )


async def _testers_wait(stage: Stage) -> Measured:
    began = time.monotonic()
    answer = await stage.inside[FRONTEND].get(_LEDGER, headers={"end-user": "tester"})
    seconds = time.monotonic() - began
    return Measured(
        what="a request with the header end-user: tester",
        value=f"{answer.said} after {seconds * 1000:.0f} ms",
        holds=answer.ok and seconds >= _DELAY_SECONDS - _CLOCK_SECONDS,
        expected=f"200 after {_DELAY_SECONDS * 1000:.0f} ms",
    )


def _some_fail(said: Counter[str], arrived: int) -> Measured:
    expected = _REQUESTS * _SHARE
    tolerance = _DEVIATIONS * sqrt(expected * (1 - _SHARE))
    return Measured(
        what=f"{_REQUESTS} others, {_SHARE:.0%} meant to fail",
        value=f"{said['503']} times 503; the ledger saw the other {arrived}",
        holds=abs(said["503"] - expected) <= tolerance
        and said["200"] == arrived == _REQUESTS - said["503"],
        expected=f"{expected:.0f} ± {tolerance:.0f} times 503, and all others at the ledger",
    )


async def _at_once(stage: Stage, limits: str, *, refused: int) -> Measured:
    visitor = stage.inside[FRONTEND]
    answers = await asyncio.gather(*(visitor.get(_SLOW_LEDGER) for _ in range(_AT_ONCE)))
    said = Counter(answer.said for answer in answers)
    return Measured(
        what=f"{_AT_ONCE} slow requests at once, {limits}",
        value=", ".join(f"{status}: {count}" for status, count in sorted(said.items())),
        # Limits are held by each of an Envoy's threads for itself, so a few more may get through.
        holds=said["200"] + said["503"] == _AT_ONCE and (said["503"] > 0) is (refused > 0),
        expected=f"503: about {refused}, all others 200",
    )


async def _arrived(stage: Stage) -> int:
    """Return how many requests the ledger's application has answered so far."""
    return int(json.loads(await asyncio.to_thread(stage.tell, LEDGER_POD, "/count"))["answered"])


def _overflows(stage: Stage) -> int:
    return sum(stats(stage.mesh.realm, stage.mesh.pod(FRONTEND), _OVERFLOWS).values())
