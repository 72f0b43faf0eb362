"""The secrets of each workload, from the authority to SDS: made when asked for, renewed in time.

A workload has two: ``default``, its certificate and key, and ``ROOTCA``, the roots that it believes. Both
come from the authority; rendering them is the only thing that touches a key.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from mizzen.bundle import EMPTY_TABLE, Entry, Table
from mizzen.names import ROOTS_SECRET, WORKLOAD_SECRET
from mizzen.render.secrets import tls_certificate, validation_context
from mizzen_certs import CertificateRefused, CertsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from mizzen.clock import Clock
    from mizzen.identity import SpiffeId
    from mizzen_certs import Issuing, Renewer, RotationEvents, Svid
    from mizzen_operator.logs import Log
    from mizzen_operator.svids import KeptSvids

# Timers stand still while a machine sleeps, certificates do not; so nobody sleeps longer than this.
_LONGEST_SLEEP_SECONDS: Final = 60.0
# Where several replicas share the keys, this is how soon one takes over what another has rotated. A new
# root signs only a day after it was told of, so that there is time. At the soonest, and at the latest.
_LOOK_SECONDS: Final = (1.0, 10.0)
# How soon renewal is tried again when the authority could not do it.
_RETRY_SECONDS: Final = 10.0


class MeshSecrets:
    """Gives each identity its table of secrets; lives in one event loop."""

    def __init__(
        self,
        authority: Issuing,
        renewer: Renewer,
        kept: KeptSvids,
        clock: Clock,
        log: Log,
    ) -> None:
        self._authority = authority
        self._clock = clock
        self._renewer = renewer
        self._kept = kept
        self._log = log
        self._given: dict[SpiffeId, tuple[Svid, bytes, Table]] = {}
        for svid in kept.recall(authority):
            renewer.adopt(svid)

    @property
    def roots(self) -> bytes:
        """The roots that everybody believes, in PEM."""
        return self._authority.bundle().roots_pem

    @property
    def identities(self) -> frozenset[SpiffeId]:
        """Whose secrets were asked for."""
        return frozenset(self._given)

    def secrets(self, identity: SpiffeId) -> Table:
        """Return what SDS gives an identity; nothing where the authority refuses it a certificate."""
        try:
            svid = self._renewer.svid(identity)
        except CertificateRefused as refused:
            self._log.error("certificate refused", identity=str(identity), reason=str(refused))
            return EMPTY_TABLE
        roots = self.roots
        given = self._given.get(identity)
        if given is not None and given[0] is svid and given[1] == roots:
            return given[2]
        if given is None or given[0] is not svid:
            self._kept.keep(svid)
        table = _table(given[2] if given else EMPTY_TABLE, svid, roots)
        self._given[identity] = (svid, roots, table)
        return table

    def renew(self, in_use: frozenset[SpiffeId]) -> frozenset[SpiffeId]:
        """Do what is due by now; return whose secrets are new."""
        return self.follow(self._authority.tick(), in_use)

    def follow(self, events: RotationEvents, in_use: frozenset[SpiffeId]) -> frozenset[SpiffeId]:
        """Renew what is due after the authority has done what it had due; return whose are new.

        An identity that no proxy uses any more is not renewed but forgotten.
        """
        now = self._clock.now()
        for identity, (svid, _, _) in list(self._given.items()):
            if identity not in in_use and svid.renew_at <= now:
                self._forget(identity)
        renewed = self._renewer.renew_due()
        if events.steps:
            self._log.info("authority rotated", steps=[str(step) for step in events.steps])
        return frozenset(self._given) if events.bundle_changed else renewed & self._given.keys()

    def replace_all(self) -> frozenset[SpiffeId]:
        """Replace the issuing key and every certificate now; return whose secrets are new."""
        self._authority.rotate_issuer()
        return self._renewer.renew_all() & self._given.keys()

    def next_due(self) -> datetime:
        """Return when :meth:`renew` has something to do."""
        due = self._renewer.next_due()
        tick = self._authority.next_tick()
        return tick if due is None else min(due, tick)

    def seconds_to_next(self) -> float:
        """Return how long :meth:`renew` has nothing to do; negative where it is late."""
        return (self.next_due() - self._clock.now()).total_seconds()

    def _forget(self, identity: SpiffeId) -> None:
        del self._given[identity]
        self._renewer.forget(identity)


class Renewal:
    """Renews for as long as it runs, and at once when asked to.

    ``in_use`` says which identities have proxies. ``publish_roots`` puts the roots where the bootstraps of
    proxies find them. ``on_renewed`` is called after each renewal with the identities whose secrets are
    new, be it none. ``tick`` does what the authority has due where that takes I/O.
    """

    def __init__(
        self,
        secrets: MeshSecrets,
        log: Log,
        *,
        publish_roots: Callable[[bytes], None],
        in_use: Callable[[], frozenset[SpiffeId]],
        on_renewed: Callable[[frozenset[SpiffeId]], None],
        tick: Callable[[], Awaitable[RotationEvents]] | None = None,
    ) -> None:
        self._secrets = secrets
        self._log = log
        self._publish_roots = publish_roots
        self._tick = tick
        self._in_use = in_use
        self._on_renewed = on_renewed
        self._roots = b""
        self._write_roots()

    async def run(self) -> None:
        """Renew what is due until cancelled; what fails is tried again, certificates live on meanwhile."""
        while True:
            left = self._secrets.seconds_to_next()
            # What is due where keys are shared may be another replica's to do.
            bounds = (0.0, _LONGEST_SLEEP_SECONDS) if self._tick is None else _LOOK_SECONDS
            await asyncio.sleep(min(max(left, bounds[0]), bounds[1]))
            try:
                self._announce(await self._renew())
            except CertsError as error:
                self._log.error("renewal failed", reason=str(error), retry_seconds=_RETRY_SECONDS)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _renew(self) -> frozenset[SpiffeId]:
        if self._tick is None:
            return self._secrets.renew(self._in_use())
        return self._secrets.follow(await self._tick(), self._in_use())

    def replace_all(self) -> int:
        """Replace all certificates now; return how many."""
        replaced = self._secrets.replace_all()
        self._log.info("certificates replaced", count=len(replaced))
        self._announce(replaced)
        return len(replaced)

    def _announce(self, identities: frozenset[SpiffeId]) -> None:
        self._write_roots()
        self._on_renewed(identities)

    def _write_roots(self) -> None:
        roots = self._secrets.roots
        if roots != self._roots:
            self._publish_roots(roots)
            self._roots = roots


def _table(before: Table, svid: Svid, roots: bytes) -> Table:
    certificate = tls_certificate(WORKLOAD_SECRET, svid.chain_pem, svid.key.reveal())
    return before.updated(
        {
            WORKLOAD_SECRET: Entry(certificate),
            ROOTS_SECRET: Entry(validation_context(ROOTS_SECRET, roots)),
        }
    )
