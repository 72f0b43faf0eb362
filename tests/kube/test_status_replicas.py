"""The counts are those of all replicas, whoever a proxy is connected to and whatever a replica knows by now."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mizzen.wire import TypeUrl
from mizzen_operator.kube_status import words
from tests.support.kube_shop import told
from tests.support.status_replica import StatusReplica

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mizzen.names import ObjectKey
    from mizzen_certs import Authority
    from tests.support.clock import ManualClock
    from tests.support.kube_shop import Shop

pytestmark = pytest.mark.kube


@asynccontextmanager
async def _two(
    shop: Shop, authority: Authority, clock: ManualClock
) -> AsyncIterator[tuple[StatusReplica, StatusReplica]]:
    """A replica that writes and one that it asks."""
    holder, other = (
        StatusReplica(shop.api, authority, clock, name=name, namespaces=[shop.name])
        for name in ("mizzen-0", "mizzen-1")
    )
    holder.is_leader = True
    port = await other.status.start()
    holder.peers = (f"127.0.0.1:{port}",)
    try:
        yield holder, other
    finally:
        await other.status.stop()
        await holder.status.close()


async def _later(replica: StatusReplica, clock: ManualClock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(timedelta(seconds=1))
        await replica.look()


async def test_proxies_of_all_replicas_are_counted(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Though their revisions number different rounds."""
    await shop.virtual_service()
    async with _two(shop, authority, clock) as (holder, other):
        for _ in range(3):
            await other.read()
        await holder.read()
        holder.connect("a", shop.name)
        other.connect("b", shop.name)
        other.connect("c", shop.name)
        holder.settle()
        other.settle()
        await holder.look()
        live = (await shop.conditions())["Live"]
        assert told(live) == ("True", "Live", "live on 3 of 3 proxies")


async def test_proxies_that_are_on_their_way_back_are_waited_for(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """After all replicas were gone nobody is connected, which does not make a change live."""
    await shop.virtual_service()
    await shop.injected_pod("web")
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await replica.read()
    await _later(replica, clock, 3)
    live = (await shop.conditions())["Live"]
    assert told(live) == ("False", "Pending", "live on 0 of 0 proxies; 1 not connected yet")
    replica.connect("web", shop.name)
    replica.settle()
    await _later(replica, clock, 2)
    assert told((await shop.conditions())["Live"]) == ("True", "Live", "live on 1 of 1 proxies")


async def test_what_was_live_stays_so_while_proxies_come_back(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Nobody has changed it; one that stays away is not waited for any more in the end."""
    await shop.virtual_service()
    before, after = (
        StatusReplica(shop.api, authority, clock, name=name, namespaces=[shop.name])
        for name in ("mizzen-0", "mizzen-1")
    )
    before.is_leader = True
    await before.read()
    await _later(before, clock, 2)
    no_proxies = ("True", "NoProxies", "concerns no proxy")
    assert told((await shop.conditions())["Live"]) == no_proxies
    await shop.injected_pod("web")
    after.is_leader = True
    await after.read()
    for _ in range(40):
        await _later(after, clock, 1)
        assert told((await shop.conditions())["Live"]) == no_proxies


async def test_a_replica_that_has_yet_to_read_a_change_is_waited_for(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """What its proxies have acknowledged is the version before."""
    await shop.virtual_service()
    async with _two(shop, authority, clock) as (holder, other):
        for replica in (holder, other):
            await replica.read()
            replica.connect("a", shop.name)
            replica.settle()
        await holder.look()
        await shop.virtual_service(timeout="3s")
        await holder.read()
        holder.settle()
        await _later(holder, clock, 2)
        found = await shop.conditions()
        assert told(found["Programmed"]) == (
            "False",
            "Pending",
            "1 replica has yet to serve it",
        )
        assert told(found["Live"]) == (
            "False",
            "Pending",
            "live on 1 of 2 proxies; 1 replica has yet to serve it",
        )
        await other.read()
        other.settle()
        await _later(holder, clock, 2)
        live = (await shop.conditions())["Live"]
        assert told(live) == ("True", "Live", "live on 2 of 2 proxies")


async def test_a_refusal_at_another_replica_stands_on_the_object(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Whether or not the object has changed since the writer looked at it."""
    await shop.virtual_service()

    def fault(of: TypeUrl, _name: str, body: bytes) -> str | None:
        return "no such thing" if of is TypeUrl.VIRTUAL_HOST and b"reviews" in body else None

    async with _two(shop, authority, clock) as (holder, other):
        await holder.read()
        await other.read()
        holder.connect("a", shop.name)
        holder.settle()
        await holder.look()
        assert told((await shop.conditions())["Live"])[0] == "True"
        other.connect("b", shop.name, fault=fault)
        other.settle()
        await _later(holder, clock, 2)
        live = (await shop.conditions())["Live"]
        assert live["reason"] == "Rejected"
        assert "live on 1 of 2 proxies; Envoy rejected it: no such thing" in live["message"]


@asynccontextmanager
async def _mute() -> AsyncIterator[str]:
    """An address at which somebody takes connections and says nothing sensible."""

    def close(_: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_replica_that_does_not_answer_is_told_of(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """A change waits for it; what was live before is not said to be otherwise at once."""
    await shop.virtual_service()
    await shop.virtual_service("still")
    async with _two(shop, authority, clock) as (holder, _), _mute() as silent:
        holder.peers = (silent,)
        holder.is_leader = False
        await holder.read()
        holder.is_leader = True
        holder.connect("a", shop.name)
        holder.settle()
        await shop.virtual_service(timeout="3s")
        await holder.read()
        holder.settle()
        await _later(holder, clock, 3)
        live = (await shop.conditions())["Live"]
        assert told(live) == (
            "False",
            "Pending",
            "live on 1 of 1 proxies; 1 replica has not said how it is",
        )
        holder.peers = ()
        await _later(holder, clock, 3)
        assert told((await shop.conditions())["Live"]) == (
            "True",
            "Live",
            "live on 1 of 1 proxies",
        )


async def test_what_is_asked_does_not_grow_with_the_number_of_objects(
    shop: Shop, authority: Authority, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change to one of many objects is asked about, and a few of the round."""
    for number in range(130):
        await shop.virtual_service(f"vs{number}")
    asked: list[int] = []
    real = words.question

    def counting(keys: tuple[ObjectKey, ...]) -> words.Json:
        asked.append(len(keys))
        return real(keys)

    async with _two(shop, authority, clock) as (holder, other):
        for replica in (holder, other):
            await replica.read()
            replica.connect("a", shop.name)
            replica.settle()
        await _later(holder, clock, 120)
        monkeypatch.setattr(words, "question", counting)
        await shop.virtual_service("vs7", timeout="3s")
        for replica in (holder, other):
            await replica.read()
            replica.settle()
        await _later(holder, clock, 10)
        live = (await shop.conditions("vs7"))["Live"]
        assert told(live) == ("True", "Live", "live on 2 of 2 proxies")
        assert max(asked) <= 50
