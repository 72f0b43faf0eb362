"""The current certificate of each workload that the control plane speaks for, renewed in time.

Renewal is at half-life, moved by jitter so that proxies that started together do not come back
together. A renewed certificate replaces the old one in the cache; peers go on accepting the old one
until it ends, so whoever pushes them may take its time.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from random import Random

    from mizzen.clock import Clock
    from mizzen.identity import SpiffeId
    from mizzen_certs.issuing import Issuing
    from mizzen_certs.svid import Svid

_NO_NAMES: Final[Mapping[SpiffeId, tuple[str, ...]]] = MappingProxyType({})


class Renewer:
    """Holds one :class:`Svid` for each identity asked for, until it is forgotten.

    Not for several threads at once. ``dns_names`` are what the certificates of single identities
    carry besides: the control plane's own, a gateway's.
    """

    def __init__(
        self,
        authority: Issuing,
        clock: Clock,
        random: Random,
        *,
        dns_names: Mapping[SpiffeId, tuple[str, ...]] = _NO_NAMES,
    ) -> None:
        """Issue by ``authority``; the jitter comes from ``random``."""
        self._authority = authority
        self._clock = clock
        self._random = random
        self._dns_names = dns_names
        self._current: dict[SpiffeId, Svid] = {}
        self._unannounced: set[SpiffeId] = set()

    def svid(self, identity: SpiffeId) -> Svid:
        """Return the identity's certificate, issued now if there is none that is not yet due.

        One that replaced an older one is reported by the next :meth:`renew_due`, for its other
        holders. Raises :class:`CertificateRefused`.
        """
        current = self._current.get(identity)
        if current is None:
            current = self._current[identity] = self._issue(identity)
        elif current.renew_at <= self._clock.now():
            current = self._reissue(identity)
        return current

    def adopt(self, svid: Svid) -> None:
        """Go on with a certificate that was issued before a restart (:meth:`Authority.recall`)."""
        self._current[svid.identity] = self._spread(svid)

    def renew_due(self) -> frozenset[SpiffeId]:
        """Renew what is due; return whose certificates are new since the last report.

        When issuing fails the rest keep the certificates they have, and those that were renewed
        are reported next time.
        """
        now = self._clock.now()
        due = [identity for identity, svid in self._current.items() if svid.renew_at <= now]
        return self._renew(due)

    def renew_all(self) -> frozenset[SpiffeId]:
        """Renew every certificate now, as after a change of issuer; return whose are new."""
        return self._renew(tuple(self._current))

    def next_due(self) -> datetime | None:
        """Return when :meth:`renew_due` has something to do, None while nothing is held."""
        if self._unannounced:
            return self._clock.now()
        return min((svid.renew_at for svid in self._current.values()), default=None)

    def forget(self, identity: SpiffeId) -> None:
        """Renew the identity's certificate no longer, as when its last proxy has gone."""
        self._current.pop(identity, None)
        self._unannounced.discard(identity)

    def _renew(self, identities: Iterable[SpiffeId]) -> frozenset[SpiffeId]:
        # In a fixed order, so that one seed gives one schedule.
        for identity in sorted(identities, key=str):
            self._reissue(identity)
        renewed = frozenset(self._unannounced)
        self._unannounced.clear()
        return renewed

    def _reissue(self, identity: SpiffeId) -> Svid:
        svid = self._current[identity] = self._issue(identity)
        self._unannounced.add(identity)
        return svid

    def _issue(self, identity: SpiffeId) -> Svid:
        names = self._dns_names.get(identity, ())
        return self._spread(self._authority.issue(identity, dns_names=names))

    def _spread(self, svid: Svid) -> Svid:
        """Move the renewal by jitter."""
        life = 2 * (svid.not_after - svid.renew_at)
        jitter = self._authority.policy.jitter
        return replace(svid, renew_at=svid.renew_at + life * self._random.uniform(-jitter, jitter))
