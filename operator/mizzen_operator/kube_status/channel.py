"""How replicas speak to one another: HTTPS with the mesh's own certificates on both sides.

Who asks has to show the control plane's own SPIFFE identity, and who answers a certificate with the
control plane's DNS name, which the authority gives to nobody else. Neither side needs the API server
for it, so that status goes on being true while that is away.

A question names a few objects, and the answer is about those: see ``words``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

from mizzen_operator.kube.sites import end
from mizzen_operator.kube_status import words
from mizzen_operator.kube_status.words import NotUnderstoodError
from mizzen_xds.tls import in_memory, spiffe_uris

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.identity import SpiffeId
    from mizzen.names import ObjectKey
    from mizzen_operator.address import Address
    from mizzen_operator.kube_status.words import Report
    from mizzen_xds.tls import ServerIdentity

PATH: Final = "/replica/v1/report"

_ASK_SECONDS: Final = 2.0
# A question of 500 objects with the longest names that Kubernetes takes.
_REQUEST_LIMIT_BYTES: Final = 512 * 1024


class Contexts:
    """The TLS of both sides, made anew when the identity is renewed or other roots are trusted."""

    def __init__(self, identity: Callable[[], ServerIdentity]) -> None:
        self._identity = identity
        self._used: ServerIdentity | None = None
        self._client = self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def client(self) -> ssl.SSLContext:
        """Return what to ask with."""
        self._refresh()
        return self._client

    def server(self) -> ssl.SSLContext:
        """Return what to answer with; later handshakes use what is current then."""
        self._refresh()
        return self._server

    def _refresh(self) -> None:
        identity = self._identity()
        if identity != self._used:
            self._client = _context(ssl.PROTOCOL_TLS_CLIENT, identity)
            self._server = _context(ssl.PROTOCOL_TLS_SERVER, identity)
            self._server.sni_callback = self._switch
            self._used = identity

    def _switch(self, connection: ssl.SSLObject, _name: str | None, _of: ssl.SSLContext) -> None:
        connection.context = self.server()


class Listener:
    """Answers the questions of other replicas, which have to be ``who``."""

    def __init__(
        self,
        contexts: Contexts,
        who: SpiffeId,
        report: Callable[[tuple[ObjectKey, ...]], Report],
    ) -> None:
        self._contexts = contexts
        self._who = str(who)
        self._report = report
        self._runner: web.AppRunner | None = None

    async def start(self, address: Address) -> int:
        """Listen; return the port. ``OSError`` where that is not possible."""
        app = web.Application(client_max_size=_REQUEST_LIMIT_BYTES)
        app.router.add_post(PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, address.host, address.port, ssl_context=self._contexts.server()
        )
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Close, with what is still open."""
        if self._runner is not None:
            await end(self._runner)

    async def _answer(self, request: web.Request) -> web.Response:
        certificate = None if request.transport is None else request.get_extra_info("peercert")
        if spiffe_uris(certificate) != (self._who,):
            return web.json_response({"message": f"only for {self._who}"}, status=403)
        try:
            keys = words.asked(await request.json())
        except ValueError as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response(words.report(self._report(keys)))


class Asker:
    """Asks the other replicas, all at once. ``peers`` returns their addresses (``host:port``).

    ``name`` is the DNS name that their certificates have to have.
    """

    def __init__(self, contexts: Contexts, name: str, peers: Callable[[], Iterable[str]]) -> None:
        self._contexts = contexts
        self._name = name
        self._peers = peers
        self._session: aiohttp.ClientSession | None = None
        self.failures: dict[str, str] = {}

    async def ask(self, keys: tuple[ObjectKey, ...]) -> tuple[Report | None, ...]:
        """Return what each of the others says, None for one that does not answer.

        Why one does not is in ``failures``. A place where nothing runs any more has no proxies either,
        and is left out.
        """
        peers = tuple(self._peers())
        self.failures = {}
        said = await asyncio.gather(*(self._ask(peer, keys) for peer in peers))
        return tuple(one for one in said if not isinstance(one, _Gone))

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, peer: str, keys: tuple[ObjectKey, ...]) -> Report | _Gone | None:
        try:
            return words.reported(await self._post(peer, keys))
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, ConnectionRefusedError):
                return _Gone()
            self.failures[peer] = str(error)
            return None
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self.failures[peer] = f"{type(error).__name__}: {error}"
            return None

    async def _post(self, peer: str, keys: tuple[ObjectKey, ...]) -> object:
        async with (
            asyncio.timeout(_ASK_SECONDS),
            self._open().post(
                f"https://{peer}{PATH}",
                json=words.question(keys),
                ssl=self._contexts.client(),
                server_hostname=self._name,
            ) as answer,
        ):
            content = await answer.read()
            if answer.status != 200:
                raise NotUnderstoodError(f"{answer.status}: {content[:200]!r}")
            return json.loads(content)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "mizzen"})
        return self._session


class _Gone:
    """Nothing listens there: a replica listens to the others for as long as it serves proxies."""


def _context(protocol: ssl._SSLMethod, identity: ServerIdentity) -> ssl.SSLContext:
    """Return a context that shows the identity and believes only who shows one of the same roots."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=identity.roots_pem.decode("ascii"))
    with in_memory(identity.chain_pem + identity.key_pem) as path:
        context.load_cert_chain(path)
    return context
