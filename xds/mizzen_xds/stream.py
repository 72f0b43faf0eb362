"""All types of one stream, without I/O: requests, targets and the time go in, responses come out.

:meth:`Stream.receive` takes a request in, :meth:`Stream.offer` what the proxy is to have, and
:meth:`Stream.advance` returns what may be sent now. What decides that:

- One response of a type is unanswered at a time, and a change is always made from what the client has to
  the newest target, so what is superseded meanwhile is never sent.
- Types are visited in the order clusters, endpoints, secrets, listeners, routes, virtual hosts.
- *Make before break*: a listener or virtual host waits while a cluster that it requires is not
  acknowledged or its endpoints are not sent. Hosts that exchange domains wait together, because Envoy
  refuses a host whose domain another one has. What is not in the target holds nothing up, nor do
  clusters hold up a client that asks for them by name: it learns their names from its routes.
- Removed clusters, endpoints, secrets, route configurations and the hosts of removed route
  configurations *linger* until everything else is acknowledged and some time has passed; a cluster that
  the older version of a refused resource routes to lingers as long as that stands in.
- A changed cluster warms again and waits for its endpoints: they are sent again.
- A route configuration that is new to the client is followed by all its hosts; hosts that would come
  before their route configuration would be dropped by Envoy. One that has no hosts is followed by the
  removal of a host that never was, because Envoy opens no listener before it has heard of hosts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.names import route_configuration_of
from mizzen.wire import TypeUrl
from mizzen_xds.change import NO_VIEW, Change, Part, View, find
from mizzen_xds.channel import NO_NAMES, Channel, Had, Unanswered, known_only
from mizzen_xds.domains import exchanging, units
from mizzen_xds.readiness import waiting
from mizzen_xds.subscription import first, hosts_of
from mizzen_xds.target import Rejection, Target

if TYPE_CHECKING:
    from mizzen.render.discovery import Request
    from mizzen_xds.change import Response
    from mizzen_xds.dialect import Dialect
    from mizzen_xds.settings import XdsSettings
    from mizzen_xds.shared import Shared
    from mizzen_xds.subscription import Subscription

_ORDER: Final = tuple(TypeUrl)
_REMOVAL_ORDER: Final[tuple[TypeUrl, ...]] = (
    TypeUrl.VIRTUAL_HOST,
    TypeUrl.ROUTE,
    TypeUrl.SECRET,
    TypeUrl.CLUSTER,
)
_ROUTING: Final = frozenset((TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.VIRTUAL_HOST))
_NOTHING: Final = Part((), (), ())


class Stream:
    """One proxy's stream."""

    __slots__ = (
        "_channels",
        "_dialect",
        "_due_s",
        "_early_clusters",
        "_held_since_s",
        "_is_holding",
        "_ordered",
        "_own_secrets",
        "_secrets",
        "_settings",
        "_shared",
        "_target",
        "is_settled",
        "was_settled",
    )

    def __init__(self, dialect: Dialect, shared: Shared, settings: XdsSettings) -> None:
        self._dialect = dialect
        self._shared = shared
        self._settings = settings
        self._channels: dict[TypeUrl, Channel] = {}
        self._ordered: list[Channel] = []
        self._target: Target | None = None
        # Those of the identity, and with them those that the target has, once the former are known.
        self._own_secrets: View | None = None
        self._secrets: View | None = None
        self._due_s: float | None = None
        self._held_since_s: float | None = None
        self._is_holding = False
        # Clusters that were sent before the client asked for endpoints.
        self._early_clusters: list[Part] = []
        self.is_settled = False
        # It once had everything that it was to have, so it is no newcomer any more.
        self.was_settled = False

    @property
    def target(self) -> Target | None:
        """What was last offered."""
        return self._target

    @property
    def wake_s(self) -> float | None:
        """When :meth:`advance` may have something to send though nothing else happened."""
        held = self._held_since_s
        limit = None if held is None else held + self._settings.hold_limit.total_seconds()
        times = [time for time in (self._due_s, limit) if time is not None]
        return min(times, default=None)

    def channel(self, type_url: TypeUrl) -> Channel | None:
        """Return the state of a type, ``None`` where it was not asked for."""
        return self._channels.get(type_url)

    def view(self, type_url: TypeUrl) -> View | None:
        """Return what the proxy is to have of a type, ``None`` where that is not known yet."""
        if type_url is TypeUrl.SECRET:
            return self._secrets
        return None if self._target is None else self._target.views[type_url]

    def has_acknowledged(self, type_url: TypeUrl, name: str) -> bool:
        """Tell whether the proxy has acknowledged what it is to have under a name, if it asks for it."""
        channel, view = self._channels.get(type_url), self.view(type_url)
        if channel is None or view is None or not channel.had.subscription.matches(name):
            return True
        entry, had = view.get(name), channel.acknowledged(name)
        if entry is None or had is None:
            return entry is None and had is None
        return entry.resource.version == had.version

    # What comes in

    def offer(self, target: Target) -> None:
        """Have the proxy brought to a target; what was not sent of an earlier one never is."""
        before, self._target = self._target, target
        views = target.views
        if before is None or before.views[TypeUrl.SECRET] is not views[TypeUrl.SECRET]:
            self._join_secrets()
        for channel in self._ordered:
            if channel.type is not TypeUrl.SECRET:
                channel.aim(views[channel.type])

    def offer_secrets(self, view: View) -> None:
        """Have the proxy brought to these secrets of its identity, besides those of the target."""
        self._own_secrets = view
        self._join_secrets()

    def _join_secrets(self) -> None:
        own = self._own_secrets
        if own is None:
            return
        shared = NO_VIEW if self._target is None else self._target.views[TypeUrl.SECRET]
        if shared.layers or shared.overrides:
            own = View((*own.layers, *shared.layers), {**shared.overrides, **own.overrides})
        self._secrets = own
        channel = self._channels.get(TypeUrl.SECRET)
        if channel is not None:
            channel.aim(own)

    def receive(self, request: Request) -> Rejection | None:
        """Take a request in; return the rejection that it brings."""
        if request.type is None or request.type not in self._dialect.types:
            return None
        channel = self._channels.get(request.type)
        if channel is None:
            self._open(request.type, request)
            return None
        rejection = self._answer(channel, request) if request.nonce else None
        if self._dialect.is_current(channel, request):
            step = self._dialect.step(channel.subscription, request)
            if step is not None:
                self._subscribe(channel, self._shared.intern(step), step.asked)
        return rejection

    def _open(self, type_url: TypeUrl, request: Request) -> None:
        step = first(request, type_url)
        subscription = self._shared.intern(step)
        apart = known_only(type_url, request.versions)
        had = Had(NO_VIEW, subscription, apart, step.asked.difference(apart))
        channel = Channel(type_url, subscription, had)
        channel.view = self.view(type_url)
        channel.initial = request.versions or None
        channel.claimed = request.version
        self._channels[type_url] = channel
        self._ordered = [self._channels[one] for one in _ORDER if one in self._channels]
        # Whoever comes back asks for one type after the other: nothing is taken away in between.
        self._due_s = None
        if type_url is TypeUrl.ENDPOINT:
            self._owe_endpoints(channel)
        elif type_url in (TypeUrl.ROUTE, TypeUrl.VIRTUAL_HOST):
            self._follow_routes()

    def _subscribe(
        self, channel: Channel, subscription: Subscription, asked: frozenset[str]
    ) -> None:
        channel.subscription = subscription
        channel.resubscribe(subscription, asked)
        if channel.type in (TypeUrl.ROUTE, TypeUrl.VIRTUAL_HOST):
            self._follow_routes()

    def _follow_routes(self) -> None:
        """Have the virtual hosts of the route configurations that are asked for."""
        hosts = self._channels.get(TypeUrl.VIRTUAL_HOST)
        routes = self._channels.get(TypeUrl.ROUTE)
        if hosts is not None and routes is not None:
            wanted = hosts_of(hosts.subscription, routes.subscription)
            if wanted != hosts.had.subscription:
                hosts.resubscribe(wanted, NO_NAMES)

    def _answer(self, channel: Channel, request: Request) -> Rejection | None:
        unanswered = channel.unanswered
        if unanswered is None or unanswered.nonce != request.nonce:
            return None
        if request.error is None:
            channel.acknowledge()
            return None
        part, before = unanswered.part, unanswered.before
        guilty = channel.refuse(request.error, units(channel.type, part, before))
        found = [
            (entry, before.entry(entry.resource.name))
            for entry in part.entries
            if entry.resource.name in guilty
        ]
        own = self._own_secrets
        if channel.type is TypeUrl.SECRET and own is not None:
            # Of the target's it is the whole class that is spared them.
            withheld = {name: None for name in guilty if find(own.layers, name) is not None}
            self.offer_secrets(View(own.layers, {**own.overrides, **withheld}))
        return Rejection(
            type=channel.type, text=request.error, names=part.names, guilty=tuple(found)
        )

    # What goes out

    def advance(self, now_s: float) -> list[Response]:
        """Return what may be sent now. A target that is not known yet gives nothing."""
        responses = []
        self._is_holding = False
        is_settled = True
        for channel in self._ordered:
            view = channel.view
            if view is None:
                continue
            if channel.unanswered is not None:
                is_settled = False
                continue
            had = channel.had
            if had is channel.clean and had.view is view and not had.lingering:
                # What nearly all types of nearly all streams are at any time; a call would cost more.
                continue
            if self._is_early(channel):
                continue
            response = self._turn(channel, view, now_s)
            if response is not None:
                responses.append(response)
            is_settled = is_settled and channel.is_settled(view)
        self.is_settled = is_settled and self._target is not None and bool(self._ordered)
        self.was_settled = self.was_settled or (self.is_settled and self._asks_for_all())
        if not self._is_holding:
            self._held_since_s = None
        elif self._held_since_s is None:
            self._held_since_s = now_s
        if responses or not self.is_settled:
            return responses
        return self._clean_up(now_s)

    def _asks_for_all(self) -> bool:
        """A newcomer asks for one type after the other, as it learns that there is something of it."""
        views = ((of, self.view(of)) for of in _ROUTING if of not in self._channels)
        return all(view is None or not any(view.names()) for _of, view in views)

    def _turn(self, channel: Channel, view: View, now_s: float) -> Response | None:
        """Return the next response of a type that has none unanswered."""
        if channel.had.lingering:
            self._recall_hosts(channel)
            if channel.is_clean(view):
                return None
        if channel.queue and channel.had.view is view:
            before = channel.had
            return self._sent(channel, channel.send_next(), before)
        if channel.type is TypeUrl.VIRTUAL_HOST and channel.had.is_blank:
            self._name_hostless(channel, view)
        change = channel.pending(self._shared, view)
        if not change:
            channel.settle(view)
            return self._first_answer(channel)
        before = channel.had
        held = self._held(channel, change, now_s)
        lingering = self._lingering(channel, change) if change.removed else NO_NAMES
        parts = self._shared.parts(change.without(held | lingering))
        part = channel.send(view, parts, held, lingering)
        if lingering:
            self._due_s = None
        if part is not None:
            return self._sent(channel, part, before)
        return None if held else self._first_answer(channel)

    def _is_early(self, channel: Channel) -> bool:
        """Which virtual hosts are meant is known only when the route configurations are asked for."""
        return (
            channel.type is TypeUrl.VIRTUAL_HOST
            and channel.subscription.wildcard
            and TypeUrl.ROUTE not in self._channels
        )

    def _first_answer(self, channel: Channel) -> Response | None:
        """A client that asks for everything waits for an answer, even if there is nothing."""
        if channel.answered or not channel.subscription.wildcard:
            return None
        return self._sent(channel, _NOTHING, channel.had)

    def _sent(self, channel: Channel, part: Part, before: Had) -> Response | None:
        channel.answered = True
        response = self._dialect.response(channel, part, self._shared)
        if response is not None:
            channel.unanswered = Unanswered(response.nonce, part, before)
            channel.nonce = response.nonce
        if channel.type is TypeUrl.CLUSTER:
            self._after_clusters(part)
        elif channel.type is TypeUrl.ROUTE:
            self._after_routes(part, before)
        return response

    def _after_clusters(self, part: Part) -> None:
        """A cluster that changed warms again, for which it needs its endpoints, or that it has none.

        Changed is whichever the client has endpoints of: those that come back after a rejection have
        clusters of which they do not say so.
        """
        endpoints = self._channels.get(TypeUrl.ENDPOINT)
        if endpoints is None:
            self._early_clusters.append(part)
            return
        wanted = endpoints.subscription.matches
        names = (entry.resource.name for entry in part.entries)
        endpoints.owe(frozenset(name for name in names if wanted(name)))

    def _owe_endpoints(self, endpoints: Channel) -> None:
        """Have endpoints sent again of clusters that were sent before they were subscribed to."""
        early, self._early_clusters = self._early_clusters, []
        if endpoints.initial is not None:
            had = endpoints.initial.keys()
            endpoints.owe(frozenset().union(*(part.names & had for part in early)))

    def _after_routes(self, part: Part, before: Had) -> None:
        """A route configuration that is new to the client has none of its hosts."""
        hosts, view = self._channels.get(TypeUrl.VIRTUAL_HOST), self.view(TypeUrl.VIRTUAL_HOST)
        if hosts is None or view is None or hosts.had.is_blank:
            return
        names = (entry.resource.name for entry in part.entries)
        new = frozenset(name for name in names if before.get(name) is None)
        if not new:
            return
        shared, had = self._shared, hosts.had
        apart = (name for name in had.apart if route_configuration_of(name) in new)
        theirs = shared.hosts(view.layers, new) | shared.hosts(had.view.layers, new)
        hosts.owe(theirs.union(apart) | shared.hostless(view.layers, new))

    def _name_hostless(self, hosts: Channel, view: View) -> None:
        """Have route configurations without hosts mentioned in the first answer about hosts."""
        if not hosts.had.owed:
            hosts.owe(self._shared.hostless(view.layers, hosts.had.subscription.names))

    # What waits

    def _held(self, channel: Channel, change: Change, now_s: float) -> frozenset[str]:
        held = channel.suspected(change)
        if channel.type not in _ROUTING or self._is_patience_over(now_s):
            return held
        names = waiting(self, self._shared, change)
        if not names:
            return held
        self._is_holding = True
        if channel.type is TypeUrl.VIRTUAL_HOST:
            names = exchanging(change, channel.had, names)
        return held | names

    def _is_patience_over(self, now_s: float) -> bool:
        since = self._held_since_s
        return since is not None and now_s >= since + self._settings.hold_limit.total_seconds()

    def _lingering(self, channel: Channel, change: Change) -> frozenset[str]:
        """Return what is to be removed, but later: all but listeners and hosts of living routes."""
        if channel.type is TypeUrl.LISTENER:
            return NO_NAMES
        routes = self.view(TypeUrl.ROUTE)
        if channel.type is TypeUrl.VIRTUAL_HOST and routes is not None:
            names = tuple(n for n in change.removed if not routes.get(route_configuration_of(n)))
        else:
            names = change.removed
        return frozenset(name for name in names if channel.had.get(name) is not None)

    def _recall_hosts(self, channel: Channel) -> None:
        """Hosts linger with their route configuration: where that has come back, those left go at once."""
        routes = self.view(TypeUrl.ROUTE)
        if channel.type is not TypeUrl.VIRTUAL_HOST or routes is None:
            return
        names = channel.had.lingering
        channel.recall([n for n in names if routes.get(route_configuration_of(n)) is not None])

    def _clean_up(self, now_s: float) -> list[Response]:
        """Return the removals of what has lingered long enough."""
        lingering = self._removable()
        if not lingering:
            self._due_s = None
        if not lingering or TypeUrl.LISTENER not in self._channels:
            return []
        if self._due_s is None:
            self._due_s = now_s + self._settings.linger.total_seconds()
        if now_s < self._due_s:
            return []
        # A client unsubscribes from the endpoints of a cluster that it loses; what it is still
        # subscribed to after that goes last.
        first_out = tuple(of for of in _REMOVAL_ORDER if of in lingering) or tuple(lingering)
        removals = [self._remove(self._channels[of], lingering[of]) for of in first_out]
        self.is_settled = all(self._channels[of].unanswered is None for of in lingering)
        return [response for response in removals if response is not None]

    def _removable(self) -> dict[TypeUrl, tuple[str, ...]]:
        """Return what lingers, but for the clusters that stand-ins of refused resources route to.

        Of what a client keeps in place of a withheld resource nobody knows where it routes to.
        """
        lingering: dict[TypeUrl, tuple[str, ...]] = {}
        for channel in self._ordered:
            if not channel.had.lingering:
                continue
            names = frozenset(channel.had.lingering)
            if channel.type in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT):
                is_unknown = any(ch.had.apart for ch in self._ordered if ch.type in _ROUTING)
                names = NO_NAMES if is_unknown else names - self._standing_in()
            if names:
                lingering[channel.type] = tuple(sorted(names))
        return lingering

    def _standing_in(self) -> frozenset[str]:
        views = [channel.view for channel in self._ordered if channel.type in _ROUTING]
        entries = (entry for view in views if view for entry in view.overrides.values())
        return NO_NAMES.union(*(entry.requires for entry in entries if entry is not None))

    def _remove(self, channel: Channel, names: tuple[str, ...]) -> Response | None:
        before = channel.had
        change = self._shared.exactly(channel.type, (), names)
        part = self._shared.parts(change)[0]
        channel.remove(part.names)
        return self._sent(channel, part, before)
