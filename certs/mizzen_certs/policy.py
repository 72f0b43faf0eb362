"""How long things live and how early they are replaced, as one value checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_SHORTEST_SVID: Final = timedelta(seconds=5)
"""X.509 counts whole seconds: below this, rounding would eat a good part of a certificate's life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaPolicy:
    """The lifetimes of an authority; ``ValueError`` when they cannot all be kept."""

    root_ttl: timedelta = timedelta(days=3650)
    """Life of a root: 10 years, as Istio's. Its successor is prepared at half of it, so even a
    control plane that was off for years finds a root to hand over from. Much shorter only makes
    bundles change more often; much longer helps nobody who must distrust a key."""

    issuer_ttl: timedelta = timedelta(days=30)
    """Life of an issuing certificate, cut to its root's end: 30 days, SPIRE's cap. Shorter limits
    what a stolen issuing key is good for; below twice ``svid_ttl`` it could not give full lives."""

    svid_ttl: timedelta = timedelta(hours=24)
    """Life of a workload's certificate, cut to its issuer's end: 24 h, as Istio's. Half of it is how
    long workloads survive without a control plane; all of it is how long a stolen key is good."""

    cushion: timedelta = timedelta(seconds=10)
    """How far certificates are dated back, for peers whose clocks are behind: 10 s, as SPIRE's.
    Zero makes fresh certificates fail on skewed nodes; hours would hide broken clocks."""

    jitter: float = 0.05
    """Share of a certificate's life by which its renewal is moved, either way, off half-life: 5 %
    spreads 1,000 proxies that started together over more than two hours. 0 renews them all at
    once; 0.25 is the most, for renewal must stay well inside the life."""

    overlap: timedelta = timedelta(hours=24)
    """How long every peer is shown a new root before anything is signed by it, and how much longer
    than its last certificate an old root stays trusted: as long as ``svid_ttl``, because a proxy
    that was out of touch for longer has no valid certificate of its own either. Zero breaks
    handshakes whenever a certificate outruns the bundle."""

    def __post_init__(self) -> None:
        """Refuse lifetimes of which one makes another impossible."""
        broken = [message for holds, message in self._demands() if not holds]
        if broken:
            raise ValueError("; ".join(broken))

    def _demands(self) -> tuple[tuple[bool, str], ...]:
        nothing = timedelta()
        return (
            (self.svid_ttl >= _SHORTEST_SVID, f"svid_ttl must be at least {_SHORTEST_SVID}"),
            (self.cushion >= nothing, "cushion must not be negative"),
            (self.overlap >= nothing, "overlap must not be negative"),
            (0 <= self.jitter <= 0.25, "jitter must be between 0 and 0.25"),
            (self.issuer_ttl >= 2 * self.svid_ttl, "issuer_ttl must be at least twice svid_ttl"),
            (self.root_ttl >= self.issuer_ttl, "root_ttl must be at least issuer_ttl"),
            (
                self.root_ttl >= 2 * (self.overlap + self.svid_ttl),
                "root_ttl must be at least twice overlap and svid_ttl together",
            ),
        )
