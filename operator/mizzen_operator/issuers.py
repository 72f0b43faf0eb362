"""Issuers of tokens that have to be asked where their keys are: who they are, and what they said.

It stands between the sources and the compiler. Batches go through it, so that it knows which issuers
RequestAuthentications leave to be asked; what these say goes on as objects of the World. Everything else
is as without it, with one exception: the sources' word that everything has been told is kept back until each
issuer has been asked once, or a restarted control plane would have tokens refused that were good before.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mizzen.model.security import IssuerKeys, RequestAuthentication, issuer_meta
from mizzen.model.world import Batch
from mizzen_operator.discovery import DiscoveryError, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.model.world import Object
    from mizzen.names import ObjectKey
    from mizzen_operator.logs import Log

# Istio's time between two questions; what is asked for is a place that hardly ever changes.
_REFRESH_SECONDS: Final = 20 * 60.0
# How soon somebody who did not answer is asked again: soon, then ever later.
_RETRY_SECONDS: Final = 5.0
_LONGEST_RETRY_SECONDS: Final = 5 * 60.0
# For so long proxies wait at a start for issuers that do not answer.
_LONGEST_HOLD_SECONDS: Final = 10.0
# Each question keeps a thread for up to some seconds.
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class _Known:
    """What an issuer has said, when it is to be asked again, and how often it has failed since."""

    said: IssuerKeys
    due: float
    failures: int = 0


class Issuers:
    """Asks issuers, and hands on what they say; :meth:`take` may be called from any thread.

    ``ask`` returns the place of an issuer's keys, and may take some seconds.
    """

    def __init__(
        self, deliver: Callable[[Batch], None], log: Log, ask: Callable[[str], str] = keys_of
    ) -> None:
        self._deliver = deliver
        self._log = log
        self._ask = ask
        self._lock = threading.Lock()
        self._wanted: dict[ObjectKey, frozenset[str]] = {}
        self._is_complete = False
        self._holds_back = False
        self._known: dict[str, _Known] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()

    def take(self, batch: Batch) -> None:
        """Hand a batch on; that everything has been told is kept back while somebody is to be asked."""
        with self._lock:
            self._note(batch)
            if batch.complete and not self._is_complete:
                self._is_complete = True
                self._holds_back = bool(self._issuers())
            held = batch.complete and self._holds_back
        self._deliver(replace(batch, complete=False) if held else batch)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._notice)

    def _notice(self) -> None:
        """Look again at who is to be asked; what is kept back is kept back for so long and no longer."""
        self._changed.set()
        if self._loop is not None and self._holds_back:
            self._loop.call_later(_LONGEST_HOLD_SECONDS, self._let_go)

    def _let_go(self) -> None:
        with self._lock:
            was_held, self._holds_back = self._holds_back, False
        if was_held:
            self._deliver(Batch(complete=True))

    def _note(self, batch: Batch) -> None:
        for key, item in batch.changes.items():
            if key.kind == "RequestAuthentication":
                asked = frozenset(_to_be_asked(item))
                if asked:
                    self._wanted[key] = asked
                else:
                    self._wanted.pop(key, None)

    def _issuers(self) -> frozenset[str]:
        return frozenset().union(*self._wanted.values())

    async def run(self) -> None:
        """Ask whoever is to be asked, until cancelled."""
        self._loop = asyncio.get_running_loop()
        self._notice()
        while True:
            self._changed.clear()
            with self._lock:
                wanted, is_complete = self._issuers(), self._is_complete
            changes = {**self._gone(wanted), **await self._news(wanted)}
            self._hand_on(changes, was_complete=is_complete)
            await self._rest(wanted)

    def _gone(self, wanted: frozenset[str]) -> dict[ObjectKey, Object | None]:
        """Let go of those whom nobody names any more."""
        gone = [issuer for issuer in self._known if issuer not in wanted]
        for issuer in gone:
            del self._known[issuer]
        return {issuer_meta(issuer).key: None for issuer in gone}

    async def _news(self, wanted: frozenset[str]) -> dict[ObjectKey, Object | None]:
        """Ask those whose time has come; return what is new of what they said."""
        now = asyncio.get_running_loop().time()
        due = [i for i in sorted(wanted) if i not in self._known or self._known[i].due <= now]
        few = asyncio.Semaphore(_AT_ONCE)
        news: dict[ObjectKey, Object | None] = {}
        for issuer, said in await asyncio.gather(*(self._answer(few, one) for one in due)):
            known = self._known.get(issuer)
            if known is None or known.said != said:
                news[said.meta.key] = said
            self._remember(issuer, said)
        return news

    async def _answer(self, few: asyncio.Semaphore, issuer: str) -> tuple[str, IssuerKeys]:
        async with few:
            try:
                place = await asyncio.to_thread(self._ask, issuer)
            except DiscoveryError as error:
                return issuer, self._failed(issuer, str(error))
        return issuer, IssuerKeys(meta=issuer_meta(issuer), jwks_uri=place)

    def _failed(self, issuer: str, why: str) -> IssuerKeys:
        """Return what holds when an issuer does not answer: what it said before, if it has."""
        known = self._known.get(issuer)
        self._log.warning("issuer not found", issuer=issuer, reason=why)
        kept = known.said.jwks_uri if known is not None else ""
        return IssuerKeys(meta=issuer_meta(issuer), jwks_uri=kept, failure="" if kept else why)

    def _remember(self, issuer: str, said: IssuerKeys) -> None:
        known = self._known.get(issuer)
        failures = (known.failures if known is not None else 0) + 1 if said.failure else 0
        wait = min(_RETRY_SECONDS * 2 ** max(0, failures - 1), _LONGEST_RETRY_SECONDS)
        due = asyncio.get_running_loop().time() + (wait if failures else _REFRESH_SECONDS)
        self._known[issuer] = _Known(said, due, failures)

    def _hand_on(self, changes: dict[ObjectKey, Object | None], *, was_complete: bool) -> None:
        """Hand on what was said, and that everything has been told, now that all were asked."""
        if changes:
            self._deliver(Batch(changes=changes, complete=False))
        if was_complete:
            self._let_go()

    async def _rest(self, wanted: frozenset[str]) -> None:
        """Wait until somebody is to be asked."""
        now = asyncio.get_running_loop().time()
        times = [self._known[issuer].due - now for issuer in wanted if issuer in self._known]
        try:
            async with asyncio.timeout(max(0.0, min(times)) if times else None):
                await self._changed.wait()
        except TimeoutError:
            return


def _to_be_asked(item: Object | None) -> Iterable[str]:
    if isinstance(item, RequestAuthentication):
        yield from (rule.issuer for rule in item.rules if rule.is_to_be_asked)
