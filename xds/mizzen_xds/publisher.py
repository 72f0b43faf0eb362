"""Brings every proxy to what its class is to have, and keeps account of what the proxies say.

Everything here runs in one thread, the event loop's, and does no I/O: a server hands in requests
(:meth:`Connection.receive`) and a callable that sends. An offered bundle is turned into responses for
all streams of its class before any answer is looked at. A stream has at most one response of a type
unanswered, and its next one is made from the newest bundle: a slow proxy is never sent what has been
superseded, and queues nothing.

Who a proxy is and which class it belongs to is told from outside: at once by ``classify``, or later by
:meth:`Publisher.reclassify`. Until its class has a bundle, a proxy is sent nothing.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from mizzen.wire import TypeUrl
from mizzen_xds.audience import Audience
from mizzen_xds.change import View
from mizzen_xds.dialect import DELTA
from mizzen_xds.inline import Inliner
from mizzen_xds.ledger import Convergence, Ledger, Member, Refusal
from mizzen_xds.metrics import Metrics
from mizzen_xds.shared import Shared
from mizzen_xds.stream import Stream
from mizzen_xds.words import readable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Mapping

    from mizzen.bundle import Bundle, Table
    from mizzen.clock import Clock
    from mizzen.identity import SpiffeId
    from mizzen.model.proxy import NodeInfo
    from mizzen_xds.change import Response
    from mizzen_xds.dialect import Dialect
    from mizzen_xds.settings import XdsSettings
    from mizzen_xds.target import Rejection


class SecretSource(Protocol):
    """Has the secrets of every identity."""

    def secrets(self, identity: SpiffeId) -> Table:
        """Return the secrets that an identity may have, by the names that Envoy asks for."""
        ...


class _Class:
    """A class of proxies: its newest bundle, and its proxies by dialect."""

    def __init__(self) -> None:
        self.bundle: Bundle | None = None
        self.audiences: dict[Dialect, Audience] = {}
        self.members: dict[Connection, None] = {}
        self._inliner = Inliner()

    def audience(self, dialect: Dialect) -> Audience:
        """Return the proxies that speak a dialect."""
        audience = self.audiences.get(dialect)
        if audience is None:
            audience = self.audiences[dialect] = Audience()
            if self.bundle is not None:
                audience.offer(self._translated(dialect, self.bundle))
        return audience

    def offer(self, bundle: Bundle) -> None:
        """Take in a new bundle."""
        self.bundle = bundle
        for dialect, audience in self.audiences.items():
            audience.offer(self._translated(dialect, bundle))

    def withdraw(self) -> None:
        """Let go of the bundle, but not of what was accepted and refused."""
        self.bundle = None
        for audience in self.audiences.values():
            audience.withdraw()

    def _translated(self, dialect: Dialect, bundle: Bundle) -> Bundle:
        return bundle if dialect is DELTA else self._inliner.bundle(bundle)


class Connection(Member):
    """One stream of one proxy, between the server that carries it and the publisher that fills it."""

    __slots__ = ("_acknowledged", "_publisher", "_send", "dialect")

    def __init__(
        self,
        publisher: Publisher,
        *,
        node: NodeInfo,
        identity: SpiffeId,
        dialect: Dialect,
        send: Callable[[list[Response]], None],
    ) -> None:
        stream = Stream(dialect, publisher.shared, publisher.settings)
        super().__init__(stream, node, identity, publisher.clock.now())
        self.dialect = dialect
        self._publisher = publisher
        self._send = send
        self._acknowledged: list[TypeUrl] = []

    def receive(self, *raw: bytes) -> None:
        """Take in requests that came together, and answer them together.

        What one of them frees need then not be looked for after each.

        Raises:
            BadRequestError: One of them is none; those before it count.
        """
        try:
            for one in raw:
                self._take(one)
        finally:
            self.push(self._publisher.now_s())
            acknowledged, self._acknowledged = self._acknowledged, []
            for type_url in acknowledged:
                self._note_acceptance(type_url)

    def _take(self, raw: bytes) -> None:
        request = self.dialect.parse(raw)
        type_url = request.type
        publisher = self._publisher
        if type_url is None:
            publisher.counters.unknown_requests_total += 1
            return
        publisher.counters.requests_total[type_url] += 1
        rejection = self.stream.receive(request)
        if type_url is TypeUrl.SECRET and self.stream.view(type_url) is None:
            self.stream.offer_secrets(View((publisher.secrets.secrets(self.identity),)))
        if rejection is not None:
            publisher.refused(self, rejection)
        elif request.nonce:
            self._acknowledged.append(type_url)

    def aim(self, now_s: float) -> None:
        """Bring the proxy to its class's newest target, from now on."""
        target = None if self.audience is None else self.audience.target
        if target is None:
            return
        self.stream.offer(target)
        if self.behind_since_s is None:
            self.behind_since_s = now_s
        self.push(now_s)

    def push(self, now_s: float) -> None:
        """Send what may be sent."""
        stream = self.stream
        responses = stream.advance(now_s)
        if responses:
            self._send(responses)
            self._publisher.sent(responses)
            self._publisher.lagging.add(self)
        if stream.is_settled and stream.target is not None:
            self.revision = stream.target.revision
            self._converged(now_s)

    def close(self) -> None:
        """Take the stream out of service."""
        self._publisher.disconnect(self)

    def _converged(self, now_s: float) -> None:
        since, self.behind_since_s = self.behind_since_s, None
        if since is not None:
            self.took_s = now_s - since
        if self in self._publisher.lagging:
            self._publisher.caught_up(self, since, now_s)

    def _note_acceptance(self, type_url: TypeUrl) -> None:
        channel, audience = self.stream.channel(type_url), self.audience
        if channel is None or channel.view is None or audience is None:
            return
        if channel.is_settled(channel.view):
            audience.accept(type_url, channel.view, channel.had.subscription)


class Publisher:
    """All streams of a control plane."""

    def __init__(
        self,
        *,
        secrets: SecretSource,
        clock: Clock,
        settings: XdsSettings,
        classify: Callable[[NodeInfo], Awaitable[Hashable] | Hashable] | None = None,
        on_proxies_changed: Callable[[Mapping[str, NodeInfo]], None] | None = None,
    ) -> None:
        self.secrets = secrets
        self.clock = clock
        self.settings = settings
        self.shared = Shared(response_limit_bytes=settings.response_limit_bytes)
        self.counters = Metrics()
        self.lagging: set[Connection] = set()
        self.ledger = Ledger(
            members=lambda: self._connections,
            audiences=self._audiences,
            refusals_kept=settings.rejections_kept,
        )
        self._classify = classify
        self._on_proxies_changed = on_proxies_changed
        self._connections: dict[Connection, None] = {}
        self._by_node: dict[str, dict[Connection, None]] = {}
        self._nodes: dict[str, NodeInfo] = {}
        self._classes: dict[Hashable, _Class] = {}
        self._forgotten: dict[Hashable, None] = {}
        self._revision = -1
        self._offered_s = 0.0
        self._converged_revision = -1

    @property
    def metrics(self) -> Metrics:
        """The counters, and the gauges as they are now."""
        counters = self.counters
        counters.streams = len(self._connections)
        counters.lagging_streams = len(self.lagging)
        held = (len(audience.quarantine) for _, audience in self._audiences())
        counters.quarantined_resources = sum(held)
        return counters

    # From the compiler

    def offer(self, class_key: Hashable, bundle: Bundle) -> None:
        """Bring all proxies of a class to a bundle."""
        now_s = self.now_s()
        if bundle.revision != self._revision:
            self._revision, self._offered_s = bundle.revision, now_s
            self.shared.next_generation()
        of = self._class(class_key)
        self._forgotten.pop(class_key, None)
        of.offer(bundle)
        for connection in of.members:
            connection.aim(now_s)

    def reclassify(self, proxy: str, class_key: Hashable) -> None:
        """Move a proxy, by its node id, to a class; it keeps what it has until that has a bundle."""
        for connection in tuple(self._by_node.get(proxy, ())):
            self._join(connection, class_key)
            connection.aim(self.now_s())

    def forget(self, class_key: Hashable) -> None:
        """Let go of a class's bundle; what it accepted and refused is remembered for a while."""
        of = self._classes.get(class_key)
        if of is None:
            return
        of.withdraw()
        self._forgotten.pop(class_key, None)
        self._forgotten[class_key] = None
        while len(self._forgotten) > self.settings.empty_classes:
            oldest = next(iter(self._forgotten))
            del self._forgotten[oldest]
            if not self._classes[oldest].members:
                del self._classes[oldest]

    def secrets_changed(self, identities: Collection[SpiffeId]) -> None:
        """Send the new secrets of some identities."""
        changed = frozenset(identities)
        for connection in self._connections:
            if connection.identity in changed and connection.stream.view(TypeUrl.SECRET):
                table = self.secrets.secrets(connection.identity)
                connection.stream.offer_secrets(View((table,)))
                connection.push(self.now_s())

    # From the server

    async def connect(
        self,
        *,
        node: NodeInfo,
        identity: SpiffeId,
        dialect: Dialect,
        send: Callable[[list[Response]], None],
    ) -> Connection:
        """Take a stream into service; its first request is then given to it like all others."""
        connection = Connection(self, node=node, identity=identity, dialect=dialect, send=send)
        class_key = None if self._classify is None else self._classify(node)
        if inspect.isawaitable(class_key):
            class_key = await class_key
        self._connections[connection] = None
        self._by_node.setdefault(node.id, {})[connection] = None
        self._nodes[node.id] = node
        if class_key is not None:
            self._join(connection, class_key)
            connection.aim(self.now_s())
        self._proxies_changed()
        return connection

    def disconnect(self, connection: Connection) -> None:
        """Take a stream out of service."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        of_node = self._by_node[connection.node.id]
        del of_node[connection]
        if not of_node:
            del self._by_node[connection.node.id]
            del self._nodes[connection.node.id]
        self._leave(connection)
        self.lagging.discard(connection)
        self._proxies_changed()

    def tick(self) -> None:
        """Send what only the passing of time has made due."""
        now_s = self.now_s()
        for connection in list(self._connections):
            wake_s = connection.stream.wake_s
            if wake_s is not None and wake_s <= now_s:
                connection.push(now_s)

    # From the connections

    def now_s(self) -> float:
        """The present moment, in seconds since the epoch."""
        return self.clock.now().timestamp()

    def sent(self, responses: list[Response]) -> None:
        """Count responses."""
        for response in responses:
            self.counters.responses_total[response.type] += 1
            self.counters.response_bytes_total[response.type] += response.size

    def refused(self, connection: Connection, rejection: Rejection) -> None:
        """Keep a rejection, and spare the class what is found guilty."""
        rejection = replace(rejection, text=readable(rejection.text))
        self.counters.rejections_total[rejection.type] += 1
        self.ledger.record_refusal(_refusal(connection, rejection, self))
        audience = connection.audience
        if audience is None or audience.refuse(rejection) is None:
            return
        of = self._classes[connection.class_key]
        for member in of.members:
            if member.audience is audience and member is not connection:
                member.aim(self.now_s())
        connection.aim(self.now_s())

    def caught_up(self, connection: Connection, since_s: float | None, now_s: float) -> None:
        """Take note that a proxy has everything that it is to have."""
        self.lagging.discard(connection)
        if since_s is not None:
            self.counters.convergence.observe(now_s - since_s)
        # Who reconnects later, or is given other secrets, does not bring the revision into force anew.
        if not self.lagging and self._converged_revision != self._revision:
            self._converged_revision = self._revision
            took = timedelta(seconds=now_s - self._offered_s)
            self.ledger.record_convergence(Convergence(revision=self._revision, took=took))

    # Within

    def _class(self, class_key: Hashable) -> _Class:
        known = self._classes.get(class_key)
        if known is None:
            known = self._classes[class_key] = _Class()
        return known

    def _join(self, connection: Connection, class_key: Hashable) -> None:
        if connection.class_key == class_key and connection.audience is not None:
            return
        self._leave(connection)
        of = self._class(class_key)
        of.members[connection] = None
        connection.class_key = class_key
        connection.audience = of.audience(connection.dialect)

    def _leave(self, connection: Connection) -> None:
        if connection.audience is not None:
            self._classes[connection.class_key].members.pop(connection, None)

    def _audiences(self) -> Iterator[tuple[Hashable, Audience]]:
        """Yield those that have a bundle: what the others refused may be mended, and nobody would say so."""
        for key, of in self._classes.items():
            for audience in of.audiences.values():
                if audience.target is not None:
                    yield key, audience

    def _proxies_changed(self) -> None:
        if self._on_proxies_changed is not None:
            self._on_proxies_changed(self._nodes.copy())


def _refusal(connection: Connection, rejection: Rejection, publisher: Publisher) -> Refusal:
    guilty = [entry for entry, _ in rejection.guilty]
    names = [entry.resource.name for entry in guilty] or sorted(rejection.names)
    origins = {origin: None for entry in guilty for origin in entry.origins}
    return Refusal(
        proxy=connection.node.id,
        type=rejection.type,
        names=tuple(names),
        text=rejection.text,
        origins=tuple(origins),
        at=publisher.clock.now(),
        is_found=bool(guilty),
    )
