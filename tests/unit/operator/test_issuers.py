"""Issuers are asked once and again, and what they say becomes objects of the World."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from mizzen.model.security import IssuerKeys, RequestAuthentication, issuer_meta
from mizzen.model.world import Batch, Object
from mizzen_operator import issuers as module
from mizzen_operator.discovery import DiscoveryError
from mizzen_operator.issuers import Issuers
from mizzen_operator.logs import Log
from tests.support.small_mesh import istio, key, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from mizzen.names import ObjectKey

A, B = "https://a.example", "https://b.example"


def policy(*issuers: str, more: str = "") -> dict[ObjectKey, Object | None]:
    rules = ", ".join(f"{{issuer: '{issuer}'{more}}}" for issuer in issuers)
    return dict(read(istio("RequestAuthentication", "tokens", f"jwtRules: [{rules}]")))


class World:
    """What is delivered, and answers by issuer; an issuer without an answer fails."""

    def __init__(self, **answers: str) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.batches: list[Batch] = []
        self.arrived = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.issuers = Issuers(self.deliver, Log(io.StringIO()), self.ask)

    def ask(self, issuer: str) -> str:
        self.asked.append(issuer)
        self.loop.call_soon_threadsafe(self.arrived.set)
        if issuer not in self.answers:
            raise DiscoveryError("nobody there")
        return self.answers[issuer]

    def deliver(self, batch: Batch) -> None:
        self.batches.append(batch)
        self.arrived.set()

    async def until(self, count: int) -> list[Batch]:
        """Return all batches, once there are so many."""
        await self._until(lambda: len(self.batches) >= count)
        return self.batches

    async def until_asked(self, count: int) -> None:
        """Wait until so many questions were asked."""
        await self._until(lambda: len(self.asked) >= count)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                self.arrived.clear()
                await self.arrived.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.issuers.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def said(issuer: str, place: str = "", failure: str = "") -> IssuerKeys:
    return IssuerKeys(meta=issuer_meta(issuer), jwks_uri=place, failure=failure)


def test_proxies_wait_until_every_issuer_was_asked_once() -> None:
    """Whether it has answered or not; then everything has been told."""

    async def story() -> None:
        world = World(**{A: "https://a.example/keys"})
        world.issuers.take(Batch(changes=policy(A, B), complete=True))
        async with world.running():
            first, second, third = await world.until(3)
        assert isinstance(
            first.changes[key("RequestAuthentication", "tokens")], RequestAuthentication
        )
        assert not first.complete
        assert list(second.changes.values()) == [
            said(A, "https://a.example/keys"),
            said(B, failure="nobody there"),
        ]
        assert not second.complete
        assert (dict(third.changes), third.complete) == ({}, True)

    asyncio.run(story())


def test_without_anybody_to_ask_nothing_waits() -> None:
    """A place that is written is not asked for."""

    async def story() -> None:
        world = World()
        written = policy(A, more=", jwksUri: 'https://a.example/keys'")
        world.issuers.take(Batch(changes=written, complete=True))
        async with world.running():
            (only,) = await world.until(1)
        assert only.complete
        assert world.asked == []

    asyncio.run(story())


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """For an issuer that does not answer."""
    monkeypatch.setattr(module, "_LONGEST_HOLD_SECONDS", 0.0)

    async def story() -> None:
        world = World()
        answering = asyncio.Event()
        loop = asyncio.get_running_loop()

        def ask(_issuer: str) -> str:
            asyncio.run_coroutine_threadsafe(answering.wait(), loop).result()
            return "https://a.example/keys"

        world.issuers._ask = ask
        async with world.running():
            world.issuers.take(Batch(changes=policy(A), complete=True))
            _, released = await world.until(2)
            assert released.complete
            answering.set()
            await world.until(3)

    asyncio.run(story())


def test_an_issuer_comes_and_goes_with_the_policies_that_name_it() -> None:
    """A change asks whom it brings; whom nobody names any more is let go of."""

    async def story() -> None:
        world = World(**{A: "https://a.example/keys", B: "https://b.example/keys"})
        async with world.running():
            world.issuers.take(Batch(complete=True))
            world.issuers.take(Batch(changes=policy(A)))
            *_, came = await world.until(3)
            assert list(came.changes.values()) == [said(A, "https://a.example/keys")]
            world.issuers.take(Batch(changes=policy(B)))
            *_, changed = await world.until(5)
            assert changed.changes == {
                issuer_meta(A).key: None,
                issuer_meta(B).key: said(B, "https://b.example/keys"),
            }
            world.issuers.take(Batch(changes={key("RequestAuthentication", "tokens"): None}))
            *_, gone = await world.until(7)
            assert gone.changes == {issuer_meta(B).key: None}
        assert world.asked == [A, B]

    asyncio.run(story())


def test_who_fails_is_asked_again_and_what_was_found_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good word is never replaced by none, and only a new word is handed on."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.01)

    async def story() -> None:
        world = World()
        async with world.running():
            world.issuers.take(Batch())
            world.issuers.take(Batch(changes=policy(A)))
            *_, failed = await world.until(3)
            assert failed.changes == {issuer_meta(A).key: said(A, failure="nobody there")}
            world.answers[A] = "https://a.example/keys"
            *_, found = await world.until(4)
            assert found.changes == {issuer_meta(A).key: said(A, "https://a.example/keys")}
            del world.answers[A]
            asked = len(world.asked)
            await world.until_asked(asked + 3)
            world.answers[A] = "https://a.example/other"
            *_, moved = await world.until(5)
            assert moved.changes == {issuer_meta(A).key: said(A, "https://a.example/other")}

    asyncio.run(story())
