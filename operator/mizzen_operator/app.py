"""The composition root: the one place that knows every part of a running control plane.

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
from typing import TYPE_CHECKING, Final

from mizzen.compile import Compiler
from mizzen.diagnostics import Severity
from mizzen.identity import TrustDomain
from mizzen.model.kube import Pod, ServiceAccount
from mizzen.model.mesh import MeshSettings
from mizzen.model.traffic import WorkloadEntry
from mizzen_certs import SystemClock
from mizzen_operator.compiler import CompilerThread
from mizzen_operator.http import HttpServer, Pages
from mizzen_operator.logs import Log
from mizzen_operator.metrics import OperatorMetrics, exposition
from mizzen_operator.report import Reporter
from mizzen_operator.secrets import Renewal
from mizzen_operator.sources.directory import SETTLE_SECONDS, DirectorySource
from mizzen_operator.state import StateFolder
from mizzen_operator.status import MeshStatus
from mizzen_operator.trust import Trust, TrustError
from mizzen_xds.authn import Authenticator
from mizzen_xds.errors import ListenError
from mizzen_xds.publisher import Publisher
from mizzen_xds.server import XdsServer
from mizzen_xds.settings import XdsSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mizzen.clock import Clock
    from mizzen.diagnostics import Diagnostic
    from mizzen.identity import SpiffeId
    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey
    from mizzen_operator.address import Address
    from mizzen_operator.compiler import Round
    from mizzen_operator.logs import Level

# How long the compiler may keep the event loop from running: a fifth of Python's default, because a change
# has to reach hundreds of proxies within a few milliseconds.
_SWITCH_SECONDS: Final = 0.001
# A full collection of a large mesh takes a quarter of a second, during which nothing is served. So what
# is there after the first round, which stays, is exempt from it, and the rest is collected rarely.
_GC_THRESHOLDS: Final = (50_000, 20, 100)


class StartError(Exception):
    """The control plane cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSettings:
    """What the command line says.

    Attributes:
        xds: Where proxies come with TLS, a token or a certificate; ``None`` for nowhere.
        insecure_xds: Where they come without; loopback only.
        settle_seconds: How long a file must be left alone before what it no longer names is removed.
    """

    directory: Path
    state: Path
    http: Address
    xds: Address | None
    insecure_xds: Address | None = None
    trust_domain: str = "cluster.local"
    log_level: Level = "info"
    settle_seconds: float = SETTLE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a running control plane listens; ``None`` for a port that was not asked for."""

    http: int
    xds: int | None
    insecure_xds: int | None


def run(settings: AppSettings) -> None:
    """Run a control plane until SIGTERM or SIGINT; :class:`StartError` where it cannot start."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    asyncio.run(_run(settings))


async def _run(settings: AppSettings) -> None:
    log = Log(level=settings.log_level)
    plane = ControlPlane(settings, SystemClock(), log, on_complete=_settle_memory)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, plane.replace_certificates)
    await plane.run(stop)


def _settle_memory() -> None:
    """Exempt what is there now from collections: most of it stays for as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


class ControlPlane:
    """A control plane on a folder. Raises :class:`StartError` where its state cannot be used.

    ``on_complete`` is called once the folder has been read and compiled.
    """

    def __init__(
        self,
        settings: AppSettings,
        clock: Clock,
        log: Log,
        *,
        on_complete: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock
        self._on_complete = on_complete
        self._is_complete = False
        self._metrics = OperatorMetrics()
        state = StateFolder(settings.state)
        self._trust = _open_trust(settings, state, clock, log)
        self._compiler = CompilerThread(
            Compiler(MeshSettings(trust_domain=TrustDomain(settings.trust_domain))),
            on_round=self._take_round,
            on_findings=self._take_findings,
        )
        self._publisher = Publisher(
            secrets=self._trust.secrets,
            clock=clock,
            settings=XdsSettings(),
            on_proxies_changed=self._compiler.set_proxies,
        )
        self._renewal = Renewal(
            self._trust.secrets,
            clock,
            log,
            roots_file=state.roots,
            in_use=lambda: frozenset(p.identity for p in self._publisher.ledger.proxies()),
            on_renewed=self._renewed,
        )
        self._source = DirectorySource(settings.directory, settle_seconds=settings.settle_seconds)
        self._status = MeshStatus(self._publisher.ledger, self._source.located)
        self._reporter = Reporter(
            self._publisher.ledger,
            log,
            self._metrics,
            file=state.status,
            document=lambda: self._status.document(self._trust.authority, brief=True),
        )

    async def run(
        self, stop: asyncio.Event, *, on_listening: Callable[[Ports], None] | None = None
    ) -> None:
        """Serve until told to stop; :class:`StartError` where a port cannot be had."""
        xds, http = self._xds_server(), HttpServer(self._pages())
        try:
            ports = await self._listen(xds, http)
            self._log.info("listening", directory=str(self._settings.directory), **_named(ports))
            if on_listening is not None:
                on_listening(ports)
            await self._work(stop)
            self._log.info("stopping")
        finally:
            await xds.stop()
            await http.stop()
        self._log.info("stopped")

    def replace_certificates(self) -> int:
        """Replace the issuing key and all certificates now; return how many proxies' identities."""
        return self._renewal.replace_all()

    async def _work(self, stop: asyncio.Event) -> None:
        parts = (
            self._compiler.run(),
            self._source.run(self._submit),
            self._renewal.run(),
            self._reporter.run(),
        )
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(part) for part in parts]
            await stop.wait()
            await self._reporter.write()
            for task in tasks:
                task.cancel()

    # What flows

    def _submit(self, batch: Batch) -> None:
        """Hand changes to the compiler; called in the source's thread."""
        for namespace, account in sorted(set(_accounts(batch.changes.values()))):
            self._trust.tokens.ensure(namespace, account)
        self._compiler.submit(batch)

    def _take_round(self, made: Round) -> None:
        """Hand bundles to the proxies, the bundle of a class before the proxies that move to it."""
        found = self._status.take_round(made, self._clock.now())
        for of, bundle in made.bundles.items():
            self._publisher.offer(of, bundle)
        for proxy, of in made.classes.items():
            self._publisher.reclassify(proxy, of)
        for of in made.gone:
            self._publisher.forget(of)
        self._count(made)
        if made.is_complete and not self._is_complete:
            self._complete()
        self._reporter.tell_findings(found)

    def _take_findings(self, findings: Mapping[ObjectKey, tuple[Diagnostic, ...]]) -> None:
        self._reporter.tell_findings(self._status.take_lint(findings))
        self._count_findings()

    def _complete(self) -> None:
        """The folder has been read: from now on proxies are served."""
        self._is_complete = True
        self._log.info("folder read", objects=self._status.objects)
        if self._on_complete is not None:
            self._on_complete()

    def _renewed(self, identities: frozenset[SpiffeId]) -> None:
        self._trust.refresh()
        if identities:
            self._publisher.secrets_changed(identities)

    # What is shown

    def _count(self, made: Round) -> None:
        metrics = self._metrics
        metrics.revision = made.revision
        metrics.objects = self._status.objects
        metrics.offered_bundles_total += len(made.bundles)
        metrics.rounds.observe(made.seconds)
        if made.batch is not None:
            metrics.batches_total += 1
            metrics.changed_objects_total += len(made.batch.changes)
            self._count_findings()

    def _count_findings(self) -> None:
        self._metrics.errors = self._status.count(Severity.ERROR)
        self._metrics.warnings = self._status.count(Severity.WARNING)

    def _pages(self) -> Pages:
        return Pages(
            metrics=lambda: exposition(
                (
                    *self._metrics.samples(),
                    *self._publisher.metrics.samples(),
                    *self._trust.samples(),
                )
            ),
            status=lambda: self._status.document(self._trust.authority),
            ready=lambda: "" if self._is_complete else "the folder has not been read yet",
            rotate=self.replace_certificates,
        )

    # What listens

    def _xds_server(self) -> XdsServer:
        settings = self._settings
        return XdsServer(
            self._publisher,
            Authenticator(
                trust_domain=self._trust.authority.trust_domain, tokens=self._trust.tokens
            ),
            secure_address=str(settings.xds) if settings.xds else None,
            insecure_address=str(settings.insecure_xds) if settings.insecure_xds else None,
            identity=self._trust.server_identity,
        )

    async def _listen(self, xds: XdsServer, http: HttpServer) -> Ports:
        try:
            await xds.start()
            port = await http.start(self._settings.http)
        except ListenError as error:
            raise StartError(str(error)) from error
        except OSError as error:
            raise StartError(f"cannot listen on {self._settings.http}: {error.strerror}") from error
        return Ports(http=port, xds=xds.secure_port, insecure_xds=xds.insecure_port)


def _open_trust(settings: AppSettings, state: StateFolder, clock: Clock, log: Log) -> Trust:
    try:
        return Trust.open(state, TrustDomain(settings.trust_domain), clock, log)
    except TrustError as error:
        raise StartError(str(error)) from error


def _accounts(items: Iterable[Object | None]) -> Iterator[tuple[str, str]]:
    """Yield namespace and service account of the objects that proxies may run as."""
    for item in items:
        match item:
            case Pod():
                yield item.meta.namespace, item.service_account
            case ServiceAccount():
                yield item.meta.namespace, item.meta.name
            case WorkloadEntry():
                yield item.meta.namespace, item.endpoint.service_account or "default"
            case _:
                pass


def _named(ports: Ports) -> dict[str, int]:
    named = {"http": ports.http, "xds": ports.xds, "insecure_xds": ports.insecure_xds}
    return {name: port for name, port in named.items() if port is not None}
