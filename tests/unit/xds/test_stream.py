"""One stream: what is sent when, in which order, and what waits for what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, DiscoveryResponse

from mizzen.bundle import Bundle, Entry
from mizzen.render.discovery import Request, Versions, joint_version
from mizzen.wire import TypeUrl
from mizzen_xds.change import View
from mizzen_xds.dialect import DELTA, STATE_OF_THE_WORLD, Dialect
from mizzen_xds.settings import XdsSettings
from mizzen_xds.shared import Shared
from mizzen_xds.stream import Stream
from mizzen_xds.target import Rejection, Target
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    endpoints,
    entry,
    host,
    listener,
    route_configuration,
    table,
)

CDS: Final = TypeUrl.CLUSTER
EDS: Final = TypeUrl.ENDPOINT
SDS: Final = TypeUrl.SECRET
LDS: Final = TypeUrl.LISTENER
RDS: Final = TypeUrl.ROUTE
VHDS: Final = TypeUrl.VIRTUAL_HOST

_SETTINGS: Final = XdsSettings()
_LINGER_S: Final = _SETTINGS.linger.total_seconds()
_HOLD_S: Final = _SETTINGS.hold_limit.total_seconds()


@dataclass(frozen=True, slots=True)
class Sent:
    """A response in words: its type, what it sets, what it removes."""

    type: TypeUrl
    names: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class Driver:
    """A stream in a test's hands; every call returns what it makes the stream send."""

    dialect: Dialect = DELTA
    settings: XdsSettings = _SETTINGS
    now_s: float = 0.0
    nonces: dict[TypeUrl, str] = field(default_factory=dict)
    raw: list[bytes] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    stream: Stream = field(init=False)

    def __post_init__(self) -> None:
        shared = Shared(response_limit_bytes=self.settings.response_limit_bytes)
        self.stream = Stream(self.dialect, shared, self.settings)

    def offer(self, made: Bundle, **overrides: dict[str, Entry | None]) -> list[Sent]:
        """Offer a bundle; overrides are given by the types' names in Python."""
        before = self.stream.target
        views = {}
        for of in TypeUrl:
            layers, instead = made.layers(of), overrides.get(of.name, {})
            known = None if before is None else before.views[of]
            same = known is not None and known.layers == layers and known.overrides == instead
            views[of] = known if known is not None and same else View(layers, instead)
        self.stream.offer(Target(revision=made.revision, views=views))
        return self.advance()

    def ask(self, of: TypeUrl, *names: str, **more: object) -> list[Sent]:
        """Send a request."""
        request = Request(type=of, subscribe=names, **more)  # type: ignore[arg-type]
        self._note(self.stream.receive(request))
        return self.advance()

    def ack(self, *types: TypeUrl) -> list[Sent]:
        """Acknowledge the latest responses of some types."""
        return [sent for of in types for sent in self.ask(of, nonce=self.nonces[of])]

    def nack(self, of: TypeUrl, text: str) -> list[Sent]:
        """Refuse the latest response of a type; what is guilty has to be quarantined next."""
        request = Request(type=of, nonce=self.nonces[of], error=text)
        self._note(self.stream.receive(request))
        return [] if self.rejected and self.rejected[-1].guilty else self.advance()

    def _note(self, rejection: Rejection | None) -> None:
        if rejection is not None:
            self.rejected.append(rejection)

    def pass_(self, seconds: float) -> list[Sent]:
        """Let time pass."""
        self.now_s += seconds
        return self.advance()

    def advance(self) -> list[Sent]:
        """Let the stream send what it may."""
        sent = []
        for response in self.stream.advance(self.now_s):
            self.nonces[response.type] = response.nonce
            self.raw.append(b"".join(response.parts))
            sent.append(self._read(response.type, self.raw[-1]))
        return sent

    def _read(self, of: TypeUrl, raw: bytes) -> Sent:
        if self.dialect is STATE_OF_THE_WORLD:
            response = DiscoveryResponse.FromString(raw)
            return Sent(of, tuple(str(len(r.value)) for r in response.resources))
        delta = DeltaDiscoveryResponse.FromString(raw)
        assert delta.type_url == of.value
        return Sent(of, tuple(r.name for r in delta.resources), tuple(delta.removed_resources))


def shop(*more: Entry) -> Bundle:
    """Return a service with its host, and more."""
    return bundle(
        1,
        cluster("one"),
        endpoints("one", 1),
        listener("web", 80, "80"),
        route_configuration("80"),
        host("80/a", "one", domains=["a"]),
        *more,
    )


def up(made: Bundle, **settings: object) -> Driver:
    """Return a stream that has everything of a bundle, subscribed as an Envoy is, and settled."""
    driver = Driver(settings=XdsSettings(**settings))  # type: ignore[arg-type]
    driver.offer(made)
    for of in (CDS, EDS, LDS, RDS, VHDS):
        names = sorted(made.layers(of)[0]) if of in (EDS, RDS) else ()
        sent = driver.ask(of, *names)
        while sent:
            sent = driver.ack(of)
    assert driver.stream.is_settled
    return driver


def test_nothing_is_sent_before_there_is_a_target() -> None:
    """A proxy that comes before the first complete world waits."""
    driver = Driver()
    assert driver.ask(CDS) == []
    assert not driver.stream.is_settled
    assert driver.offer(shop()) == [Sent(CDS, ("one",))]


def test_types_go_in_the_order_in_which_they_refer_to_each_other() -> None:
    """Asked for all at once, clusters go first and hosts last."""
    driver = Driver()
    for of in (VHDS, RDS, LDS, EDS, CDS):
        driver.ask(of, *({EDS: ("one",), RDS: ("80",)}.get(of, ())))
    sent = driver.offer(bundle(1, *shop_parts(), host("80/b", domains=["b"])))
    assert [one.type for one in sent] == [CDS, EDS, LDS, RDS, VHDS]


def shop_parts() -> tuple[Entry, ...]:
    """Return the entries of the shop but for its host."""
    return (
        cluster("one"),
        endpoints("one", 1),
        listener("web", 80, "80"),
        route_configuration("80"),
    )


def test_one_response_of_a_type_is_unanswered_at_a_time() -> None:
    """What changes meanwhile is sent as one difference after the answer."""
    driver = up(shop())
    now = changed(shop(), host("80/b", domains=["b"]))
    assert driver.offer(now) == [Sent(VHDS, ("80/b",))]
    now = changed(now, host("80/c", domains=["c"]))
    assert driver.offer(now) == []
    now = changed(now, host("80/d", domains=["d"]), without=[(VHDS, "80/c")])
    assert driver.offer(now) == []
    assert driver.ack(VHDS) == [Sent(VHDS, ("80/d",))]


def test_answers_to_older_responses_count_for_nothing() -> None:
    """A nonce that is not the latest response's is stale, and so is one never given."""
    driver = up(shop())
    old = driver.nonces[VHDS]
    driver.offer(changed(shop(), host("80/b", domains=["b"])))
    assert driver.ask(VHDS, nonce=old) == []
    assert not driver.stream.has_acknowledged(VHDS, "80/b")
    assert driver.ask(VHDS, nonce=old, error="no") == []
    driver.ack(VHDS)
    assert driver.stream.is_settled
    assert driver.ask(VHDS, nonce="never given") == []


def test_a_type_that_is_not_served_is_passed_over() -> None:
    """Envoys ask for more types than there are."""
    driver = Driver()
    driver.offer(shop())
    assert driver.stream.receive(Request(type=None, subscribe=("x",))) is None
    assert driver.advance() == []


def test_everything_asked_for_is_answered_even_if_there_is_nothing() -> None:
    """Envoy waits at its start for an answer of clusters and listeners; named types wait for none."""
    driver = Driver()
    driver.offer(bundle(1))
    assert driver.ask(CDS) == [Sent(CDS)]
    assert driver.ask(LDS) == [Sent(LDS)]
    assert driver.ask(RDS) == []
    assert driver.ack(CDS, LDS) == []
    assert driver.stream.is_settled


def test_a_name_that_there_is_not_is_answered_as_removed() -> None:
    """So that the client waits no longer; when the resource comes, it is sent."""
    driver = up(shop())
    assert driver.ask(EDS, "none") == [Sent(EDS, (), ("none",))]
    driver.ack(EDS)
    late = changed(shop(), endpoints("none", 1))
    assert driver.offer(late) == [Sent(EDS, ("none",))]


def test_a_name_asked_for_again_is_sent_again() -> None:
    """The client may have forgotten it."""
    driver = up(shop())
    assert driver.ask(EDS, "one") == [Sent(EDS, ("one",))]


def test_routes_asked_for_again_are_sent_again_with_their_hosts() -> None:
    """The client may have forgotten both."""
    driver = up(shop())
    assert driver.ask(RDS, "80", nonce="") == [Sent(RDS, ("80",)), Sent(VHDS, ("80/a",))]


def test_an_unsubscribed_name_is_not_sent_any_more() -> None:
    """Nor is its removal."""
    driver = up(shop())
    assert driver.ask(EDS, unsubscribe=("one",)) == []
    assert driver.offer(changed(shop(), endpoints("one", 2))) == []


# Coming back


def _versions(made: Bundle, of: TypeUrl) -> Versions:
    layers = made.layers(of)
    return Versions({n: one.resource.version for layer in layers for n, one in layer.items()})


def _sent_back(had: Bundle, now: Bundle) -> list[Sent]:
    driver = Driver()
    driver.offer(now)
    names = {EDS: ("one",), RDS: ("80",)}
    return [
        one
        for of in (CDS, EDS, LDS, VHDS, RDS)
        for one in driver.ask(of, *names.get(of, ()), versions=_versions(had, of))
    ]


def test_who_comes_back_with_everything_is_sent_nothing() -> None:
    """But for the empty answers that a client who asks for everything waits for."""
    assert _sent_back(shop(), shop()) == [Sent(CDS), Sent(LDS), Sent(VHDS)]


def test_who_comes_back_is_sent_what_differs() -> None:
    """Changed and new resources, and the names of those that are gone."""
    had = shop(host("80/b", domains=["b"]))
    now = changed(
        had, host("80/a", domains=["a"]), host("80/c", domains=["c"]), without=[(VHDS, "80/b")]
    )
    assert _sent_back(had, now)[-1] == Sent(VHDS, ("80/a", "80/c"), ("80/b",))


def test_a_cluster_that_changed_while_the_proxy_was_away_gets_its_endpoints() -> None:
    """Though they are what the proxy says it has, because the cluster warms again."""
    sent = _sent_back(shop(), changed(shop(), cluster("one", connect_s=9)))
    assert sent[:2] == [Sent(CDS, ("one",)), Sent(EDS, ("one",))]


def test_hosts_wait_for_the_routes_that_say_which_are_meant() -> None:
    """Of a proxy that comes back, either request may come first; alone, hosts hold nothing up."""
    driver = Driver()
    driver.offer(shop())
    assert driver.ask(VHDS) == []
    assert driver.ask(CDS) == [Sent(CDS, ("one",))]
    driver.ack(CDS)
    assert driver.stream.is_settled
    assert driver.ask(RDS, "80") == [Sent(RDS, ("80",))]
    driver.ask(EDS, "one")
    driver.ack(RDS)
    assert Sent(VHDS, ("80/a",)) in [*driver.ack(EDS), Sent(VHDS, ("80/a",))]


def test_hosts_asked_for_by_name_need_no_routes() -> None:
    """On-demand discovery names the hosts it wants."""
    driver = Driver()
    driver.offer(shop(host("80/b", domains=["b"])))
    assert driver.ask(VHDS, "80/b") == [Sent(VHDS, ("80/b",))]


# Make before break


def _with_new_cluster(made: Bundle, *more: Entry) -> Bundle:
    return changed(
        made, cluster("two"), endpoints("two", 2), host("80/a", "two", domains=["a"]), *more
    )


def test_a_host_waits_for_the_acknowledgement_of_its_cluster_and_for_its_endpoints() -> None:
    """It is sent in the same turn as the endpoints, which come before it on the stream."""
    driver = up(shop())
    assert driver.offer(_with_new_cluster(shop())) == [Sent(CDS, ("two",))]
    assert driver.ack(CDS) == []
    assert driver.ask(EDS, "two") == [Sent(EDS, ("two",)), Sent(VHDS, ("80/a",))]


def test_endpoints_asked_for_before_the_cluster_is_acknowledged_do_not_free_the_host() -> None:
    """Envoy asks first and acknowledges then."""
    driver = up(shop())
    driver.offer(_with_new_cluster(shop()))
    assert driver.ask(EDS, "two") == [Sent(EDS, ("two",))]
    assert driver.ack(CDS) == [Sent(VHDS, ("80/a",))]


def test_other_hosts_of_the_same_routes_do_not_wait() -> None:
    """Only the host that needs the new cluster does."""
    driver = up(shop())
    now = _with_new_cluster(shop(), host("80/b", domains=["b"]))
    assert driver.offer(now) == [Sent(CDS, ("two",)), Sent(VHDS, ("80/b",))]


def test_hosts_that_exchange_domains_wait_together() -> None:
    """Envoy would refuse the one that takes a domain before the other has let go of it."""
    made = shop(host("80/b", domains=["b", "moves"]), host("80/c", domains=["c"]))
    driver = up(made)
    now = changed(
        made,
        cluster("two", eds=False),
        host("80/a", "two", domains=["a", "moves"]),
        host("80/b", domains=["b"]),
        host("80/c", domains=["c"], status=204),
    )
    assert driver.offer(now) == [Sent(CDS, ("two",)), Sent(VHDS, ("80/c",))]
    driver.ack(VHDS)
    assert driver.ack(CDS) == [Sent(VHDS, ("80/a", "80/b"))]


def test_hosts_of_which_only_the_version_is_known_wait_together() -> None:
    """After a reconnect nobody knows the domains of what the proxy has."""
    driver = Driver()
    had = shop(host("80/b", domains=["b"]), host("80/c", domains=["c"]))
    now = changed(
        had,
        cluster("two", eds=False),
        host("80/a", "two", domains=["a"]),
        host("80/b", domains=["b"], status=204),
    )
    for of in (CDS, EDS, LDS, RDS, VHDS):
        names = {EDS: ("one",), RDS: ("80",)}.get(of, ())
        driver.ask(of, *names, versions=_versions(had, of))
    assert driver.offer(now) == [Sent(CDS, ("two",)), Sent(LDS)]
    assert driver.ack(CDS) == [Sent(VHDS, ("80/a", "80/b"))]


def test_a_listener_waits_for_its_clusters_too() -> None:
    """TCP listeners route without a virtual host."""
    driver = up(shop())
    tcp = listener("tcp", 81, "81", requires=["two"])
    driver.offer(changed(shop(), cluster("two", eds=False), tcp))
    assert driver.ack(CDS) == [Sent(LDS, ("tcp",))]


def test_a_route_may_be_written_before_what_it_names() -> None:
    """It waits for a cluster that there is not yet, for it would answer 503 until there is."""
    driver = up(shop())
    early = changed(shop(), host("80/a", "late", domains=["a"]))
    assert driver.offer(early) == []
    assert not driver.stream.is_settled
    assert driver.offer(changed(early, cluster("late", eds=False))) == [Sent(CDS, ("late",))]
    assert driver.ack(CDS) == [Sent(VHDS, ("80/a",))]


def test_a_route_waits_once_for_what_it_names_in_error() -> None:
    """When patience has ended it is sent, and its next versions are not kept back for the same need."""
    driver = up(shop())
    wrong = host("80/a", "nowhere", domains=["a"])
    assert driver.offer(changed(shop(), wrong)) == []
    assert driver.pass_(_HOLD_S) == [Sent(VHDS, ("80/a",))]
    driver.ack(VHDS)
    again = changed(shop(), host("80/a", "nowhere", domains=["a", "b"]))
    assert driver.offer(again) == [Sent(VHDS, ("80/a",))]


def test_a_newcomer_is_not_kept_waiting_for_what_there_is_not() -> None:
    """Its first configuration is complete at once."""
    made = changed(shop(), host("80/a", "nowhere", domains=["a"]))
    assert up(made).stream.is_settled


def test_the_first_host_of_a_proxy_that_is_no_newcomer_waits_as_well() -> None:
    """A gateway that is opened before there is anything behind it answers 404 until there is."""
    driver = Driver()
    driver.offer(bundle(1, cluster("one", eds=False)))
    for of in (CDS, LDS):
        driver.ask(of)
        driver.ack(of)
    assert driver.stream.is_settled
    opened = shop(host("80/b", "late", domains=["b"]))
    driver.offer(opened)
    driver.ack(CDS, LDS)
    driver.ask(EDS, "one")
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == [Sent(VHDS, ("80/a",))]
    driver.offer(changed(opened, cluster("late", eds=False)))
    driver.ack(EDS, VHDS)
    assert driver.ack(CDS) == [Sent(VHDS, ("80/b",))]


def test_a_route_may_go_on_naming_a_cluster_that_lingers() -> None:
    """The proxy still has it."""
    driver = up(shop())
    gone = changed(
        shop(), host("80/a", "one", domains=["a", "b"]), without=[(CDS, "one"), (EDS, "one")]
    )
    assert driver.offer(gone) == [Sent(VHDS, ("80/a",))]


def test_a_cluster_that_only_changes_holds_nothing_up() -> None:
    """Its older version serves until the newer one is warm."""
    driver = up(shop())
    now = changed(shop(), cluster("one", connect_s=9), host("80/a", "one", domains=["a", "z"]))
    assert driver.offer(now) == [
        Sent(CDS, ("one",)),
        Sent(EDS, ("one",)),
        Sent(VHDS, ("80/a",)),
    ]


def test_a_cluster_of_a_target_not_sent_yet_is_waited_for() -> None:
    """The response before it is unanswered, so the cluster is not even on its way."""
    driver = up(shop())
    now = changed(shop(), cluster("slow", eds=False))
    driver.offer(now)
    now = changed(now, cluster("two", eds=False), host("80/a", "two", domains=["a"]))
    assert driver.offer(now) == []
    assert driver.ack(CDS) == [Sent(CDS, ("two",))]
    assert driver.ack(CDS) == [Sent(VHDS, ("80/a",))]


def test_a_client_that_names_its_clusters_is_not_kept_waiting() -> None:
    """It learns their names from the routes that would wait for them."""
    driver = Driver()
    driver.offer(shop())
    driver.ask(CDS, "other")
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == [Sent(VHDS, ("80/a",))]


def test_a_client_without_clusters_is_not_kept_waiting() -> None:
    """Somebody may only want routes."""
    driver = Driver()
    driver.offer(shop())
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == [Sent(VHDS, ("80/a",))]


def test_patience_has_an_end() -> None:
    """A client that never asks for endpoints gets its routes after all."""
    driver = Driver()
    driver.offer(shop())
    driver.ask(CDS)
    driver.ack(CDS)
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == []
    assert driver.stream.wake_s == _HOLD_S
    assert driver.pass_(_HOLD_S - 1) == []
    assert driver.pass_(1) == [Sent(VHDS, ("80/a",))]
    assert driver.stream.wake_s is None


def test_endpoints_that_nobody_offers_are_not_waited_for() -> None:
    """Neither before nor after the client has asked for endpoints."""
    bare = bundle(1, cluster("one"), route_configuration("80"), host("80/a", "one", domains=["a"]))
    driver = Driver()
    driver.offer(bare)
    driver.ask(CDS)
    driver.ack(CDS)
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == [Sent(VHDS, ("80/a",))]


def test_endpoints_that_are_to_be_sent_again_are_waited_for() -> None:
    """They are on the stream before the host, in one turn."""
    driver = up(shop(), response_limit_bytes=10)
    now = changed(shop(), endpoints("one", 2), host("80/a", "one", domains=["a", "b"]))
    assert driver.offer(now) == [Sent(EDS, ("one",)), Sent(VHDS, ("80/a",))]


# What changes with something else


def test_a_changed_cluster_is_sent_its_endpoints_again() -> None:
    """Envoy warms it anew and does not ask again."""
    driver = up(shop())
    now = changed(shop(), cluster("one", connect_s=9))
    assert driver.offer(now) == [Sent(CDS, ("one",)), Sent(EDS, ("one",))]


def test_a_changed_cluster_without_endpoints_is_told_so_again() -> None:
    """Or it would be warming for ever."""
    made = shop(cluster("bare"))
    driver = up(made)
    driver.ask(EDS, "bare")
    driver.ack(EDS)
    now = changed(made, cluster("bare", connect_s=9))
    assert driver.offer(now) == [Sent(CDS, ("bare",)), Sent(EDS, (), ("bare",))]


def test_new_routes_are_followed_by_their_hosts_unasked() -> None:
    """Envoy asks for hosts only once, however many route configurations it has later."""
    driver = up(shop())
    now = changed(
        shop(), listener("more", 81, "81"), route_configuration("81"), host("81/x", domains=["x"])
    )
    assert driver.offer(now) == [Sent(LDS, ("more",))]
    assert driver.ask(RDS, "81") == [Sent(RDS, ("81",)), Sent(VHDS, ("81/x",))]


def test_routes_without_hosts_are_followed_by_a_word_about_that() -> None:
    """Envoy opens their listener only then; of the first routes as of later ones."""
    bare = bundle(1, listener("web", 80, "80"), route_configuration("80"))
    driver = Driver()
    driver.offer(bare)
    driver.ask(RDS, "80")
    driver.ack(RDS)
    assert driver.ask(VHDS) == [Sent(VHDS, (), ("80/",))]
    driver.ack(VHDS)
    driver.offer(changed(bare, route_configuration("81")))
    assert driver.ask(RDS, "81") == [Sent(RDS, ("81",)), Sent(VHDS, (), ("81/",))]


def test_hosts_of_routes_no_longer_asked_for_are_forgotten() -> None:
    """And sent again with their routes when these are asked for again."""
    driver = up(shop())
    assert driver.ask(RDS, unsubscribe=("80",)) == []
    assert driver.offer(changed(shop(), host("80/a", "one", domains=["a", "b"]))) == []
    assert driver.ask(RDS, "80") == [Sent(RDS, ("80",)), Sent(VHDS, ("80/a",))]


def test_hosts_do_not_come_before_their_routes() -> None:
    """While a response about routes is unanswered, new routes wait, and their hosts with them."""
    driver = up(shop())
    now = changed(shop(), route_configuration("80", header="x"))
    driver.offer(now)
    now = changed(now, route_configuration("81"), host("81/x", domains=["x"]))
    driver.ask(RDS, "81")
    assert driver.offer(now) == []
    assert driver.ack(RDS) == [Sent(RDS, ("81",)), Sent(VHDS, ("81/x",))]


def test_a_changed_route_configuration_keeps_its_hosts() -> None:
    """Envoy keeps them, so they are not sent again."""
    driver = up(shop())
    now = changed(shop(), route_configuration("80", header="x"))
    assert driver.offer(now) == [Sent(RDS, ("80",))]


def test_hosts_that_an_older_view_had_are_sent_with_their_routes() -> None:
    """They were on their way to nobody: the routes came after them."""
    driver = up(shop())
    both = changed(
        shop(),
        host("80/a", "one", domains=["a", "b"]),
        route_configuration("81"),
        host("81/x", domains=["x"]),
    )
    assert driver.offer(both) == [Sent(VHDS, ("80/a",))]  # unanswered for a while
    without = changed(both, without=[(VHDS, "81/x")])
    driver.offer(without)
    assert driver.ask(RDS, "81") == [Sent(RDS, ("81",))]
    driver.offer(changed(without, host("81/x", domains=["x"])))
    assert driver.ack(VHDS) == [Sent(VHDS, ("81/x",), ("81/",))]


# Removal


def test_a_removed_cluster_lingers_with_its_endpoints() -> None:
    """Until all else is acknowledged and the time is over; endpoints are last, if still asked for."""
    made = shop(cluster("old"), endpoints("old", 3))
    driver = up(made)
    now = changed(made, host("80/b", domains=["b"]), without=[(CDS, "old"), (EDS, "old")])
    assert driver.offer(now) == [Sent(VHDS, ("80/b",))]
    assert driver.pass_(2 * _LINGER_S) == []
    assert driver.ack(VHDS) == []
    assert driver.stream.wake_s == driver.now_s + _LINGER_S
    assert driver.pass_(_LINGER_S - 1) == []
    assert driver.pass_(1) == [Sent(CDS, (), ("old",))]
    assert not driver.stream.is_settled
    assert driver.ack(CDS) == [Sent(EDS, (), ("old",))]
    assert driver.ack(EDS) == []
    assert driver.stream.wake_s is None


def test_endpoints_of_a_removed_cluster_are_forgotten_when_nobody_asks_for_them() -> None:
    """An Envoy unsubscribes when it loses the cluster."""
    made = shop(cluster("old"), endpoints("old", 3))
    driver = up(made)
    driver.offer(changed(made, without=[(CDS, "old"), (EDS, "old")]))
    driver.pass_(_LINGER_S)
    assert driver.ask(EDS, unsubscribe=("old",)) == []
    assert driver.ack(CDS) == []
    assert driver.stream.is_settled


def test_a_cluster_that_comes_back_in_time_is_not_sent_again() -> None:
    """The proxy never lost it; with another content it is sent as a change."""
    made = shop(cluster("old", eds=False), cluster("other", eds=False))
    driver = up(made)
    gone = changed(made, without=[(CDS, "old"), (CDS, "other")])
    driver.offer(gone)
    again = changed(gone, cluster("old", eds=False), cluster("other", eds=False, connect_s=9))
    assert driver.offer(again) == [Sent(CDS, ("other",))]
    driver.ack(CDS)
    assert driver.pass_(2 * _LINGER_S) == []


def test_what_leaves_later_lingers_as_long() -> None:
    """The clock starts again."""
    made = shop(cluster("old", eds=False), cluster("older", eds=False))
    driver = up(made)
    gone = changed(made, without=[(CDS, "older")])
    driver.offer(gone)
    driver.pass_(_LINGER_S - 1)
    driver.offer(changed(gone, without=[(CDS, "old")]))
    assert driver.pass_(_LINGER_S - 1) == []
    assert driver.pass_(1) == [Sent(CDS, (), ("old", "older"))]


def test_a_removed_host_leaves_at_once_if_its_routes_stay() -> None:
    """What it answered is to be answered no more."""
    made = shop(host("80/b", domains=["b"]))
    driver = up(made)
    assert driver.offer(changed(made, without=[(VHDS, "80/b")])) == [Sent(VHDS, (), ("80/b",))]


def test_a_removed_listener_leaves_at_once_and_its_routes_linger() -> None:
    """Connections that drain still use the routes; in the end hosts go before routes."""
    driver = up(shop())
    now = changed(shop(), without=[(LDS, "web"), (RDS, "80"), (VHDS, "80/a")])
    assert driver.offer(now) == [Sent(LDS, (), ("web",))]
    driver.ack(LDS)
    assert driver.pass_(_LINGER_S) == [Sent(VHDS, (), ("80/a",)), Sent(RDS, (), ("80",))]


def test_hosts_left_over_from_routes_that_come_back_leave_at_once() -> None:
    """Their routes are alive again, without them."""
    made = shop(host("80/b", domains=["b"]))
    driver = up(made)
    gone = changed(made, without=[(RDS, "80"), (VHDS, "80/a"), (VHDS, "80/b")])
    assert driver.offer(gone) == []
    back = changed(gone, route_configuration("80"), host("80/a", "one", domains=["a"]))
    assert driver.offer(back) == [Sent(VHDS, (), ("80/b",))]


def test_nothing_is_taken_from_a_proxy_that_has_not_yet_asked_for_everything() -> None:
    """Whoever comes back asks for one type after the other."""
    made = shop(cluster("old", eds=False))
    now = changed(made, without=[(CDS, "old")])
    driver = Driver()
    driver.offer(now)
    driver.ask(CDS, versions=_versions(made, CDS))
    driver.ack(CDS)
    assert driver.pass_(2 * _LINGER_S) == []
    driver.ask(LDS, versions=_versions(made, LDS))
    assert driver.ack(LDS) == []
    assert driver.pass_(_LINGER_S) == [Sent(CDS, (), ("old",))]


# Large responses


def _many(count: int) -> list[Entry]:
    return [host(f"80/h{i}", domains=[f"h{i}"]) for i in range(count)]


def test_a_large_response_is_sent_in_parts_each_after_the_answer_to_the_one_before() -> None:
    """All of it arrives, and none of the parts is larger than it may be."""
    limit = 1000
    driver = up(shop(), response_limit_bytes=limit)
    sent = driver.offer(changed(shop(), *(cluster(f"c{i}", eds=False) for i in range(40))))
    names: list[str] = []
    while sent:
        assert len(sent) == 1
        names += sent[0].names
        sent = driver.ack(CDS)
    assert len(driver.raw) > 3
    assert sorted(names) == sorted(f"c{i}" for i in range(40))
    assert max(map(len, driver.raw)) <= limit + 200  # names of type and nonce


def test_a_new_target_between_parts_sends_what_is_then_left() -> None:
    """Of what was not sent, only what still differs."""
    driver = up(shop(), response_limit_bytes=100)
    many = [cluster(f"c{i}", eds=False) for i in range(4)]
    now = changed(shop(), *many)
    assert driver.offer(now) == [Sent(CDS, ("c0",))]
    driver.offer(changed(now, without=[(CDS, "c2")]))
    assert driver.ack(CDS) == [Sent(CDS, ("c1",))]
    assert driver.ack(CDS) == [Sent(CDS, ("c3",))]
    assert driver.ack(CDS) == []


def test_a_request_between_parts_is_answered_with_what_is_left() -> None:
    """A new subscription of the type takes its place among the parts."""
    made = shop(*(endpoints(f"e{i}", 1) for i in range(3)))
    driver = up(shop(), response_limit_bytes=100)
    driver.offer(made)
    assert driver.ask(EDS, "e0", "e1") == [Sent(EDS, ("e0",))]
    driver.ask(EDS, "e2")
    assert driver.ack(EDS) == [Sent(EDS, ("e1",))]
    assert driver.ack(EDS) == [Sent(EDS, ("e2",))]


def test_the_changes_of_a_route_configuration_stay_together() -> None:
    """Each of two fits alone; they are not mixed."""
    made = shop(route_configuration("81"), *_many(3), host("81/x", domains=["x"]))
    driver = up(made, response_limit_bytes=400)
    now = changed(
        made,
        *(host(f"80/h{i}", domains=[f"h{i}"], status=204) for i in range(3)),
        host("81/x", domains=["x"], status=204),
    )
    assert driver.offer(now) == [Sent(VHDS, ("80/h0", "80/h1", "80/h2"))]
    assert driver.ack(VHDS) == [Sent(VHDS, ("81/x",))]


def test_changes_too_large_to_stay_together_let_go_before_they_take() -> None:
    """Removals come first."""
    made = shop(host("80/b", domains=["b"]))
    driver = up(made, response_limit_bytes=60)
    now = changed(made, *_many(2), without=[(VHDS, "80/b")])
    assert driver.offer(now) == [Sent(VHDS, (), ("80/b",))]
    assert driver.ack(VHDS) == [Sent(VHDS, ("80/h0",))]


# Rejection


def test_a_refused_resource_is_named_and_what_was_had_before_goes_with_it() -> None:
    """The name stands in the text, as a word of its own."""
    driver = up(shop())
    bad = cluster("one", connect_s=9)
    driver.offer(changed(shop(), bad, cluster("one.more", eds=False)))
    driver.nack(CDS, "Error adding/updating cluster(s) one: no such thing as one.more-or-less")
    assert driver.rejected[-1].guilty == ((bad, cluster("one")),)
    assert driver.rejected[-1].names == {"one", "one.more"}


def test_of_clusters_and_listeners_the_good_ones_of_a_refused_response_are_taken() -> None:
    """They are not sent again."""
    driver = up(shop())
    now = changed(shop(), cluster("bad", eds=False), cluster("good", eds=False))
    driver.offer(now)
    driver.nack(CDS, "Error adding/updating cluster(s) bad: no")
    assert driver.offer(now, CLUSTER={"bad": None}) == []
    assert driver.stream.is_settled
    assert driver.stream.has_acknowledged(CDS, "good")


def test_of_other_types_nothing_of_a_refused_response_is_taken() -> None:
    """What was not guilty is sent again."""
    driver = up(shop())
    now = changed(shop(), host("80/bad", domains=["x"]), host("80/good", domains=["y"]))
    driver.offer(now)
    driver.stream.receive(Request(type=VHDS, nonce=driver.nonces[VHDS], error="in host 80/bad: no"))
    assert driver.offer(now, VIRTUAL_HOST={"80/bad": None}) == [Sent(VHDS, ("80/good",))]
    driver.ack(VHDS)
    assert driver.stream.is_settled


def test_a_guilty_resource_that_nobody_names_is_found_by_halves() -> None:
    """Each half is tried alone, until one resource is left."""
    driver = up(shop())
    now = changed(shop(), *_many(4))
    driver.offer(now)
    assert driver.nack(VHDS, "no") == [Sent(VHDS, ("80/h0", "80/h1"))]
    assert driver.rejected[0].guilty == ()
    assert driver.ack(VHDS) == [Sent(VHDS, ("80/h2", "80/h3"))]
    assert driver.nack(VHDS, "no") == [Sent(VHDS, ("80/h2",))]
    driver.nack(VHDS, "no")
    assert driver.rejected[-1].guilty == ((_many(4)[2], None),)
    assert driver.offer(now, VIRTUAL_HOST={"80/h2": None}) == [Sent(VHDS, ("80/h3",))]
    assert driver.ack(VHDS) == []
    assert driver.stream.is_settled


def test_hosts_that_exchange_domains_are_not_halved() -> None:
    """They are guilty together, since alone each would be refused for another reason."""
    made = shop(host("80/x", domains=["x", "m"]), host("80/y", domains=["y"]))
    driver = up(made)
    now = changed(made, host("80/x", domains=["x"]), host("80/y", domains=["y", "m"]), *_many(1))
    driver.offer(now)
    assert driver.nack(VHDS, "no") == [Sent(VHDS, ("80/h0",))]
    assert driver.ack(VHDS) == [Sent(VHDS, ("80/x", "80/y"))]
    driver.nack(VHDS, "no")
    assert len(driver.rejected[-1].guilty) == 2


def test_a_withheld_resource_leaves_what_the_proxy_has() -> None:
    """It is neither sent nor taken away, and goes when it goes for good."""
    made = shop(host("80/b", domains=["b"]))
    driver = up(made)
    worse = changed(made, host("80/b", domains=["b", "z"]))
    assert driver.offer(worse, VIRTUAL_HOST={"80/b": None}) == []
    assert driver.stream.is_settled
    again = changed(worse, host("80/c", domains=["c"]))
    assert driver.offer(again, VIRTUAL_HOST={"80/b": None}) == [Sent(VHDS, ("80/c",))]
    driver.ack(VHDS)
    gone = changed(again, without=[(VHDS, "80/b")])
    assert driver.offer(gone) == [Sent(VHDS, (), ("80/b",))]


def test_what_stands_in_for_a_refused_resource_is_sent_to_newcomers() -> None:
    """The version last accepted."""
    driver = Driver()
    driver.offer(shop(), CLUSTER={"one": cluster("one", connect_s=5)})
    driver.ask(CDS)
    assert cluster("one", connect_s=5).resource.body in driver.raw[-1]


def test_a_lingering_cluster_that_comes_back_refused_stays() -> None:
    """Withheld means as it is, also of what was to be removed."""
    made = shop(cluster("old", eds=False))
    driver = up(made)
    gone = changed(made, without=[(CDS, "old")])
    driver.offer(gone)
    back = changed(gone, cluster("old", eds=False, connect_s=9))
    driver.offer(back, CLUSTER={"old": None})
    assert driver.pass_(2 * _LINGER_S) == []
    better = changed(back, cluster("old", eds=False))
    assert driver.offer(better) == []


# Secrets


def _secret(name: str, text: str) -> Entry:
    return entry(SDS, name, Secret(name=text))


def test_secrets_need_no_target_and_are_not_kept_from_the_proxy() -> None:
    """They belong to the identity, not to the class."""
    driver = Driver()
    driver.ask(SDS, "default")
    driver.stream.offer_secrets(View((table(_secret("default", "x")),)))
    assert driver.advance() == [Sent(SDS, ("default",))]
    driver.ack(SDS)
    assert not driver.stream.is_settled
    driver.stream.offer_secrets(View((table(_secret("default", "y")),)))
    assert driver.advance() == [Sent(SDS, ("default",))]


def test_secrets_may_be_known_before_they_are_asked_for() -> None:
    """And a target that is offered meanwhile has no say in them."""
    driver = Driver()
    driver.stream.offer_secrets(View((table(_secret("default", "x")),)))
    assert driver.ask(SDS, "default") == [Sent(SDS, ("default",))]
    assert driver.offer(shop()) == []
    driver.stream.offer_secrets(View((table(_secret("default", "y")),)))
    assert driver.ack(SDS) == [Sent(SDS, ("default",))]


def test_a_refused_secret_is_not_sent_again_until_it_changes() -> None:
    """The proxy keeps what it had."""
    driver = Driver()
    driver.ask(SDS, "default")
    driver.stream.offer_secrets(View((table(_secret("default", "x")),)))
    driver.advance()
    assert driver.nack(SDS, "no") == []
    assert driver.pass_(100) == []
    driver.stream.offer_secrets(View((table(_secret("default", "y")),)))
    assert driver.advance() == [Sent(SDS, ("default",))]


def _credential(text: str) -> Entry:
    return _secret("kubernetes://web", text)


def test_secrets_of_the_class_come_with_those_of_the_identity() -> None:
    """In whatever order they become known; a change of one is sent without the other."""
    driver = Driver()
    names = ("default", "kubernetes://web")
    driver.ask(SDS, *names)
    assert driver.offer(changed(shop(), _credential("x"))) == []
    own = table(_secret("default", "x"))
    driver.stream.offer_secrets(View((own,)))
    assert driver.advance() == [Sent(SDS, names)]
    driver.ack(SDS)
    assert driver.offer(changed(shop(), _credential("y"))) == [Sent(SDS, names[1:])]
    driver.ack(SDS)
    driver.stream.offer_secrets(View((own.updated({"default": _secret("default", "z")}),)))
    assert driver.advance() == [Sent(SDS, names[:1])]
    assert driver.stream.has_acknowledged(SDS, names[1])


def test_a_refused_secret_of_the_class_is_the_classs_to_spare() -> None:
    """The proxy keeps the one before, and is sent the next one."""
    driver = Driver()
    driver.ask(SDS, "kubernetes://web")
    own = View((table(_secret("default", "x")),))
    driver.stream.offer_secrets(own)
    driver.offer(changed(shop(), _credential("x")))
    driver.ack(SDS)
    now = changed(shop(), _credential("y"))
    assert driver.offer(now) == [Sent(SDS, ("kubernetes://web",))]
    driver.nack(SDS, "no")
    assert [entry for entry, _ in driver.rejected[-1].guilty] == [_credential("y")]
    assert driver.offer(now, SECRET={"kubernetes://web": _credential("x")}) == []
    driver.stream.offer_secrets(own)
    assert driver.advance() == []
    better = changed(now, _credential("z"))
    assert driver.offer(better) == [Sent(SDS, ("kubernetes://web",))]


# What is acknowledged


def test_what_is_on_its_way_is_not_acknowledged() -> None:
    """Before the answer the older version counts, after it the newer one."""
    driver = up(shop())
    stream = driver.stream
    assert stream.has_acknowledged(VHDS, "80/a")
    now = changed(shop(), host("80/a", "one", domains=["a", "b"]), host("80/b", domains=["x"]))
    driver.offer(now)
    assert not stream.has_acknowledged(VHDS, "80/a")
    assert not stream.has_acknowledged(VHDS, "80/b")
    assert stream.has_acknowledged(VHDS, "81/not-asked-for")
    assert stream.has_acknowledged(SDS, "not-asked-for")
    assert stream.has_acknowledged(CDS, "neither-here-nor-there")
    driver.ack(VHDS)
    assert stream.has_acknowledged(VHDS, "80/b")


# State of the world


def test_in_state_of_the_world_clusters_and_listeners_are_always_complete() -> None:
    """What does not stand in a response is gone, so what lingers stands in it."""
    driver = Driver(dialect=STATE_OF_THE_WORLD)
    made = bundle(1, cluster("a", eds=False), cluster("b", eds=False))
    driver.offer(made)
    assert len(driver.ask(CDS)[0].names) == 2
    driver.ack(CDS)
    now = changed(made, cluster("c", eds=False), without=[(CDS, "b")])
    assert len(driver.offer(now)[0].names) == 3
    driver.ack(CDS)
    driver.ask(LDS)
    driver.ack(LDS)
    assert len(driver.pass_(_LINGER_S)[0].names) == 2


def test_in_state_of_the_world_other_types_carry_what_changed() -> None:
    """And nothing is said of a removal."""
    driver = Driver(dialect=STATE_OF_THE_WORLD)
    made = bundle(1, endpoints("a", 1), endpoints("b", 1))
    driver.offer(made)
    driver.ask(LDS)
    assert len(driver.ask(EDS, "a", "b")[0].names) == 2
    driver.ask(EDS, "a", "b", nonce=driver.nonces[EDS])
    driver.ack(LDS)
    now = changed(made, endpoints("a", 2), without=[(EDS, "b")])
    assert len(driver.offer(now)[0].names) == 1
    driver.ask(EDS, "a", "b", nonce=driver.nonces[EDS])
    assert driver.pass_(_LINGER_S) == []
    assert driver.stream.is_settled


def test_in_state_of_the_world_who_has_the_version_is_sent_nothing() -> None:
    """The version of clusters and of listeners speaks for all of them."""
    made = bundle(1, cluster("a", eds=False), cluster("b", eds=False))
    resources = [one.resource for one in made.layers(CDS)[0].values()]
    driver = Driver(dialect=STATE_OF_THE_WORLD)
    driver.offer(made)
    assert driver.ask(CDS, version=joint_version(resources)) == []
    assert driver.stream.is_settled
    other = Driver(dialect=STATE_OF_THE_WORLD)
    other.offer(made)
    assert len(other.ask(CDS, version="other")[0].names) == 2


def test_in_state_of_the_world_a_stale_request_is_passed_over() -> None:
    """What it asks for will be asked for again."""
    driver = Driver(dialect=STATE_OF_THE_WORLD)
    driver.offer(bundle(1, endpoints("a", 1), endpoints("b", 1)))
    driver.ask(EDS, "a")
    assert driver.ask(EDS, "a", "b", nonce="older") == []
    assert len(driver.ask(EDS, "a", "b", nonce=driver.nonces[EDS])[0].names) == 1


def test_in_state_of_the_world_there_are_no_virtual_hosts() -> None:
    """They stand in their route configurations."""
    driver = Driver(dialect=STATE_OF_THE_WORLD)
    driver.offer(shop())
    driver.ask(RDS, "80")
    assert driver.ask(VHDS) == []
    assert driver.stream.channel(VHDS) is None


@pytest.mark.parametrize("of", [EDS, RDS, SDS])
def test_a_type_without_a_view_is_left_alone(of: TypeUrl) -> None:
    """Secrets may not be known when the rest is."""
    driver = Driver()
    driver.ask(of, "x")
    assert driver.advance() == []
    assert driver.stream.view(of) is None
