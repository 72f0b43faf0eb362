"""The server on its ports: who is let in, who is shown what, and what a bad client can't do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import grpc
import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from mizzen.bundle import Table
from mizzen.identity import DEFAULT_TRUST_DOMAIN, SpiffeId, TrustDomain
from mizzen.wire import TypeUrl
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_xds import Authenticator, ListenError, XdsSettings
from mizzen_xds.server import XdsServer
from mizzen_xds.tls import ServerIdentity
from tests.support.ads import (
    DELTA_METHOD,
    SERVICE,
    STATE_OF_THE_WORLD_METHOD,
    AdsClient,
    RawCall,
    Trust,
    first_request,
    node_id,
    open_channel,
    state_of_the_world_request,
    state_of_the_world_response,
    stream,
)
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    entry,
    host,
    listener,
    route_configuration,
    table,
)
from tests.support.control_plane import CLASS, Plane, plane, serving

_SERVER = SpiffeId(
    trust_domain=DEFAULT_TRUST_DOMAIN, namespace="mizzen-system", service_account="mizzen"
)


def _identity(namespace: str = "shop", account: str = "default") -> SpiffeId:
    return SpiffeId(trust_domain=DEFAULT_TRUST_DOMAIN, namespace=namespace, service_account=account)


@dataclass(slots=True)
class Ca:
    """An authority, and the server's identity by it."""

    authority: Authority
    shown: ServerIdentity

    @classmethod
    def new(cls, trust_domain: str = DEFAULT_TRUST_DOMAIN) -> Ca:
        """Return a fresh one."""
        authority = Authority.open(MemoryStore(), TrustDomain(trust_domain), SystemClock())
        return cls(authority, _server_identity(authority))

    @property
    def roots_pem(self) -> bytes:
        """What its members trust."""
        return self.authority.bundle().roots_pem

    def member(self, identity: SpiffeId) -> Trust:
        """Return a client that has a certificate."""
        svid = self.authority.issue(identity)
        return Trust(roots_pem=self.roots_pem, key_pem=svid.key.reveal(), chain_pem=svid.chain_pem)


def _server_identity(authority: Authority) -> ServerIdentity:
    server = SpiffeId(
        trust_domain=authority.trust_domain, namespace="mizzen-system", service_account="mizzen"
    )
    svid = authority.issue_server(("localhost",), server)
    return ServerIdentity(
        key_pem=svid.key.reveal(),
        chain_pem=svid.chain_pem,
        roots_pem=authority.bundle().roots_pem,
    )


@pytest.fixture(scope="module")
def ca() -> Ca:
    """An authority for all tests that do not change it."""
    return Ca.new()


@asynccontextmanager
async def secured(ca: Ca) -> AsyncIterator[Plane]:
    """Run a plane with a TLS port and one cluster for everybody."""
    async with serving(identity=lambda: ca.shown) as made:
        made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
        yield made


async def _refusal(
    port: int,
    raw: bytes | None,
    *,
    trust: Trust | None = None,
    token: str = "",
    method: str = DELTA_METHOD,
) -> tuple[grpc.StatusCode, str]:
    """Return the status with which a stream ends that sends one request, or none.

    gRPC's client forgets the status where the end meets a write.
    """
    async with open_channel(port, trust) as channel, asyncio.timeout(10):
        call = RawCall(channel, method, token)
        if raw is not None:
            await call.say(raw)
        return await call.ending()


def _hello(**who: str) -> bytes:
    account = who.pop("account", "")
    client = AdsClient(node_id(**who), service_account=account)
    return first_request(TypeUrl.CLUSTER, client)


# Who is let in


async def test_a_token_lets_a_proxy_in(ca: Ca) -> None:
    """As the identity that the token is of."""
    async with secured(ca) as made:
        made.tokens.known["secret"] = _identity()
        trust = Trust(roots_pem=ca.roots_pem)
        async with stream(
            made.secure_port, AdsClient(node_id()), token="secret", trust=trust
        ) as client:
            await client.until_has(TypeUrl.CLUSTER, "one")
        (state,) = made.publisher.ledger.proxies() or (None,)
        assert state is None or state.identity == _identity()


async def test_a_certificate_of_the_mesh_lets_a_proxy_in(ca: Ca) -> None:
    """As the SPIFFE id in it; no token is needed then."""
    async with secured(ca) as made:
        trust = ca.member(_identity(account="web"))
        client = AdsClient(node_id(), service_account="web")
        async with stream(made.secure_port, client, trust=trust):
            await client.until_has(TypeUrl.CLUSTER, "one")
            (state,) = made.publisher.ledger.proxies()
            assert state.identity == _identity(account="web")


@pytest.mark.parametrize(
    ("token", "hello", "code", "words"),
    [
        ("", _hello(), grpc.StatusCode.UNAUTHENTICATED, "neither"),
        ("wrong", _hello(), grpc.StatusCode.UNAUTHENTICATED, "not valid"),
        ("secret", _hello(namespace="bank"), grpc.StatusCode.PERMISSION_DENIED, "namespace bank"),
        ("secret", _hello(account="root"), grpc.StatusCode.PERMISSION_DENIED, "account root"),
        ("secret", b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "not a discovery request"),
        ("secret", b"", grpc.StatusCode.INVALID_ARGUMENT, "no node"),
        (
            "secret",
            first_request(TypeUrl.CLUSTER, AdsClient("me")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "node id",
        ),
    ],
    ids=["nothing", "a wrong token", "other namespace", "other account", "garbage", "none", "id"],
)
async def test_nobody_else_is_let_in(
    ca: Ca, token: str, hello: bytes, code: grpc.StatusCode, words: str
) -> None:
    """The client is told why; nothing was sent to it."""
    async with secured(ca) as made:
        made.tokens.known["secret"] = _identity()
        got = await _refusal(
            made.secure_port, hello, token=token, trust=Trust(roots_pem=ca.roots_pem)
        )
        assert got[0] is code
        assert words in got[1]
        assert made.publisher.ledger.proxies() == ()


async def test_a_certificate_of_another_authority_is_refused_in_the_handshake(ca: Ca) -> None:
    """Even if it says the same trust domain."""
    stranger = Ca.new()
    async with secured(ca) as made:
        member = stranger.member(_identity())
        trust = Trust(roots_pem=ca.roots_pem, key_pem=member.key_pem, chain_pem=member.chain_pem)
        code, _ = await _refusal(made.secure_port, _hello(), trust=trust)
        assert code is grpc.StatusCode.UNAVAILABLE


async def test_a_renewed_certificate_of_the_server_is_used_at_once() -> None:
    """By the handshakes that follow; the roots that clients are checked by change with it."""
    first, second = Ca.new(), Ca.new()
    async with secured(first) as made:
        member = first.member(_identity())
        async with stream(made.secure_port, AdsClient(node_id()), trust=member) as client:
            await client.until_has(TypeUrl.CLUSTER, "one")
            first.shown = second.shown
            later = AdsClient(node_id())
            async with stream(made.secure_port, later, trust=second.member(_identity())):
                await later.until_has(TypeUrl.CLUSTER, "one")
            now = changed(bundle(1, cluster("one", eds=False)), cluster("two", eds=False))
            made.publisher.offer(CLASS, now)
            await client.until_has(TypeUrl.CLUSTER, "two")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.test:0", ":0"])
async def test_plaintext_is_spoken_on_loopback_only(address: str) -> None:
    """It gives private keys to whoever asks."""
    made = plane()
    server = XdsServer(
        made.publisher,
        Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN),
        insecure_address=address,
    )
    with pytest.raises(ListenError):
        await server.start()


async def test_an_address_that_is_taken_is_said_plainly() -> None:
    """With the address and the system's reason."""
    async with serving() as made:
        again = XdsServer(
            made.publisher,
            Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN),
            insecure_address=f"127.0.0.1:{made.port}",
        )
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1:{made.port}"):
            await again.start()


async def test_a_tls_port_needs_an_identity() -> None:
    """There is no default key."""
    made = plane()
    authenticator = Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN)
    server = XdsServer(made.publisher, authenticator, secure_address="127.0.0.1:0")
    with pytest.raises(ListenError, match="identity"):
        await server.start()


# Secrets


def _secret(text: str) -> Table:
    return table(
        entry(
            TypeUrl.SECRET,
            "default",
            Secret(name="default", generic_secret={"secret": {"inline_string": text}}),
        )
    )


async def test_secrets_are_those_of_the_identity_and_of_nobody_else(ca: Ca) -> None:
    """Whatever names are asked for; a renewal is sent to whom it concerns."""
    async with secured(ca) as made:
        made.secrets.tables = {_identity(): _secret("mine"), _identity("bank"): _secret("theirs")}
        member = ca.member(_identity())
        async with stream(made.secure_port, AdsClient(node_id()), trust=member) as client:
            await client.ask(TypeUrl.SECRET, "default", "spiffe://cluster.local/ns/bank/sa/default")
            await client.until_has(TypeUrl.SECRET, "default")
            assert b"mine" in client.has[TypeUrl.SECRET]["default"].body
            assert list(client.has[TypeUrl.SECRET]) == ["default"]
            made.secrets.tables[_identity()] = renewed = _secret("renewed")
            made.publisher.secrets_changed([_identity("bank"), _identity()])
            version = renewed["default"].resource.version
            await client.until_has(TypeUrl.SECRET, "default", version)


async def test_on_the_plaintext_port_a_proxy_is_who_it_says_it_is() -> None:
    """For development: its namespace, and its account or the default one."""
    async with serving() as made:
        made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
        async with stream(made.port, AdsClient(node_id(), service_account="web")) as client:
            await client.until_has(TypeUrl.CLUSTER, "one")
            (state,) = made.publisher.ledger.proxies()
            assert state.identity == _identity(account="web")


async def test_on_the_plaintext_port_a_token_that_is_shown_must_be_valid() -> None:
    """Whoever proves something has to prove it right."""
    async with serving() as made:
        code, _ = await _refusal(made.port, _hello(), token="wrong")
        assert code is grpc.StatusCode.UNAUTHENTICATED
        assert made.publisher.metrics.refused_streams_total == 1


# The other dialect, other methods, other clients


async def test_state_of_the_world_carries_virtual_hosts_in_their_routes() -> None:
    """Proxyless gRPC knows no VHDS; a changed host is a changed route configuration."""
    shop = bundle(
        1,
        listener("web", 80, "80"),
        route_configuration("80"),
        host("80/a", domains=["a"]),
        host("80/b", domains=["b"]),
    )
    async with serving() as made, open_channel(made.port) as channel, asyncio.timeout(10):
        made.publisher.offer(CLASS, shop)
        client = AdsClient(node_id())
        call = RawCall(channel, STATE_OF_THE_WORLD_METHOD)
        await call.say(state_of_the_world_request(TypeUrl.ROUTE, client, "80"))
        nonce, _, (body,) = state_of_the_world_response(await call.hear())
        assert b"80/a" in body
        assert b"80/b" in body
        await call.say(state_of_the_world_request(TypeUrl.ROUTE, client, "80", nonce=nonce))
        made.publisher.offer(CLASS, changed(shop, host("80/c", domains=["c"])))
        _, _, (body,) = state_of_the_world_response(await call.hear())
        assert b"80/c" in body
        call.cancel()


async def test_another_method_is_not_implemented() -> None:
    """Only aggregated discovery is."""
    async with serving() as made:
        code, words = await _refusal(made.port, None, method=SERVICE + "Other")
        assert code is grpc.StatusCode.UNIMPLEMENTED, words
        assert "aggregated" in words


async def test_streams_of_one_connection_live_side_by_side() -> None:
    """The end of one is not the end of the other."""
    async with serving() as made, open_channel(made.port) as channel, asyncio.timeout(10):
        made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
        calls = [RawCall(channel, DELTA_METHOD) for _ in range(2)]
        for call, name in zip(calls, "ab", strict=True):
            await call.say(_hello(name=name))
            assert await call.hear()
        await calls[0].finish()
        assert (await calls[0].ending())[0] is grpc.StatusCode.OK
        assert [one.node.name for one in made.publisher.ledger.proxies()] == ["b"]
        made.publisher.offer(CLASS, bundle(2, cluster("two", eds=False)))
        calls[1].cancel()


async def test_what_is_not_http2_is_hung_up_on() -> None:
    """And nobody else notices."""
    async with serving() as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()


async def test_a_proxy_that_does_not_read_holds_nobody_up() -> None:
    """What it does not take waits by reference; the others are served."""
    big = [cluster(f"{'x' * 4000}{i}", eds=False) for i in range(500)]
    async with serving(XdsSettings(response_limit_bytes=16 * 1024 * 1024)) as made:
        made.publisher.offer(CLASS, bundle(1, *big))
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port, limit=1)
        writer.write(_raw_stream(_hello(name="slow")))
        await reader.readexactly(9)
        async with stream(made.port, AdsClient(node_id("quick"))) as client:
            await client.until(lambda: len(client.has[TypeUrl.CLUSTER]) == 500)
        writer.close()


def _raw_stream(request: bytes) -> bytes:
    """Return a connection with one stream and one request, its windows wide open."""
    block = b"".join(
        b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value
        for name, value in ((b":method", b"POST"), (b":path", DELTA_METHOD.encode()))
    )
    message = b"\0" + len(request).to_bytes(4, "big") + request
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(4, 0, 0, (4).to_bytes(2, "big") + (2**31 - 1).to_bytes(4, "big"))
        + _frame(8, 0, 0, (2**31 - 70_000).to_bytes(4, "big"))
        + _frame(1, 4, 1, block)
        + _frame(0, 0, 1, message)
    )


def _frame(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big")
    return head + payload


async def test_a_silent_connection_is_given_up() -> None:
    """One that does not answer the question whether it is there."""
    async with serving(XdsSettings(keepalive=timedelta(milliseconds=30))) as made:
        made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
        _, silent = await asyncio.open_connection("127.0.0.1", made.port)
        silent.write(_raw_stream(_hello(name="silent")))
        async with stream(made.port, AdsClient(node_id("lively"))) as client:
            await client.until_has(TypeUrl.CLUSTER, "one")
            async with asyncio.timeout(10):
                while len(made.proxies) > 1:  # noqa: ASYNC110 - nothing tells of a hung-up peer
                    await asyncio.sleep(0.01)
            assert [one.name for one in made.proxies.values()] == ["lively"]
        silent.close()


async def test_a_stopping_server_says_so() -> None:
    """Its streams end with a status that tells proxies to come again."""
    async with serving() as made:
        made.publisher.offer(CLASS, bundle(1, cluster("one", eds=False)))
        async with open_channel(made.port) as channel, asyncio.timeout(10):
            call = RawCall(channel, DELTA_METHOD)
            await call.say(_hello())
            assert await call.hear()
            assert made.server is not None
            await made.server.stop()
            assert (await call.ending())[0] is grpc.StatusCode.UNAVAILABLE
        assert made.publisher.ledger.proxies() == ()
