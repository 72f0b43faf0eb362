"""All streams together: classes, what they refuse, what is live where, and how long it took."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from datetime import timedelta
from typing import Final

import pytest

from mizzen.bundle import Bundle, Entry, Table
from mizzen.identity import SpiffeId
from mizzen.model.proxy import NodeInfo
from mizzen.wire import TypeUrl
from mizzen_xds import Liveness, Publisher, XdsSettings
from mizzen_xds.ledger import Convergence
from mizzen_xds.metrics import Durations
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    endpoints,
    host,
    listener,
    origin,
    route_configuration,
    table,
)
from tests.support.clock import ManualClock
from tests.support.control_plane import CLASS, Plane, Secrets, plane
from tests.support.proxy_model import ProxyModel, at_once

CDS: Final = TypeUrl.CLUSTER
VHDS: Final = TypeUrl.VIRTUAL_HOST


def shop(revision: int = 1, *more: Entry) -> Bundle:
    """Return a service with its host."""
    return bundle(
        revision,
        cluster("one"),
        endpoints("one", 1),
        listener("web", 80, "80"),
        route_configuration("80"),
        host("80/a", "one", domains=["a"]),
        *more,
    )


def proxy(made: Plane, name: str = "app", *, at: Hashable = CLASS, bad: str = "") -> ProxyModel:
    """Connect a proxy of a class; it refuses bodies that contain ``bad``."""

    def fault(_of: TypeUrl, _name: str, body: bytes) -> str | None:
        return "I don't like it" if bad and bad.encode() in body else None

    model = ProxyModel(made.publisher, node=f"sidecar~10.0.0.1~{name}.shop~x", fault=fault)
    made.classes[model.node] = at
    model.connect()
    model.drain()
    return model


def hosts(model: ProxyModel) -> set[str]:
    """Return the virtual hosts that a proxy has."""
    return set(model.has[VHDS])


# Classes


def test_proxies_of_a_class_get_its_bundle_and_others_do_not() -> None:
    """Whether they come before or after it."""
    made = plane()
    early, other = proxy(made, "early"), proxy(made, "other", at="other")
    made.publisher.offer(CLASS, shop())
    early.drain()
    late = proxy(made, "late")
    assert hosts(early) == hosts(late) == {"80/a"}
    assert hosts(other) == set()


def test_a_proxy_that_changes_class_gets_what_differs() -> None:
    """It keeps what it has until the new class has a bundle."""
    made = plane()
    one = proxy(made)
    made.publisher.offer(CLASS, shop())
    one.drain()
    made.publisher.reclassify(one.node, "other")
    one.drain()
    assert hosts(one) == {"80/a"}
    made.publisher.offer("other", shop(2, host("80/b", domains=["b"])))
    one.drain()
    assert hosts(one) == {"80/a", "80/b"}
    made.publisher.offer(CLASS, shop(3, host("80/c", domains=["c"])))
    one.drain()
    assert hosts(one) == {"80/a", "80/b"}
    made.publisher.reclassify(one.node, "other")
    made.publisher.reclassify("sidecar~1~nobody.x~x", "other")
    assert not one.to_proxy


def test_without_a_classifier_proxies_are_told_their_class_later() -> None:
    """As the compiler does, which knows classes only after its next round."""
    told: list[dict[str, NodeInfo]] = []
    publisher = Publisher(
        secrets=Secrets(),
        clock=ManualClock(),
        settings=XdsSettings(),
        on_proxies_changed=lambda proxies: told.append(dict(proxies)),
    )
    one = ProxyModel(publisher)
    one.connect()
    one.drain()
    assert [list(proxies) for proxies in told] == [[one.node]]
    assert publisher.ledger.proxies()[0].target is None
    publisher.offer(CLASS, shop())
    publisher.reclassify(one.node, CLASS)
    one.drain()
    assert hosts(one) == {"80/a"}
    one.disconnect()
    assert told[-1] == {}


def test_a_classifier_may_be_a_coroutine() -> None:
    """Its answer is waited for."""

    async def classify(_node: NodeInfo) -> Hashable:
        return CLASS

    publisher = Publisher(
        secrets=Secrets(), clock=ManualClock(), settings=XdsSettings(), classify=classify
    )
    publisher.offer(CLASS, shop())
    one = ProxyModel(publisher)
    one.connect()
    one.drain()
    assert hosts(one) == {"80/a"}


def test_a_closed_connection_is_closed_once() -> None:
    """Its proxy is counted no more."""
    made = plane()
    one = proxy(made)
    connection = one.connection
    assert connection is not None
    connection.close()
    connection.close()
    assert made.proxies == {}


def test_a_forgotten_class_has_no_bundle_until_it_has_a_new_one() -> None:
    """Proxies that come back to it wait for that."""
    made = plane()
    made.publisher.offer(CLASS, shop())
    made.publisher.forget(CLASS)
    made.publisher.forget("never seen")
    one = proxy(made)
    assert hosts(one) == set()
    made.publisher.offer(CLASS, shop(2))
    one.drain()
    assert hosts(one) == {"80/a"}


def test_only_so_many_forgotten_classes_are_remembered() -> None:
    """The ones forgotten last; a class that has proxies is never lost."""
    made = plane(XdsSettings(empty_classes=1))
    keeper = proxy(made, at="kept")
    for name in ("kept", "a", "b"):
        made.publisher.offer(name, shop())
        made.publisher.forget(name)
    made.publisher.offer("kept", shop(2))
    keeper.drain()
    assert hosts(keeper) == {"80/a"}


# What is refused


def test_what_one_proxy_refuses_is_spared_its_class_and_no_other() -> None:
    """It goes back to what the class accepted last; the rest is delivered."""
    made = plane()
    one, two = proxy(made, "one", bad="BAD"), proxy(made, "two")
    stranger = proxy(made, "three", at="other")
    everybody = (one, two, stranger)
    first = shop(1, host("80/b", domains=["b"]))
    worse = changed(first, host("80/b", domains=["BAD"]), host("80/c", domains=["c"]))
    for offered in (first, worse):
        for key in (CLASS, "other"):
            made.publisher.offer(key, offered)
        for model in everybody * 3:
            model.drain()
    for model in (one, two, proxy(made, "newcomer")):
        assert b"BAD" not in model.has[VHDS]["80/b"].body
        assert "80/c" in hosts(model)
    assert b"BAD" in stranger.has[VHDS]["80/b"].body
    (held,) = made.publisher.ledger.quarantines()
    assert (held.class_key, held.name, held.text) == (CLASS, "80/b", "I don't like it")
    assert held.instead == first.layers(VHDS)[0]["80/b"].resource.version
    assert made.publisher.metrics.quarantined_resources == 1
    assert all(state.is_up_to_date for state in made.publisher.ledger.proxies())


def test_what_was_never_accepted_is_withheld() -> None:
    """Newcomers go without it, and are not asked to refuse it again."""
    made = plane()
    made.publisher.offer(CLASS, shop(1, host("80/b", domains=["BAD"])))
    one = proxy(made, bad="BAD")
    two = proxy(made, "two", bad="BAD")
    assert hosts(one) == hosts(two) == {"80/a"}
    found = [one.names for one in made.publisher.ledger.refusals if one.is_found]
    assert found == [("80/b",)]
    assert made.publisher.ledger.quarantines()[0].instead is None


def test_a_proxy_accepts_no_more_than_it_asks_for() -> None:
    """One that has all that it wants says nothing of the rest."""
    made = plane()
    first = shop(1, route_configuration("81"), host("81/b", domains=["BAD"]))
    made.publisher.offer(CLASS, first)
    proxy(made, "asks-for-80-only", bad="BAD")
    worse = changed(first, listener("more", 81, "81"), host("81/b", domains=["BAD", "too"]))
    made.publisher.offer(CLASS, worse)
    one = proxy(made, "asks-for-both", bad="BAD")
    assert hosts(one) == {"80/a"}
    assert made.publisher.ledger.quarantines()[0].instead is None
    assert all(s.is_up_to_date for s in made.publisher.ledger.proxies() if s.node.id == one.node)


def test_a_stand_in_that_is_refused_too_is_withheld() -> None:
    """Another proxy of the class may like neither."""
    made = plane()
    first = shop(1, host("80/b", domains=["OLD"]))
    made.publisher.offer(CLASS, first)
    proxy(made, "one", bad="NEW")
    made.publisher.offer(CLASS, changed(first, host("80/b", domains=["NEW"])))
    refusing = proxy(made, "two", bad="NEW")
    refusing.drain()
    assert made.publisher.ledger.quarantines()[0].instead is not None
    both = proxy(made, "three", bad="OLD")
    assert hosts(both) == {"80/a"}
    assert made.publisher.ledger.quarantines()[0].instead is None


def test_a_new_version_ends_a_quarantine() -> None:
    """As does the end of the resource."""
    made = plane()
    first = shop(1, host("80/b", domains=["BAD"]), host("80/c", domains=["BAD2"]))
    made.publisher.offer(CLASS, first)
    one = proxy(made, bad="BAD")
    assert len(made.publisher.ledger.quarantines()) == 2
    second = changed(first, host("80/b", domains=["good"]), without=[(VHDS, "80/c")])
    made.publisher.offer(CLASS, second)
    one.drain()
    assert made.publisher.ledger.quarantines() == ()
    assert hosts(one) == {"80/a", "80/b"}


def test_a_version_that_was_refused_may_be_tried_again_after_another() -> None:
    """It is refused again, and quarantined again."""
    made = plane()
    made.publisher.offer(CLASS, first := shop())
    one = proxy(made, bad="BAD")
    now = first
    for domain in ("BAD", "good", "BAD"):
        now = changed(now, host("80/a", domains=[domain]))
        made.publisher.offer(CLASS, now)
        one.drain()
    assert b"good" in one.has[VHDS]["80/a"].body
    assert len(made.publisher.ledger.refusals) == 2
    assert len(made.publisher.ledger.quarantines()) == 1


def test_a_class_remembers_what_it_refused_while_it_has_no_proxy() -> None:
    """A proxy that restarts is spared it, and given what was accepted before."""
    made = plane()
    first = shop(1, host("80/b", domains=["b"]))
    made.publisher.offer(CLASS, first)
    one = proxy(made, bad="BAD")
    worse = changed(first, host("80/b", domains=["BAD"]))
    made.publisher.offer(CLASS, worse)
    one.drain()
    one.disconnect()
    made.publisher.forget(CLASS)
    made.publisher.offer(CLASS, worse)
    again = proxy(made, "again", bad="BAD")
    assert hosts(again) == {"80/a", "80/b"}
    assert again.has[VHDS]["80/b"].version == first.layers(VHDS)[0]["80/b"].resource.version


def test_what_a_class_refused_that_is_gone_is_not_told() -> None:
    """Nothing is offered to it any more, so nothing would ever end what is told of it."""
    made = plane()
    made.publisher.offer(CLASS, shop(1, host("80/b", domains=["BAD"])))
    one = proxy(made, bad="BAD")
    assert made.publisher.metrics.quarantined_resources == 1
    one.disconnect()
    made.publisher.forget(CLASS)
    assert made.publisher.ledger.quarantines() == ()
    assert made.publisher.metrics.quarantined_resources == 0


def test_a_refusal_of_what_is_no_longer_offered_spares_nobody() -> None:
    """A newer version is on its way already."""
    made = plane()
    one = proxy(made, bad="BAD")
    made.publisher.offer(CLASS, first := shop())
    one.drain()
    worse = changed(first, host("80/a", domains=["BAD"]))
    made.publisher.offer(CLASS, worse)
    one.deliver_response()
    made.publisher.offer(CLASS, changed(worse, host("80/a", domains=["fine"])))
    one.drain()
    assert len(made.publisher.ledger.refusals) == 1
    assert made.publisher.ledger.quarantines() == ()
    assert b"fine" in one.has[VHDS]["80/a"].body


def test_a_refusal_without_an_offer_is_kept_and_nothing_is_sent_in_a_circle() -> None:
    """The class lost its bundle while the answer was on its way."""
    made = plane()
    one = proxy(made, bad="BAD")
    made.publisher.offer(CLASS, shop(1, host("80/b", domains=["BAD"])))
    made.publisher.forget(CLASS)
    one.drain()
    assert made.publisher.ledger.quarantines() == ()
    assert made.publisher.ledger.refusals[-1].names == ("80/b",)
    assert hosts(one) == {"80/a"}


def test_what_routes_to_a_withheld_cluster_stays_as_it_was() -> None:
    """A refused cluster costs no request that was served before, and says so on the route."""
    made = plane()
    one = proxy(made, bad="BAD")
    made.publisher.offer(CLASS, first := shop())
    one.drain()
    worse = changed(first, cluster("BAD"), host("80/a", "BAD", domains=["a"]))
    made.publisher.offer(CLASS, worse)
    one.drain()
    assert one.has[VHDS]["80/a"].version == first.layers(VHDS)[0]["80/a"].resource.version
    held = {one.name: one for one in made.publisher.ledger.quarantines()}
    assert set(held) == {"BAD", "80/a"}
    assert held["80/a"].text.startswith("needs cluster BAD, which was refused: ")
    assert held["80/a"].origins == (origin("a"),)


def test_a_cluster_that_a_stand_in_routes_to_is_not_taken_away() -> None:
    """The change that was refused as to the route was taken as to the cluster."""
    made = plane()
    one = proxy(made, bad="BAD")
    made.publisher.offer(CLASS, first := shop())
    one.drain()
    worse = changed(
        first,
        cluster("two", eds=False),
        host("80/a", "two", domains=["BAD"]),
        without=[(CDS, "one"), (TypeUrl.ENDPOINT, "one")],
    )
    made.publisher.offer(CLASS, worse)
    for _ in range(3):
        one.drain()
        made.clock.advance(timedelta(minutes=1))
        made.publisher.tick()
    assert set(one.has[CDS]) == {"one", "two"}
    made.publisher.offer(CLASS, changed(worse, host("80/a", "two", domains=["a"])))
    for _ in range(3):
        one.drain()
        made.clock.advance(timedelta(minutes=1))
        made.publisher.tick()
    assert set(one.has[CDS]) == {"two"}


def test_only_the_latest_refusals_are_remembered() -> None:
    """As many as are set."""
    made = plane(XdsSettings(rejections_kept=2))
    first = shop(1, *(host(f"80/b{i}", domains=[f"BAD{i}"]) for i in range(5)))
    made.publisher.offer(CLASS, first)
    proxy(made, bad="BAD")
    assert len(made.publisher.ledger.quarantines()) == 5
    assert len(made.publisher.ledger.refusals) == 2


# What is live


def test_an_object_is_live_where_everything_made_from_it_is_acknowledged() -> None:
    """Of the proxies whose configuration has something of it."""
    made = plane()
    ledger = made.publisher.ledger
    keys = [origin("a"), origin("one", "Service"), origin("nobody")]
    made.publisher.offer(CLASS, first := shop())
    made.publisher.offer("other", bundle(1, cluster("one")))
    one, two, _ = proxy(made, "one"), proxy(made, "two"), proxy(made, "three", at="other")
    assert ledger.liveness(keys) == {
        origin("a"): Liveness(live=2, concerned=2),
        origin("one", "Service"): Liveness(live=3, concerned=3),
        origin("nobody"): Liveness(live=0, concerned=0),
    }
    made.publisher.offer(CLASS, changed(first, host("80/a", "one", domains=["a", "b"])))
    one.drain()
    assert ledger.liveness(keys)[origin("a")] == Liveness(live=1, concerned=2)
    assert ledger.liveness(keys)[origin("one", "Service")] == Liveness(live=3, concerned=3)
    two.drain()
    assert ledger.liveness(keys)[origin("a")] == Liveness(live=2, concerned=2)


def test_an_object_that_is_refused_is_live_nowhere() -> None:
    """Though its older version is in force."""
    made = plane()
    made.publisher.offer(CLASS, first := shop())
    one = proxy(made, bad="BAD")
    made.publisher.offer(CLASS, changed(first, host("80/a", domains=["BAD"])))
    one.drain()
    found = made.publisher.ledger.liveness([origin("a")])
    assert found == {origin("a"): Liveness(live=0, concerned=1)}


def test_a_proxy_without_a_class_concerns_no_object() -> None:
    """It will be told its class."""
    publisher = Publisher(secrets=Secrets(), clock=ManualClock(), settings=XdsSettings())
    one = ProxyModel(publisher)
    one.connect()
    one.drain()
    assert publisher.ledger.liveness([origin("a")]) == {origin("a"): Liveness()}
    publisher.reclassify(one.node, "without a bundle")
    assert publisher.ledger.liveness([origin("a")]) == {origin("a"): Liveness()}
    (state,) = publisher.ledger.proxies()
    assert not state.is_up_to_date


# How long it took


def test_convergence_is_from_the_offer_to_the_last_acknowledgement() -> None:
    """Of each revision that changed something for somebody."""
    made = plane()
    made.publisher.offer(CLASS, first := shop())
    one, two = proxy(made, "one"), proxy(made, "two")
    made.publisher.offer(CLASS, changed(first, host("80/a", domains=["a"])))
    made.clock.advance(timedelta(seconds=1))
    one.drain()
    assert made.publisher.metrics.lagging_streams == 1
    made.clock.advance(timedelta(seconds=2))
    two.drain()
    assert made.publisher.metrics.lagging_streams == 0
    last = made.publisher.ledger.convergences[-1]
    assert last == Convergence(revision=2, took=timedelta(seconds=3))
    assert [state.acknowledged for state in made.publisher.ledger.proxies()] == [2, 2]


def test_a_revision_comes_into_force_once() -> None:
    """A proxy that connects later is told of it, but nothing has come to be in force by that."""
    made = plane()
    made.publisher.offer(CLASS, shop())
    proxy(made, "one")
    (known,) = made.publisher.ledger.convergences
    made.clock.advance(timedelta(hours=1))
    proxy(made, "two")
    assert made.publisher.ledger.convergences == (known,)


def test_a_revision_that_changes_nothing_is_acknowledged_at_once() -> None:
    """Nothing is sent, and nobody lags."""
    made = plane()
    made.publisher.offer(CLASS, first := shop())
    one = proxy(made)
    sent = len(one.sizes)
    made.publisher.offer(CLASS, changed(first))
    assert len(one.sizes) == sent
    assert made.publisher.ledger.proxies()[0].acknowledged == 2


def test_counters_have_the_names_of_the_plane() -> None:
    """And a histogram its buckets, its sum and its count."""
    made = plane()
    made.publisher.offer(CLASS, shop())
    one = proxy(made)
    assert one.connection is not None
    one.connection.receive(b"\x12\x03abc")  # another type
    samples = {(s.name, s.labels): s.value for s in made.publisher.metrics.samples()}
    assert all(name.startswith("mizzen_xds_") for name, _ in samples)
    assert samples["mizzen_xds_streams", ()] == 1
    assert samples["mizzen_xds_unknown_requests_total", ()] == 1
    assert samples["mizzen_xds_responses_total", (("type", "Cluster"),)] == 1
    assert samples["mizzen_xds_response_bytes_total", (("type", "Cluster"),)] > 100
    assert samples["mizzen_xds_convergence_seconds_bucket", (("le", "+Inf"),)] >= 1
    assert samples["mizzen_xds_convergence_seconds_count", ()] >= 1


@pytest.mark.parametrize(
    ("observed", "share", "bound"),
    [([], 0.99, 0.0), ([0.003, 0.02, 0.02, 0.2], 0.5, 0.025), ([100.0], 0.99, float("inf"))],
)
def test_a_quantile_is_the_bound_of_its_bucket(
    observed: list[float], share: float, bound: float
) -> None:
    """Zero where nothing was observed, infinity beyond the last bound."""
    durations = Durations()
    for seconds in observed:
        durations.observe(seconds)
    assert durations.quantile(share) == bound


# Secrets and time


def test_changed_secrets_go_to_who_has_asked_for_secrets() -> None:
    """A client that has not is not sent any."""
    made = plane()
    one = proxy(made)
    identity = SpiffeId.parse("spiffe://cluster.local/ns/shop/sa/default")
    made.secrets.tables[identity] = Table()
    made.publisher.secrets_changed([identity])
    assert not one.to_proxy


def test_what_time_makes_due_is_sent_at_the_next_tick() -> None:
    """Of each stream for which something is due."""
    made = plane()
    made.publisher.offer(CLASS, first := shop(1, cluster("old", eds=False)))
    one = proxy(made)
    made.publisher.offer(CLASS, changed(first, without=[(CDS, "old")]))
    one.drain()
    made.publisher.tick()
    assert not one.to_proxy
    made.clock.advance(timedelta(seconds=5))
    made.publisher.tick()
    one.drain()
    assert "old" not in one.has[CDS]


# What is shared


def test_proxies_of_many_classes_are_sent_the_same_bytes() -> None:
    """A change in what they share is spliced once, though each class has something of its own."""
    made = plane()
    nothing: dict[TypeUrl, tuple[Table, ...]] = dict.fromkeys(TypeUrl, ())
    own = {name: table(cluster(f"inbound-{name}", eds=False)) for name in "abc"}
    first = table(*(cluster(f"c{i}", eds=False) for i in range(2000)))
    second = first.updated({"c7": cluster("c7", eds=False, connect_s=9)})
    for name in "abc":
        layers = nothing | {CDS: (first, own[name])}
        made.publisher.offer(name, Bundle(revision=1, tables=layers))
    models = [proxy(made, name, at=name) for name in "abc"]
    assert {len(model.has[CDS]) for model in models} == {2001}
    for name in "abc":
        layers = nothing | {CDS: (second, own[name])}
        made.publisher.offer(name, Bundle(revision=2, tables=layers))
    assert len({model.to_proxy[-1] for model in models}) == 1


def test_a_name_that_moves_between_layers_is_not_removed() -> None:
    """From what is shared to what is the class's own, say."""
    made = plane()
    one, two = cluster("one", eds=False), cluster("two", eds=False)
    made.publisher.offer(CLASS, bundle(1, one, two, layers={CDS: table()}))
    model = proxy(made)
    made.publisher.offer(CLASS, bundle(2, two, layers={CDS: table(one)}))
    model.drain()
    made.clock.advance(timedelta(minutes=1))
    made.publisher.tick()
    model.drain()
    assert set(model.has[CDS]) == {"one", "two"}


def test_at_once_is_for_coroutines_that_wait_for_nothing() -> None:
    """The support of these tests says so when one does."""
    waiting = asyncio.sleep(0)
    with pytest.raises(AssertionError, match="it waits"):
        at_once(waiting)
    waiting.close()
