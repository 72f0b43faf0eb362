"""What has to wait for what: the rule of make before break, for one stream at one moment.

A listener, route configuration or virtual host may be sent once the clusters that it requires are
acknowledged (in whichever version: a changed cluster serves until its successor is warm) and their
endpoints are sent. A virtual host moreover needs its route configuration to be there.

What newly requires a cluster that there is not (yet) waits as well, so that a route may be written before
the rule or the service that it names. Nothing is lost by that: it would answer 503. Newcomers' first
configurations do not wait, nor does what the client has in a version with the same need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.names import route_configuration_of
from mizzen.wire import TypeUrl
from mizzen_xds.channel import NO_NAMES
from mizzen_xds.subscription import Subscription

if TYPE_CHECKING:
    from mizzen.bundle import Entry
    from mizzen_xds.change import Change, View
    from mizzen_xds.channel import Channel
    from mizzen_xds.shared import Shared
    from mizzen_xds.stream import Stream


_NOT_SUBSCRIBED: Final = Subscription()


def waiting(stream: Stream, shared: Shared, change: Change) -> frozenset[str]:
    """Return the names of a change that have to wait."""
    homeless = _homeless(stream, change) if change.type is TypeUrl.VIRTUAL_HOST else NO_NAMES
    missing = absent = NO_NAMES
    clusters = stream.channel(TypeUrl.CLUSTER) if change.requires else None
    # A client that names its clusters learns the names from its routes, so nothing waits for those.
    if clusters is not None and clusters.view is not None and clusters.subscription.wildcard:
        missing = _missing(stream, clusters, clusters.view, shared, change.requires)
        if stream.was_settled and missing != change.requires:
            absent = _absent(clusters, clusters.view, shared, change.requires)
    if not missing and not homeless and not absent:
        return NO_NAMES
    return frozenset(
        entry.resource.name
        for entry in change.entries
        if not entry.requires.isdisjoint(missing)
        or (homeless and route_configuration_of(entry.resource.name) in homeless)
        or (absent and _needs_anew(stream, entry, absent))
    )


def _absent(
    clusters: Channel, view: View, shared: Shared, required: frozenset[str]
) -> frozenset[str]:
    """Return those of the required clusters that neither the proxy has nor is to have."""
    missing = shared.missing(view.layers, required)
    return frozenset(name for name in missing if clusters.had.get(name) is None)


def _needs_anew(stream: Stream, entry: Entry, absent: frozenset[str]) -> bool:
    """Tell whether an entry needs something absent that the client's version of it does not."""
    channel = stream.channel(entry.resource.type)
    before = None if channel is None else channel.had.entry(entry.resource.name)
    needed = entry.requires & absent
    return bool(needed) and (before is None or not needed <= before.requires)


def _homeless(stream: Stream, change: Change) -> frozenset[str]:
    """Return the route configurations whose hosts are about to be sent and that the client lacks."""
    routes = stream.channel(TypeUrl.ROUTE)
    if routes is None:
        return NO_NAMES
    return frozenset(name for name in change.routes if routes.had.get(name) is None)


def _missing(
    stream: Stream, clusters: Channel, view: View, shared: Shared, required: frozenset[str]
) -> frozenset[str]:
    """Return those of the required clusters that cannot be routed to yet."""
    missing = _unacknowledged(clusters, view, shared, required)
    if missing != required:
        missing |= _without_endpoints(stream, shared, required)
    if not missing:
        return NO_NAMES
    if view.overrides:
        return frozenset(name for name in missing if view.get(name) is not None)
    return missing.difference(shared.missing(view.layers, missing))


def _unacknowledged(
    channel: Channel, view: View, shared: Shared, required: frozenset[str]
) -> frozenset[str]:
    missing = _unsent(channel, view, shared, required)
    unanswered = channel.unanswered
    if unanswered is None:
        return missing
    sent = required & unanswered.part.names
    if unanswered.before.is_blank:
        return missing | sent
    return missing | frozenset(name for name in sent if unanswered.before.get(name) is None)


def _unsent(
    channel: Channel, view: View, shared: Shared, required: frozenset[str]
) -> frozenset[str]:
    """Return what the client does not have even once it has taken in what is on its way."""
    had = channel.had
    if had.view is view and not (had.apart or had.owed or view.overrides):
        return NO_NAMES
    change = shared.difference(channel.type, had.view.layers, view.layers, had.subscription)
    open_names = required.intersection({*had.apart, *had.owed, *change.names, *view.overrides})
    return frozenset(name for name in open_names if had.get(name) is None)


def _without_endpoints(stream: Stream, shared: Shared, required: frozenset[str]) -> frozenset[str]:
    """Return the clusters that have endpoints which were not sent on this stream."""
    channel = stream.channel(TypeUrl.ENDPOINT)
    view = stream.view(TypeUrl.ENDPOINT) if channel is None else channel.view
    if view is None:
        return NO_NAMES
    if channel is None:
        return required & shared.uncovered(view.layers, _NOT_SUBSCRIBED)
    missing = required & shared.uncovered(view.layers, channel.subscription)
    unsent = _unsent(channel, view, shared, required)
    return missing | frozenset(name for name in unsent if view.get(name) is not None)
