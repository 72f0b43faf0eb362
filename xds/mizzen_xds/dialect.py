"""The two dialects of the protocol: what a request means in each, and how a response is written.

Delta says what changed. State of the world repeats: a request carries all names that are wanted, and a
response all clusters or all listeners; of the other types it may carry only those that changed, and
nothing can be said of a removal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mizzen.render.discovery import (
    joint_version,
    parse_delta,
    parse_state_of_the_world,
    splice_state_of_the_world,
    state_of_the_world_trailer,
)
from mizzen.wire import TypeUrl
from mizzen_xds.change import Response
from mizzen_xds.channel import COMPLETE
from mizzen_xds.subscription import next_delta, next_state_of_the_world

if TYPE_CHECKING:
    from mizzen.render.discovery import Request
    from mizzen_xds.change import Part
    from mizzen_xds.channel import Channel
    from mizzen_xds.shared import Shared
    from mizzen_xds.subscription import Step, Subscription


class Dialect(Protocol):
    """How one kind of stream reads and writes."""

    @property
    def types(self) -> frozenset[TypeUrl]:
        """The types that it can carry."""
        ...

    def parse(self, raw: bytes) -> Request:
        """Return a request; ``BadRequestError`` where the bytes are none."""
        ...

    def is_current(self, channel: Channel, request: Request) -> bool:
        """Tell whether what a request asks for counts, or was overtaken by a response."""
        ...

    def step(self, current: Subscription, request: Request) -> Step | None:
        """Return what a later request makes of a subscription, ``None`` where it leaves it."""
        ...

    def response(self, channel: Channel, part: Part, shared: Shared) -> Response | None:
        """Return the response that carries a part, ``None`` where there is nothing to say."""
        ...


class Delta:
    """``DeltaAggregatedResources``."""

    types: Final = frozenset(TypeUrl)

    def parse(self, raw: bytes) -> Request:
        return parse_delta(raw)

    def is_current(self, channel: Channel, request: Request) -> bool:
        """Names come and go one by one, so none of it is ever stale."""
        return True

    def step(self, current: Subscription, request: Request) -> Step | None:
        if not (request.subscribe or request.unsubscribe):
            return None
        return next_delta(current, request)

    def response(self, channel: Channel, part: Part, shared: Shared) -> Response | None:
        return shared.response(channel.type, part)


class StateOfTheWorld:
    """``StreamAggregatedResources``. Virtual hosts travel inside of their route configurations."""

    types: Final = frozenset(TypeUrl) - {TypeUrl.VIRTUAL_HOST}

    def parse(self, raw: bytes) -> Request:
        return parse_state_of_the_world(raw)

    def is_current(self, channel: Channel, request: Request) -> bool:
        """A request that answers an older response will be followed by one that answers the latest."""
        return request.nonce in ("", channel.nonce)

    def step(self, current: Subscription, request: Request) -> Step | None:
        step = next_state_of_the_world(current, request)
        return None if step.subscription == current else step

    def response(self, channel: Channel, part: Part, shared: Shared) -> Response | None:
        if channel.type in COMPLETE:
            resources = tuple(channel.had.resources())
        elif part.entries:
            resources = tuple(entry.resource for entry in part.entries)
        else:
            return None
        nonce = shared.nonce()
        parts = (
            splice_state_of_the_world(resources),
            state_of_the_world_trailer(channel.type, nonce, joint_version(resources)),
        )
        return Response(channel.type, nonce, parts, sum(map(len, parts)))


DELTA: Final[Dialect] = Delta()
STATE_OF_THE_WORLD: Final[Dialect] = StateOfTheWorld()
