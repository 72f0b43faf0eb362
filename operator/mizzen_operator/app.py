"""The composition root of a control plane on a folder, ``mizzen serve``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mizzen.identity import TrustDomain
from mizzen.model.kube import Pod, ServiceAccount
from mizzen.model.mesh import MeshSettings
from mizzen.model.traffic import WorkloadEntry
from mizzen_certs import SystemClock
from mizzen_operator.logs import Log
from mizzen_operator.plane import (
    Addresses,
    Home,
    Plane,
    Ports,
    StartError,
    run_until_told,
    settle_memory,
)
from mizzen_operator.sources.directory import SETTLE_SECONDS, DirectorySource
from mizzen_operator.state import StateFolder, write
from mizzen_operator.tokens import TokenFolder
from mizzen_operator.trust import TrustError, open_folder
from mizzen_xds.authn import Authenticator

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mizzen.clock import Clock
    from mizzen.model.world import Batch, Object
    from mizzen_operator.address import Address
    from mizzen_operator.logs import Level
    from mizzen_operator.trust import Trust

__all__ = ["AppSettings", "ControlPlane", "Ports", "StartError", "run"]


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


def run(settings: AppSettings) -> None:
    """Run a control plane until SIGTERM or SIGINT; :class:`StartError` where it cannot start."""
    log = Log(level=settings.log_level)
    plane = ControlPlane(settings, SystemClock(), log, on_complete=settle_memory)
    run_until_told(plane.run, plane.replace_certificates)


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
        state = StateFolder(settings.state)
        trust = _open_trust(settings, state, clock, log)
        domain = trust.authority.trust_domain
        self._tokens = TokenFolder(state.tokens, domain)
        source = DirectorySource(settings.directory, settle_seconds=settings.settle_seconds)
        home = Home(
            what=str(settings.directory),
            source=source,
            trust=trust,
            authenticator=Authenticator(trust_domain=domain, tokens=self._tokens),
            mesh=MeshSettings(trust_domain=domain),
            publish_roots=lambda roots: write(state.roots, roots),
            intake=self._take,
            located=source.located,
            status_file=state.status,
            calls_itself=True,
        )
        addresses = Addresses(
            http=settings.http, xds=settings.xds, insecure_xds=settings.insecure_xds
        )
        self._plane = Plane(home, addresses, clock, log, on_complete=on_complete)

    async def run(
        self, stop: asyncio.Event, *, on_listening: Callable[[Ports], None] | None = None
    ) -> None:
        """Serve until told to stop; :class:`StartError` where a port cannot be had."""
        await self._plane.run(stop, on_listening=on_listening)

    def replace_certificates(self) -> int:
        """Replace the issuing key and all certificates now; return how many proxies' identities."""
        return self._plane.renewal.replace_all()

    def _take(self, batch: Batch) -> Batch:
        """Make the tokens of the accounts that are new."""
        for namespace, account in sorted(set(_accounts(batch.changes.values()))):
            self._tokens.ensure(namespace, account)
        return batch


def _open_trust(settings: AppSettings, state: StateFolder, clock: Clock, log: Log) -> Trust:
    try:
        return open_folder(state, TrustDomain(settings.trust_domain), clock, log)
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
