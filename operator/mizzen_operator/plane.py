"""What every home of a control plane has: the parts between a source and the proxies, and what flows.

::

    source ──batches──▶ compiler thread ──rounds──▶ publisher ◀──requests── gRPC
                              ▲                        │  ▲
                              └──────── proxies ───────┘  └── secrets ◀── renewal ◀── authority

All tasks live in one TaskGroup. A task that fails ends the process, for whoever restarts it: a
control plane that goes on with a part of itself dead is worse than none.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from mizzen.compile import Compiler
from mizzen.diagnostics import Severity
from mizzen_operator.compiler import CompilerThread
from mizzen_operator.discovery import keys_of
from mizzen_operator.http import HttpServer, Pages
from mizzen_operator.issuers import Issuers
from mizzen_operator.metrics import OperatorMetrics, exposition
from mizzen_operator.proxy_dump import proxy_dump
from mizzen_operator.report import Reporter
from mizzen_operator.secrets import Renewal
from mizzen_operator.status import MeshStatus
from mizzen_xds.errors import ListenError
from mizzen_xds.publisher import Publisher
from mizzen_xds.server import XdsServer
from mizzen_xds.settings import XdsSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from mizzen.clock import Clock
    from mizzen.diagnostics import Diagnostic
    from mizzen.identity import SpiffeId
    from mizzen.model.mesh import MeshSettings
    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey
    from mizzen.resolve.allocation import Given
    from mizzen_certs import RotationEvents
    from mizzen_operator.address import Address
    from mizzen_operator.compiler import Round
    from mizzen_operator.logs import Log
    from mizzen_operator.sources.base import Source
    from mizzen_operator.trust import Trust
    from mizzen_xds.authn import Authenticator
    from mizzen_xds.metrics import Sample

# How long the compiler may keep the event loop from running: a fifth of Python's default, because a change
# has to reach hundreds of proxies within a few milliseconds.
_SWITCH_SECONDS: Final = 0.001
# A full collection of a large mesh takes a quarter of a second, during which nothing is served. So what
# is there after the first round, which stays, is exempt from it, and the rest is collected rarely.
_GC_THRESHOLDS: Final = (50_000, 20, 100)


class StartError(Exception):
    """The control plane cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a control plane listens.

    Attributes:
        xds: Where proxies come with TLS, a token or a certificate; ``None`` for nowhere.
        insecure_xds: Where they come without; loopback only.
    """

    http: Address
    xds: Address | None
    insecure_xds: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a running control plane listens; ``None`` for a port that was not asked for."""

    http: int
    xds: int | None
    insecure_xds: int | None
    webhooks: int | None = None


async def _nobody(_token: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What one home of a control plane has and another has not.

    Attributes:
        what: What is read from, for people.
        located: Gives findings of the lint their place in a file.
        publish_roots: Puts the roots where the bootstraps of proxies find them.
        intake: Sees each batch, in the source's thread, and returns what of it the compiler gets.
        on_round: Is told of each round, before the proxies are.
        on_findings: Is told what is to be said of the whole mesh.
        on_given: Is told the addresses that hosts without any were given.
        tick: Does what the authority has due, where that takes I/O; ``None`` where it takes none.
        status_file: Where the status is written to.
        samples: What this home counts.
        may_see: Whether the bearer of a token may see from elsewhere what proxies have.
        calls_itself: Whether issuers of tokens on this very machine may be asked for their keys.
    """

    what: str
    source: Source
    trust: Trust
    authenticator: Authenticator
    mesh: MeshSettings
    publish_roots: Callable[[bytes], None]
    intake: Callable[[Batch], Batch]
    located: Callable[[Diagnostic], Diagnostic] = lambda found: found
    on_round: Callable[[Round], None] = lambda _: None
    on_findings: Callable[[Mapping[ObjectKey, tuple[Diagnostic, ...]]], None] = lambda _: None
    on_given: Callable[[Mapping[ObjectKey, Given]], None] = lambda _: None
    tick: Callable[[], Awaitable[RotationEvents]] | None = None
    status_file: Path | None = None
    samples: Callable[[], Iterable[Sample]] = tuple
    may_see: Callable[[str], Awaitable[bool]] = _nobody
    calls_itself: bool = False


def run_until_told(
    main: Callable[[asyncio.Event], Coroutine[None, None, None]], on_usr1: Callable[[], object]
) -> None:
    """Run a program of this process until SIGTERM or SIGINT sets the event that it is given."""
    sys.setswitchinterval(_SWITCH_SECONDS)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGUSR1, on_usr1)
        await main(stop)

    asyncio.run(run())


def settle_memory() -> None:
    """Exempt what is there now from collections: most of it stays for as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


class Plane:
    """The parts that every home has, wired to each other; lives in one event loop.

    ``on_complete`` is called once everything has been read and compiled.
    """

    def __init__(
        self,
        home: Home,
        addresses: Addresses,
        clock: Clock,
        log: Log,
        *,
        on_complete: Callable[[], None] | None = None,
    ) -> None:
        self._home = home
        self._addresses = addresses
        self._log = log
        self._clock = clock
        self._on_complete = on_complete
        self.is_complete = False
        # Why no proxy should come here, though everything is read; a home that ends says so.
        self.unready = ""
        self.metrics = OperatorMetrics()
        self._compiler = CompilerThread(
            Compiler(home.mesh),
            on_round=self._take_round,
            on_findings=self._take_findings,
            on_given=home.on_given,
        )
        self._issuers = Issuers(
            self._compiler.submit, log, partial(keys_of, loopback=home.calls_itself)
        )
        self.publisher = Publisher(
            secrets=home.trust.secrets,
            clock=clock,
            settings=XdsSettings(),
            on_proxies_changed=self._compiler.set_proxies,
        )
        self.renewal = Renewal(
            home.trust.secrets,
            log,
            publish_roots=home.publish_roots,
            in_use=lambda: frozenset(p.identity for p in self.publisher.ledger.proxies()),
            on_renewed=self._renewed,
            tick=home.tick,
        )
        self.status = MeshStatus(self.publisher.ledger, home.located)
        self.reporter = Reporter(
            self.publisher.ledger,
            log,
            self.metrics,
            file=home.status_file,
            document=lambda: self.status.document(home.trust.authority, brief=True),
        )

    async def run(
        self,
        stop: asyncio.Event,
        *parts: Coroutine[None, None, None],
        on_listening: Callable[[Ports], None] | None = None,
        before_end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve, with the given tasks besides, until told to stop.

        ``before_end`` is awaited before anything stops. :class:`StartError` where a port cannot be had.
        """
        xds, http = self._xds_server(), HttpServer(self._pages())
        try:
            ports = await self._listen(xds, http)
            self._log.info("listening", source=self._home.what, **_named(ports))
            if on_listening is not None:
                on_listening(ports)
            await self._work(stop, parts, before_end)
            self._log.info("stopping")
        finally:
            await xds.stop()
            await http.stop()
        self._log.info("stopped")

    async def _work(
        self,
        stop: asyncio.Event,
        parts: tuple[Coroutine[None, None, None], ...],
        before_end: Callable[[], Awaitable[None]] | None,
    ) -> None:
        mine = (
            self._compiler.run(),
            self._home.source.run(self._submit),
            self._issuers.run(),
            self.renewal.run(),
            self.reporter.run(),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in (*mine, *parts)]
            await stop.wait()
            if before_end is not None:
                await before_end()
            await self.reporter.write()
            for task in tasks:
                task.cancel()

    async def consider(self, key: ObjectKey, item: Object) -> tuple[Diagnostic, ...]:
        """Return what would be wrong about an object among all others, were it in force."""
        return await self._compiler.consider(key, item)

    # What flows

    def _submit(self, batch: Batch) -> None:
        """Hand changes to the compiler; called in the source's thread."""
        self._issuers.take(self._home.intake(batch))

    def _take_round(self, made: Round) -> None:
        """Hand bundles to the proxies, the bundle of a class before the proxies that move to it."""
        self._home.on_round(made)
        found = self.status.take_round(made, self._clock.now())
        for of, bundle in made.bundles.items():
            self.publisher.offer(of, bundle)
        for proxy, of in made.classes.items():
            self.publisher.reclassify(proxy, of)
        for of in made.gone:
            self.publisher.forget(of)
        self._count(made)
        if made.is_complete and not self.is_complete:
            self._complete()
        self.reporter.tell_findings(found)

    def _take_findings(self, findings: Mapping[ObjectKey, tuple[Diagnostic, ...]]) -> None:
        self.reporter.tell_findings(self.status.take_lint(findings))
        self._home.on_findings(findings)
        self._count_findings()

    def _complete(self) -> None:
        """Everything has been read: from now on proxies are served."""
        self.is_complete = True
        self._log.info("everything read", source=self._home.what, objects=self.status.objects)
        if self._on_complete is not None:
            self._on_complete()

    def _renewed(self, identities: frozenset[SpiffeId]) -> None:
        self._home.trust.refresh()
        if identities:
            self.publisher.secrets_changed(identities)

    # What is shown

    def _count(self, made: Round) -> None:
        metrics = self.metrics
        metrics.revision = made.revision
        metrics.objects = self.status.objects
        metrics.offered_bundles_total += len(made.bundles)
        metrics.rounds.observe(made.seconds)
        if made.batch is not None:
            metrics.batches_total += 1
            metrics.changed_objects_total += len(made.batch.changes)
            self._count_findings()

    def _count_findings(self) -> None:
        self.metrics.errors = self.status.count(Severity.ERROR)
        self.metrics.warnings = self.status.count(Severity.WARNING)

    def _pages(self) -> Pages:
        return Pages(
            metrics=lambda: exposition(
                (
                    *self.metrics.samples(),
                    *self.publisher.metrics.samples(),
                    *self._home.trust.samples(),
                    *self._home.samples(),
                )
            ),
            status=lambda: self.status.document(self._home.trust.authority),
            ready=self._why_not_ready,
            rotate=self.renewal.replace_all,
            proxy=lambda name: proxy_dump(self.publisher.ledger, name),
            may_see=self._home.may_see,
        )

    def _why_not_ready(self) -> str:
        return self.unready if self.is_complete else f"{self._home.what} has not been read yet"

    # What listens

    def _xds_server(self) -> XdsServer:
        at = self._addresses
        return XdsServer(
            self.publisher,
            self._home.authenticator,
            secure_address=str(at.xds) if at.xds else None,
            insecure_address=str(at.insecure_xds) if at.insecure_xds else None,
            identity=self._home.trust.server_identity,
        )

    async def _listen(self, xds: XdsServer, http: HttpServer) -> Ports:
        at = self._addresses
        try:
            await xds.start()
            port = await http.start(at.http)
        except ListenError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise StartError(f"cannot listen on {at.http}: {error.strerror}") from error
        return Ports(http=port, xds=xds.secure_port, insecure_xds=xds.insecure_port)


def _named(ports: Ports) -> dict[str, int]:
    named = {"http": ports.http, "xds": ports.xds, "insecure_xds": ports.insecure_xds}
    return {name: port for name, port in named.items() if port is not None}
