"""The proxies of one class that speak one dialect: what they are to have, and what they refused.

A resource that one of them refuses is *quarantined* for all of them: it goes back to the version that
the class accepted last, which is also what new proxies get, or is withheld where there was none. The
quarantine of a resource ends when the compiler gives it another version.

What routes to a withheld cluster shares its fate: it goes back to what it was, so that a refused cluster
costs no request that was served before.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from mizzen.wire import TypeUrl
from mizzen_xds.change import View
from mizzen_xds.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.bundle import Bundle, Entry
    from mizzen_xds.change import Layers
    from mizzen_xds.subscription import Subscription
    from mizzen_xds.target import Rejection

Place = tuple[TypeUrl, str]

# Proxies of a class ask for the same things, but for moments in which some are a step ahead.
_SUBSCRIPTIONS_KEPT: Final = 4

_TYPES: Final = tuple(TypeUrl)
_NOTHING: Final[Mapping[Place, Quarantined]] = MappingProxyType({})
_NO_VIEWS: Final[Mapping[TypeUrl, View]] = MappingProxyType({})
_NO_OVERRIDES: Final[Mapping[str, Entry | None]] = {}
_ROUTING: Final = (TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.VIRTUAL_HOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A refused entry, what stands in its place (``None``: it is withheld), and the proxy's words."""

    guilty: Entry
    instead: Entry | None
    text: str


class Audience:
    """What a class is to have, in the form of one dialect."""

    def __init__(self) -> None:
        self.target: Target | None = None
        self.quarantine: Mapping[Place, Quarantined] = _NOTHING
        self._refused: dict[Place, Quarantined] = {}
        # By what was subscribed to, the latest last: a proxy accepts no more than it asks for.
        self._accepted: dict[TypeUrl, dict[Subscription, View]] = {}
        self._bundle: Bundle | None = None

    def offer(self, bundle: Bundle) -> Target:
        """Take in a new bundle and return what the proxies are to have."""
        self._bundle = bundle
        self._refused = {
            place: held for place, held in self._refused.items() if _is_same(bundle, place, held)
        }
        return self._aim(bundle)

    def withdraw(self) -> None:
        """Have nothing to offer until there is a new bundle."""
        self.target = None
        self._bundle = None

    def accept(self, type_url: TypeUrl, view: View, subscription: Subscription) -> None:
        """Take note that a proxy has acknowledged all of a view that it asks for."""
        views = self._accepted.setdefault(type_url, {})
        views.pop(subscription, None)
        views[subscription] = view
        if len(views) > _SUBSCRIPTIONS_KEPT:
            del views[next(iter(views))]

    def refuse(self, rejection: Rejection) -> Target | None:
        """Quarantine what is guilty; return what the proxies are to have instead, if it differs."""
        bundle = self._bundle
        if bundle is None:
            return None
        found = dict(self._found(bundle, rejection))
        if not found:
            return None
        self._refused |= found
        return self._aim(bundle)

    def _found(self, bundle: Bundle, rejection: Rejection) -> Iterator[tuple[Place, Quarantined]]:
        """Yield what is to be quarantined: what was superseded meanwhile is not."""
        for entry, before in rejection.guilty:
            place = rejection.type, entry.resource.name
            offered = bundle.get(*place)
            held = self._refused.get(place)
            if offered is not None and offered.resource == entry.resource:
                instead = self._instead(entry, before)
                yield place, Quarantined(guilty=entry, instead=instead, text=rejection.text)
            elif held is not None and held.instead is not None and _is_in(entry, held.instead):
                # What stood in is refused as well: then there is nothing to stand in.
                yield place, Quarantined(guilty=held.guilty, instead=None, text=held.text)

    def _instead(self, guilty: Entry, before: Entry | None) -> Entry | None:
        """Return the version last accepted by the class, or else by the proxy that refused."""
        resource = guilty.resource
        accepted = self._latest_accepted(resource.type, resource.name)
        for entry in (accepted, before):
            if entry is not None and entry.resource.version != resource.version:
                return entry
        return None

    def _latest_accepted(self, type_url: TypeUrl, name: str) -> Entry | None:
        for subscription, view in reversed(self._accepted.get(type_url, {}).items()):
            if subscription.matches(name):
                return view.get(name)
        return None

    def _dependents(self, bundle: Bundle) -> Iterator[tuple[Place, Quarantined]]:
        """Yield what routes to clusters that are withheld."""
        withheld = {
            name: held.text
            for (of, name), held in self._refused.items()
            if of is TypeUrl.CLUSTER and held.instead is None
        }
        for type_url in _ROUTING if withheld else ():
            for table in bundle.layers(type_url):
                for name, entry in table.items():
                    missing = min(entry.requires & withheld.keys(), default=None)
                    if missing is not None:
                        text = f"needs cluster {missing}, which was refused: {withheld[missing]}"
                        instead = self._instead(entry, None)
                        yield (
                            (type_url, name),
                            Quarantined(guilty=entry, instead=instead, text=text),
                        )

    def _aim(self, bundle: Bundle) -> Target:
        self.quarantine = (
            {**dict(self._dependents(bundle)), **self._refused} if self._refused else _NOTHING
        )
        before = _NO_VIEWS if self.target is None else self.target.views
        tables = bundle.tables
        views = {of: self._view(of, tables.get(of, ()), before.get(of)) for of in _TYPES}
        self.target = Target(revision=bundle.revision, views=views)
        return self.target

    def _view(self, type_url: TypeUrl, layers: Layers, before: View | None) -> View:
        """Return the view of a type: the same object as before where nothing of it has changed."""
        if before is not None and before.layers is layers and not self.quarantine:
            return View(layers) if before.overrides else before
        overrides = _NO_OVERRIDES
        if self.quarantine:
            held = self.quarantine.items()
            overrides = {name: one.instead for (of, name), one in held if of is type_url}
        if before is not None and before.overrides == overrides and _same(before.layers, layers):
            return before
        return View(layers, overrides)


def _same(older: Layers, newer: Layers) -> bool:
    if older is newer:
        return True
    return len(older) == len(newer) and all(map(is_, older, newer))


def _is_in(entry: Entry, other: Entry) -> bool:
    return entry.resource == other.resource


def _is_same(bundle: Bundle, place: Place, held: Quarantined) -> bool:
    entry = bundle.get(*place)
    return entry is not None and entry.resource.version == held.guilty.resource.version
