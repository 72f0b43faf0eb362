"""Watching by kopf: every change of the watched kinds, as it happens; the only file that knows kopf.

Only ``kopf.on.event`` is used: the handlers of higher levels write annotations and finalizers into
users' objects. What kopf does for those handlers at each event, and keeps for them of each object, is
left out: of 6,500 objects it takes 5 s of processor and 100 MB.

Lists are ours. Where kopf would list a kind, at its start and whenever a server says «410 Gone», the
source does, which then knows what has vanished meanwhile (kopf 1.45 does not), and takes half the
processor's time; kopf is told of an empty list, and from which version on to watch.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import parse_qs, urlsplit

import kopf
from kopf._core.engines.peering import Identity
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory
from typing_extensions import override

from mizzen_operator.kube.client import open_session

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        MutableMapping,
    )

    import aiohttp

    from mizzen_operator.kube.connection import Connection
    from mizzen_operator.kube.paths import Resource

# Each object's worker is kept this long for its next event; at a start, when every object has its
# first, a second of that is as many megabytes as there are thousands of objects.
_IDLE_SECONDS: Final = 0.1
# An outage ends when it ends: waiting ever longer between attempts would add to it.
_RETRY_SECONDS: Final = 1.0
# How long kopf's tasks may take to end once they are told to.
_END_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told of what a watch sees; called in the loop that the watch runs in.

    Attributes:
        on_change: An object is there, or has changed.
        on_gone: An object is gone.
        relist: Brings the source up to date with a kind, named by its plural, and returns the version
            from which on to watch.
        on_trouble: Something went wrong that the watch itself mends.
    """

    on_change: Callable[[dict[str, Any]], None]
    on_gone: Callable[[dict[str, Any]], None]
    relist: Callable[[str], Awaitable[str]]
    on_trouble: Callable[[str], None]


async def watch(
    connection: Connection,
    resources: Iterable[Resource],
    watcher: Watcher,
    stop: asyncio.Event,
) -> None:
    """Watch until told to stop. Raises whatever ends a watch that cannot go on."""
    _route_logs(watcher.on_trouble)
    kinds = tuple(resources)
    async with AsyncExitStack() as sessions, _all_ended():
        await kopf.operator(
            registry=_registry(connection, kinds, watcher, sessions),
            settings=_settings(kinds),
            memories=_NoMemories(),
            # Else kopf asks for the user's name, and a container's user may have none.
            identity=Identity("mizzen"),
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
        )


@asynccontextmanager
async def _all_ended() -> AsyncIterator[None]:
    """Leave no task behind of those that began within.

    kopf, cancelled in the moment in which it starts, forgets those that it had made by then; they
    would keep its session open, and end when the loop is gone.
    """
    others = asyncio.all_tasks()
    try:
        yield
    except asyncio.CancelledError:
        left = asyncio.all_tasks() - others
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_END_SECONDS)
        raise


def _registry(
    connection: Connection,
    kinds: tuple[Resource, ...],
    watcher: Watcher,
    sessions: AsyncExitStack,
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    plurals = frozenset(kind.plural for kind in kinds)

    async def login(**_: object) -> kopf.AiohttpSession:
        session = _Session(open_session(connection), plurals, watcher.relist)
        # kopf closes it only where it ends by itself.
        sessions.push_async_callback(session.close)
        return kopf.AiohttpSession(
            server=connection.server, aiohttp_session=cast("aiohttp.ClientSession", session)
        )

    # A coroutine, though it waits for nothing: kopf calls plain functions in threads.
    async def on_event(event: Mapping[str, Any], **_: object) -> None:
        tell = watcher.on_gone if event["type"] == "DELETED" else watcher.on_change
        tell(event["object"])

    kopf.on.login(registry=registry, errors=kopf.ErrorsMode.TEMPORARY)(login)
    for kind in kinds:
        kopf.on.event(*_selector(kind), registry=registry)(on_event)
    return registry


def _selector(kind: Resource) -> tuple[str, ...]:
    """Return a kind as kopf selects it: of a group that is not the core's, in the version it prefers."""
    return (kind.group, kind.plural) if kind.group else ("", "v1", kind.plural)


def _settings(kinds: tuple[Resource, ...]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    # Which kinds there are is looked after by the source, without a copy of every CRD in the cluster.
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.queueing.error_delays = (_RETRY_SECONDS,)
    settings.networking.error_backoffs = _Forever()
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.process.ultimate_exiting_timeout = None
    for kind in kinds:
        selected = (kind.group, kind.versions[0], kind.plural)
        if kind.fields:
            settings.watching.field_selectors[selected] = kind.fields
        if kind.labels:
            settings.watching.label_selectors[selected] = kind.labels
    return settings


class _Session:
    """What kopf needs of an HTTP session, with lists of the watched kinds made by the source."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        plurals: frozenset[str],
        relist: Callable[[str], Awaitable[str]],
    ) -> None:
        self._session = session
        self._plurals = plurals
        self._relist = relist

    @property
    def headers(self) -> MutableMapping[str, str]:
        """What is sent with each request."""
        return self._session.headers

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._session.closed

    async def request(
        self,
        *,
        method: str,
        url: str,
        **options: Any,  # noqa: ANN401  whatever aiohttp takes
    ) -> aiohttp.ClientResponse | _EmptyList:
        """Send a request, or answer it by the source."""
        address = urlsplit(url)
        plural = address.path.rpartition("/")[2]
        is_watch = "watch" in parse_qs(address.query)
        if method != "get" or plural not in self._plurals or is_watch:
            return await self._session.request(method=method, url=url, **options)
        return _EmptyList(await self._relist(plural))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


class _EmptyList:
    """The answer to a list, as much of it as kopf looks at: nothing, as of a version."""

    status: Final = 200

    def __init__(self, version: str) -> None:
        self._version = version

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def json(self) -> dict[str, Any]:
        """Return the list."""
        return {"metadata": {"resourceVersion": self._version}, "items": []}


class _Forever:
    """Pauses between attempts, without an end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.repeat(_RETRY_SECONDS)


class _NoDifferences(kopf.DiffBaseStorage):
    """Compares nothing: a deep copy of every object at every event serves handlers that we have none of."""

    @override
    def build(self, *, body: object, extra_fields: object = None) -> Any:
        return {}

    @override
    def fetch(self, *, body: object) -> None:
        return None

    @override
    def store(self, *, body: object, patch: object, essence: object) -> None:
        raise AssertionError("nothing is ever written into a user's object")


class _NoMemories(ResourceMemories):
    """Remembers nothing of any object between its events."""

    @override
    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class _Route(logging.Handler):
    """Hands warnings of kopf's to our own log."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    @override
    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # Signals are the composition root's, and so it has to be.
        if not message.startswith("OS signals are ignored"):
            self._tell(message)


def _route_logs(tell: Callable[[str], None]) -> None:
    logger = logging.getLogger("kopf")
    logger.handlers = [_Route(tell)]
    logger.setLevel(logging.WARNING)
    logger.propagate = False
