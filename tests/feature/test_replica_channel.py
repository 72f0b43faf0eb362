"""Replicas speak to one another over TLS on both sides, and to nobody else."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_operator.address import Address
from mizzen_operator.kube_status.channel import PATH, Asker, Contexts, Listener
from mizzen_operator.kube_status.words import Answer, Report
from tests.support.status_replica import ACCOUNT, NAMESPACE, identity_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mizzen_xds.tls import ServerIdentity

NAME: Final = f"mizzen.{NAMESPACE}.svc"
KEY: Final = ObjectKey(DEFAULT_REGISTRY, "VirtualService", "shop", "reviews")
CART: Final = SpiffeId(trust_domain=DEFAULT_TRUST_DOMAIN, namespace="shop", service_account="cart")


@pytest.fixture
def authority() -> Authority:
    """An authority of the test's own."""
    return Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, SystemClock())


class Identities:
    """What a replica shows now; a test changes it."""

    def __init__(self, first: ServerIdentity) -> None:
        self.now = first

    def __call__(self) -> ServerIdentity:
        return self.now


@asynccontextmanager
async def _listening(identity: Identities) -> AsyncIterator[str]:
    def report(keys: tuple[ObjectKey, ...]) -> Report:
        return Report(replica="b", objects=tuple(Answer(version=key.name) for key in keys))

    listener = Listener(Contexts(identity), ACCOUNT, report)
    port = await listener.start(Address("127.0.0.1", 0))
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await listener.stop()


@asynccontextmanager
async def _asking(identity: Identities, *peers: str) -> AsyncIterator[Asker]:
    asker = Asker(Contexts(identity), NAME, lambda: peers)
    try:
        yield asker
    finally:
        await asker.close()


async def test_a_replica_answers_another(authority: Authority) -> None:
    """In the order of the question."""
    mine = Identities(identity_of(authority))
    async with _listening(mine) as address, _asking(mine, address) as asker:
        (said,) = await asker.ask((KEY,))
    assert said == Report(replica="b", objects=(Answer(version="reviews"),))


async def test_a_workload_is_told_nothing(authority: Authority) -> None:
    """A member of the mesh is not a replica of its control plane."""
    own, cart = Identities(identity_of(authority)), Identities(identity_of(authority, CART))
    async with _listening(own) as address, _asking(cart, address) as asker:
        assert await asker.ask((KEY,)) == (None,)
        assert "403" in asker.failures[address]


async def test_who_shows_no_certificate_does_not_come_in(authority: Authority) -> None:
    """Nor one of another authority."""
    other = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, SystemClock())
    own, strange = Identities(identity_of(authority)), Identities(identity_of(other))
    async with _listening(own) as address:
        async with _asking(strange, address) as asker:
            assert await asker.ask((KEY,)) == (None,)
        context = ssl.create_default_context(cadata=own.now.roots_pem.decode())
        context.check_hostname = False
        async with aiohttp.ClientSession() as session:
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await session.post(f"https://{address}{PATH}", json={}, ssl=context)


async def test_a_workload_cannot_pass_for_a_replica(authority: Authority) -> None:
    """What answers has to have the control plane's name, which no workload's certificate has."""
    own, cart = Identities(identity_of(authority)), Identities(identity_of(authority, CART))
    async with _listening(cart) as address, _asking(own, address) as asker:
        assert await asker.ask((KEY,)) == (None,)
        assert "Hostname mismatch" in asker.failures[address]


async def test_renewed_certificates_and_new_roots_are_taken_up(authority: Authority) -> None:
    """While both run: neither the listener nor the asker is made anew."""
    other = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, SystemClock())
    here, there = Identities(identity_of(authority)), Identities(identity_of(authority))
    async with _listening(there) as address, _asking(here, address) as asker:
        assert (await asker.ask(()))[0] is not None
        there.now = identity_of(other)
        here.now = identity_of(other)
        assert (await asker.ask(()))[0] is not None
        here.now = identity_of(authority)
        assert await asker.ask(()) == (None,)


@asynccontextmanager
async def _mute() -> AsyncIterator[str]:
    """An address at which somebody takes connections and says nothing sensible."""

    def close(_: object, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_one_that_does_not_answer_holds_up_nobody(authority: Authority) -> None:
    """The others' answers come with it."""
    mine = Identities(identity_of(authority))
    async with (
        _mute() as silent,
        _listening(mine) as address,
        _asking(mine, silent, address) as asker,
    ):
        nobody, said = await asker.ask(())
    assert nobody is None
    assert said is not None
    assert set(asker.failures) == {silent}


async def test_where_nothing_runs_nobody_is_missed(authority: Authority) -> None:
    """A replica that was killed has no proxies any more, whatever its Service says."""
    mine = Identities(identity_of(authority))
    async with _listening(mine) as address, _asking(mine, "127.0.0.1:1", address) as asker:
        (said,) = await asker.ask(())
    assert said is not None
    assert asker.failures == {}


@pytest.mark.parametrize("sent", [b"no", b"[]", b'{"objects": [["a"]]}'])
async def test_what_is_no_question_is_refused(authority: Authority, sent: bytes) -> None:
    """With a sentence that says so."""
    mine = Identities(identity_of(authority))
    async with _listening(mine) as address, aiohttp.ClientSession() as session:
        answer = await session.post(
            f"https://{address}{PATH}",
            data=sent,
            ssl=Contexts(mine).client(),
            server_hostname=NAME,
        )
        assert answer.status == 400
        assert json.loads(await answer.read())["message"]
