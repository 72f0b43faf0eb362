"""Step 4: who may and who may not, over HTTP and over TCP."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import BOOKING_PORT, CATALOG, FRONTEND, LEDGER, Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_FILE: Final = "access.yaml"
_OBJECT: Final = ("AuthorizationPolicy", "shop/reviews-readers")
_FORBIDDEN: Final = 403
_READER: Final = "principals: [cluster.local/ns/shop/sa/frontend]"
_READERS: Final = (
    "principals: [cluster.local/ns/shop/sa/frontend, cluster.local/ns/shop/sa/catalog]"
)


@dataclass(frozen=True, slots=True)
class _Try:
    """A request, and the status that the policies promise for it."""

    pod: str
    method: str
    url: str
    expected: int


_TRIES: Final = (
    _Try(FRONTEND, "GET", "http://reviews:9080/self", 200),
    _Try(FRONTEND, "POST", "http://reviews:9080/self", _FORBIDDEN),
    _Try(CATALOG, "GET", "http://reviews:9080/self", _FORBIDDEN),
    _Try(CATALOG, "GET", "http://ledger:9080/self", 200),
    _Try(CATALOG, "GET", "http://frontend:9080/internal/keys", _FORBIDDEN),
)
_CATALOG_READS: Final = _TRIES[2]


async def run(stage: Stage, note: Note) -> None:
    """Try what is allowed and what is not, each as the pod that it is about; then allow more."""
    for attempt in _TRIES:
        note(await _over_http(stage, attempt))
    note(await _booking(stage, CATALOG, allowed=True))
    note(await _booking(stage, FRONTEND, allowed=False))
    async with stage.restored(_FILE):
        landed = await stage.live(*_OBJECT, stage.edit(_FILE, (_READER, _READERS)))
        note(Measured(what=f"{_FILE}: the catalog may read reviews too", value=str(landed)))
        note(await _changes(stage, _CATALOG_READS, 200))
        landed = await stage.live(*_OBJECT, stage.edit(_FILE, (_READERS, _READER)))
        note(Measured(what=f"{_FILE}: and no longer", value=str(landed)))
        note(await _changes(stage, _CATALOG_READS, _FORBIDDEN))


async def _over_http(stage: Stage, attempt: _Try) -> Measured:
    answer = await stage.inside[attempt.pod].get(attempt.url, method=attempt.method)
    return Measured(
        what=_words(attempt),
        value=answer.said,
        holds=answer.status == attempt.expected,
        expected=str(attempt.expected),
    )


async def _changes(stage: Stage, attempt: _Try, status: int) -> Measured:
    """Ask until the answer is another one: a connection that is open finishes what it began.

    Envoy closes it with the next answer on it; the one after that is by the new rule.
    """
    visitor, others = stage.inside[attempt.pod], 0

    async def is_so() -> bool:
        nonlocal others
        answer = await visitor.get(attempt.url, method=attempt.method)
        others += answer.status != status
        return answer.status == status

    seconds = await stage.until_true(is_so, f"{_words(attempt)}: {status}")
    more = f", after {others} on a connection that was open" if others else ""
    return Measured(
        what=_words(attempt),
        value=f"{status}{more}",
        holds=seconds < 1,
        expected=f"{status} within a second; it took {seconds:.1f} s",
    )


async def _booking(stage: Stage, pod: str, *, allowed: bool) -> Measured:
    try:
        with closing(await stage.inside[pod].talk(LEDGER, BOOKING_PORT)) as booking:
            said, answered = await booking.say("ten crowns"), True
    except (OSError, TimeoutError) as closed:
        said, answered = str(closed) or type(closed).__name__, False
    return Measured(
        what=f"{pod}: TCP {LEDGER}:{BOOKING_PORT}, a booking",
        value=f"“{said}”" if answered else said,
        holds=answered is allowed,
        expected="an answer" if allowed else "the connection is closed",
    )


def _words(attempt: _Try) -> str:
    return f"{attempt.pod}: {attempt.method} {attempt.url.removeprefix('http://')}"
