"""However the clock moves, every certificate that lives is trusted by every peer.

"Every peer" is meant to the letter: a peer may hold any bundle that was in force within the last
``overlap``, and a workload may go on using any certificate that has not ended, renewed or not. The
judge is the verifier of the cryptography package.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Final

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mizzen_certs import Authority, CaPolicy, MemoryStore, Renewer, Svid, TrustBundle
from mizzen_certs.rotation import Step
from tests.support.clock import ManualClock
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN, is_trusted

if TYPE_CHECKING:
    from mizzen_certs import RotationEvents

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
YEAR: Final = 365 * DAY

_SEEDS: Final = st.integers(min_value=0, max_value=2**32 - 1)

_NO_SHRINKING: Final = (Phase.explicit, Phase.reuse, Phase.generate)
"""A year takes seconds, and a smaller seed is no simpler a year."""


class Peers:
    """All bundles and certificates that somebody in the mesh could be using at this moment."""

    def __init__(self, clock: ManualClock, policy: CaPolicy) -> None:
        self._clock = clock
        self._overlap = policy.overlap
        self._bundles: list[tuple[datetime, TrustBundle]] = []
        self._live: dict[int, Svid] = {}
        self._judged: set[tuple[int, bytes]] = set()

    def are_sent(self, bundle: TrustBundle) -> None:
        """Let peers learn of a bundle, each after its own while, at the latest after an overlap."""
        if not self._bundles or self._bundles[-1][1] != bundle:
            self._bundles.append((self._clock.now(), bundle))

    def use(self, svid: Svid) -> None:
        """Let a workload use a certificate until it ends."""
        self._live[svid.serial] = svid

    def trust_each_other(self) -> None:
        """Fail unless each certificate in use is accepted with each bundle that may be held."""
        now = self._clock.now()
        self._live = {serial: svid for serial, svid in self._live.items() if svid.not_after >= now}
        for bundle in self._held(now):
            for svid in self._live.values():
                self._judge(svid, bundle, now)

    def _held(self, now: datetime) -> list[TrustBundle]:
        # Of those sent before the overlap began the last one may still be held.
        stale = [sent for sent, _ in self._bundles if sent <= now - self._overlap]
        del self._bundles[: max(0, len(stale) - 1)]
        return [bundle for _, bundle in self._bundles]

    def _judge(self, svid: Svid, bundle: TrustBundle, now: datetime) -> None:
        # Validity is an interval: what is good now and at its end is good in between.
        pair = (svid.serial, bundle.roots_pem)
        if pair not in self._judged:
            assert is_trusted(svid, bundle, now), (now, svid, bundle)
            assert is_trusted(svid, bundle, svid.not_after), (svid, bundle)
            self._judged.add(pair)


class Mesh:
    """An authority with two workloads, and the steps that its rotation took."""

    def __init__(self, policy: CaPolicy, random: Random) -> None:
        self.clock = ManualClock()
        self.authority = Authority.open(MemoryStore(), TRUST_DOMAIN, self.clock, policy)
        self.renewer = Renewer(self.authority, self.clock, random)
        self.peers = Peers(self.clock, policy)
        self.steps: list[Step] = []
        self.shortest_life = policy.svid_ttl
        self.wake()

    def sleep(self, time: timedelta) -> None:
        """Move the clock; nobody may be cut off before the control plane wakes."""
        self.clock.advance(time)
        self.peers.trust_each_other()

    def wake(self) -> None:
        """Do what the control plane's loop does: rotate, renew, deliver."""
        events: RotationEvents = self.authority.tick()
        self.steps += events.steps
        self.peers.are_sent(self.authority.bundle())
        self.renewer.renew_due()
        for identity in (CART, STOCK):
            svid = self.renewer.svid(identity)
            assert svid.not_before <= self.clock.now() < svid.renew_at < svid.not_after
            self.peers.use(svid)
        life = self.authority.issue(CART).not_after - self.clock.now()
        self.shortest_life = min(self.shortest_life, life)
        self.peers.trust_each_other()


@settings(max_examples=2, deadline=None, phases=_NO_SHRINKING)
@given(seed=_SEEDS, longest=st.integers(min_value=4, max_value=12))
def test_through_a_year_of_random_ticks_nobody_is_cut_off(seed: int, longest: int) -> None:
    """Six roots and some forty issuers come and go; every workload renews twice a day."""
    policy = CaPolicy(root_ttl=120 * DAY, issuer_ttl=14 * DAY)
    random = Random(seed)
    mesh = Mesh(policy, random)
    end = mesh.clock.now() + YEAR
    while mesh.clock.now() < end:
        mesh.sleep(random.uniform(1, longest * 60) * MINUTE)
        mesh.wake()
    roots = mesh.steps.count(Step.ACTIVATE_ROOT)
    assert 5 <= roots <= 6
    assert mesh.steps.count(Step.DROP_ROOT) in {roots - 1, roots}
    assert mesh.steps.count(Step.ACTIVATE_ISSUER) > 25
    assert mesh.shortest_life > policy.svid_ttl - SECOND


@st.composite
def _policies(draw: st.DrawFn) -> CaPolicy:
    """Any policy that can be written down, the tightest included."""
    svid = draw(st.integers(min_value=1, max_value=48)) * HOUR
    overlap = draw(st.integers(min_value=0, max_value=48)) * HOUR
    issuer = svid * draw(st.sampled_from((2, 2.5, 7, 30)))
    least = max(issuer, 2 * (svid + overlap))
    return CaPolicy(
        svid_ttl=svid,
        overlap=overlap,
        issuer_ttl=issuer,
        root_ttl=least * draw(st.sampled_from((1, 1.01, 1.5, 4))),
        jitter=draw(st.sampled_from((0, 0.05, 0.25))),
        cushion=draw(st.sampled_from((0, 10, 60))) * SECOND,
    )


@settings(max_examples=40, deadline=None)
@given(policy=_policies(), seed=_SEEDS)
def test_whatever_the_lifetimes_nobody_is_cut_off(policy: CaPolicy, seed: int) -> None:
    """The control plane wakes within half of a certificate's life, as its renewal demands."""
    random = Random(seed)
    mesh = Mesh(policy, random)
    for _ in range(60):
        mesh.sleep(policy.svid_ttl / 2 * random.uniform(0.01, 0.7))
        mesh.wake()


class Replicas(RuleBasedStateMachine):
    """Two control planes on one store, rotations on demand, restarts and long sleeps."""

    policy: Final = CaPolicy(root_ttl=60 * DAY, issuer_ttl=10 * DAY)

    @initialize()
    def start(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.peers = Peers(self.clock, self.policy)
        self.replicas = [self._open(), self._open()]
        self.ticked = [self.clock.now()] * 2

    def _open(self) -> Authority:
        return Authority.open(self.store, TRUST_DOMAIN, self.clock, self.policy)

    @rule(which=st.integers(0, 1), issues=st.booleans())
    def tick(self, which: int, *, issues: bool) -> None:
        self.replicas[which].tick()
        self._did(which)
        if issues:
            self.issue(which)

    @rule(which=st.integers(0, 1))
    def issue(self, which: int) -> None:
        self.peers.use(self.replicas[which].issue(CART))

    @rule(which=st.integers(0, 1))
    def rotate_root(self, which: int) -> None:
        self.replicas[which].rotate_root()
        self._did(which)

    @rule(which=st.integers(0, 1))
    def rotate_issuer(self, which: int) -> None:
        self.replicas[which].rotate_issuer()
        self._did(which)

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self.replicas[which] = self._open()
        self._did(which)

    @rule(hours=st.floats(min_value=0.01, max_value=23.9))
    def sleep(self, hours: float) -> None:
        """Move the clock; no replica is behind the other for longer than news may take."""
        for which in range(2):
            if self.clock.now() + hours * HOUR > self.ticked[which] + self.policy.overlap:
                self.tick(which, issues=False)
        self.clock.advance(hours * HOUR)

    @rule(days=st.integers(min_value=2, max_value=20))
    def suspend(self, days: int) -> None:
        """The machine sleeps for days: leaves die, and whoever wakes ticks first."""
        self.clock.advance(days * DAY)
        for which in range(2):
            self.tick(which, issues=False)

    def _did(self, which: int) -> None:
        self.ticked[which] = self.clock.now()
        self.peers.are_sent(self.replicas[which].bundle())

    @invariant()
    def nobody_is_cut_off(self) -> None:
        self.peers.trust_each_other()


Replicas.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestReplicas = Replicas.TestCase
