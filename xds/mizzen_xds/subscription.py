"""What a client asks for of one type, as a value; every request gives the next value.

The rules are the xDS protocol's ("How the client specifies what resources to return"):

- a first request without names subscribes to everything, for the types that know a wildcard;
- ``*`` does so for any type, and ends by unsubscribing from ``*`` (delta) or leaving it out (state of
  the world);
- in delta, names are added and removed; naming one again asks for it to be sent again; in state of the
  world, each request carries all names.

VHDS is special: Envoy sends one request without names for all its route configurations, so the hosts to
send are those of the route configurations subscribed to by RDS (:func:`hosts_of`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mizzen.names import route_configuration_of
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from mizzen.render.discovery import Request

WILDCARD: Final = "*"

# A new service makes the same step of a thousand streams; steps refer to sets of all their names.
_STEPS_KEPT: Final = 64

_WILDCARD_TYPES: Final = frozenset((TypeUrl.CLUSTER, TypeUrl.LISTENER, TypeUrl.VIRTUAL_HOST))


@dataclass(frozen=True, slots=True)
class Subscription:
    """What is asked for of one type.

    Attributes:
        by_route: ``names`` are route configurations, and their virtual hosts are meant.
        legacy: The wildcard came from a first request without names; in state of the world it ends as
            soon as names come.
    """

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    by_route: bool = False
    legacy: bool = False
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        content = (self.wildcard, self.names, self.by_route, self.legacy)
        object.__setattr__(self, "_hash", hash(content))

    def __hash__(self) -> int:
        """Return the hash, made once: subscriptions are parts of the keys of all that is shared."""
        return self._hash

    def matches(self, name: str) -> bool:
        """Tell whether a resource of this name is asked for."""
        if self.wildcard:
            return True
        return (route_configuration_of(name) if self.by_route else name) in self.names


@dataclass(frozen=True, slots=True)
class Step:
    """A subscription after a request, and the names that the request wants an answer about."""

    subscription: Subscription
    asked: frozenset[str] = frozenset()


def first(request: Request, type_url: TypeUrl) -> Step:
    """Return the subscription that a type's first request of a stream makes, in either dialect."""
    named = frozenset(request.subscribe)
    legacy = not named and type_url in _WILDCARD_TYPES
    names = named - {WILDCARD}
    wildcard = legacy or WILDCARD in named
    return Step(Subscription(wildcard=wildcard, names=names, legacy=legacy), names)


def next_delta(current: Subscription, request: Request) -> Step:
    """Return the subscription after a later delta request.

    Under a wildcard a name that is unsubscribed from is asked about too: the client may have forgotten
    it, and is owed it again.
    """
    return _next_delta(current, request.subscribe, request.unsubscribe)


@lru_cache(maxsize=_STEPS_KEPT)
def _next_delta(
    current: Subscription, subscribe: tuple[str, ...], unsubscribe: tuple[str, ...]
) -> Step:
    added, dropped = frozenset(subscribe), frozenset(unsubscribe)
    wildcard = (current.wildcard and WILDCARD not in dropped) or WILDCARD in added
    asked = added - {WILDCARD}
    names = (current.names - dropped) | asked
    if wildcard:
        asked |= dropped - {WILDCARD}
    legacy = current.legacy and wildcard
    return Step(Subscription(wildcard=wildcard, names=names, legacy=legacy), asked)


def next_state_of_the_world(current: Subscription, request: Request) -> Step:
    """Return the subscription after a later state-of-the-world request, which carries all names."""
    named = frozenset(request.subscribe)
    if not named and current.legacy:
        return Step(current)
    names = named - {WILDCARD}
    subscription = Subscription(wildcard=WILDCARD in named, names=names)
    return Step(subscription, frozenset() if current.wildcard else names - current.names)


def hosts_of(hosts: Subscription, routes: Subscription) -> Subscription:
    """Return the virtual hosts that are meant, given what is asked for of both types."""
    if not hosts.wildcard or routes.wildcard:
        return hosts
    return Subscription(names=routes.names, by_route=True)
