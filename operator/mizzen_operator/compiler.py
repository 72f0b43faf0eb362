"""The compiler's thread: changes in, bundles out, and never an old one after a new one.

One thread owns the :class:`~mizzen.compile.Compiler`. What waits for it is not a queue but one merged
batch and one set of proxies: the first change is compiled at once, and what comes while it is being
compiled is the next round, however much it is. The thread is there because compiling takes the
processor for milliseconds to seconds, and streams must be served meanwhile.

A round is: take the batch in, ask for the class of every proxy, pull the bundles of the live classes, hand
over what differs from the last round. Analysing the whole mesh comes after that, when no change waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mizzen.model.world import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mizzen.bundle import Bundle
    from mizzen.diagnostics import Diagnostic
    from mizzen.model.proxy import NodeInfo, ProxyClass
    from mizzen.model.world import Object
    from mizzen.names import ObjectKey
    from mizzen.resolve.allocation import Given

    Findings = tuple[Diagnostic, ...]


class MeshCompiler(Protocol):
    """What the thread needs of :class:`mizzen.compile.Compiler`."""

    def commit(self, batch: Batch) -> int:
        """Take a batch in and return the revision."""
        ...

    def warm(self) -> None:
        """Make what the first proxies will ask for."""
        ...

    def classify(self, node: NodeInfo) -> ProxyClass:
        """Return the class of a proxy."""
        ...

    def bundle(self, proxies: ProxyClass) -> Bundle:
        """Return the configuration of a class."""
        ...

    def forget(self, proxies: ProxyClass) -> None:
        """Let go of a class."""
        ...

    def forget_node(self, node: NodeInfo) -> None:
        """Let go of a proxy."""
        ...

    def analyze(self) -> Mapping[ObjectKey, tuple[Diagnostic, ...]]:
        """Return the findings on all objects."""
        ...

    def given_addresses(self) -> Mapping[ObjectKey, Given]:
        """Return the addresses that hosts without any were given."""
        ...

    def consider(self, key: ObjectKey, item: Object) -> tuple[Diagnostic, ...]:
        """Return the findings on an object that is not there yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round changed.

    Attributes:
        batch: The changes that were compiled, if there were any.
        classes: The proxies that are new or changed their class.
        bundles: The classes that are new or whose configuration changed.
        gone: The classes that no proxy has any more.
        is_complete: The sources have told everything; nothing is handed over before.
        seconds: How long it took.
    """

    revision: int
    batch: Batch | None
    classes: Mapping[str, ProxyClass]
    bundles: Mapping[ProxyClass, Bundle]
    gone: frozenset[ProxyClass]
    is_complete: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class _Question:
    """An object that somebody asks about, and where the answer goes."""

    key: ObjectKey
    item: Object
    answer: asyncio.Future[Findings]

    def settle(self, findings: Findings) -> None:
        if not self.answer.done():
            self.answer.set_result(findings)


@dataclass(slots=True)
class _Waiting:
    """What has come since the last round began."""

    changes: Batch | None = None
    proxies: Mapping[str, NodeInfo] | None = None
    questions: list[_Question] = field(default_factory=list)
    stop: bool = False

    def __bool__(self) -> bool:
        return self.stop or self.has_news or bool(self.questions)

    @property
    def has_news(self) -> bool:
        """Whether there is anything to compile."""
        return self.changes is not None or self.proxies is not None


@dataclass(slots=True)
class _Live:
    """What the last round handed over."""

    proxies: Mapping[str, NodeInfo] = field(default_factory=dict)
    classes: dict[str, ProxyClass] = field(default_factory=dict)
    bundles: dict[ProxyClass, Bundle] = field(default_factory=dict)


class CompilerThread:
    """Runs a compiler. ``submit`` and ``set_proxies`` may be called from any thread.

    ``on_round``, ``on_findings`` and ``on_given`` are called in the event loop that :meth:`run` runs in.
    """

    def __init__(
        self,
        compiler: MeshCompiler,
        *,
        on_round: Callable[[Round], None],
        on_findings: Callable[[Mapping[ObjectKey, tuple[Diagnostic, ...]]], None],
        on_given: Callable[[Mapping[ObjectKey, Given]], None] = lambda _: None,
    ) -> None:
        self._compiler = compiler
        self._on_round = on_round
        self._on_findings = on_findings
        self._on_given = on_given
        self._wake = threading.Condition()
        self._waiting = _Waiting()
        self._live = _Live()
        self._is_complete = False
        self._revision = 0

    def submit(self, batch: Batch) -> None:
        """Have changes compiled."""
        with self._wake:
            self._waiting.changes = merge(self._waiting.changes, batch)
            self._wake.notify()

    def set_proxies(self, proxies: Mapping[str, NodeInfo]) -> None:
        """Say which proxies are connected now, by their ids."""
        with self._wake:
            self._waiting.proxies = proxies
            self._wake.notify()

    async def consider(self, key: ObjectKey, item: Object) -> Findings:
        """Return what would be wrong about an object, were it in force; what has come before comes first.

        Nothing is known to be wrong before the sources have told everything.
        """
        question = _Question(key, item, asyncio.get_running_loop().create_future())
        with self._wake:
            self._waiting.questions.append(question)
            self._wake.notify()
        return await question.answer

    async def run(self) -> None:
        """Compile until cancelled."""
        loop = asyncio.get_running_loop()
        thread = asyncio.ensure_future(asyncio.to_thread(self._work, loop))
        try:
            await asyncio.shield(thread)
        finally:
            with self._wake:
                self._waiting.stop = True
                self._wake.notify()
            await asyncio.wait([thread])

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        is_analysed = True
        while True:
            waiting = self._take(wait=is_analysed)
            if waiting.stop:
                return
            if waiting.has_news:
                loop.call_soon_threadsafe(self._on_round, self._round(waiting))
                is_analysed = waiting.changes is None and is_analysed
            for question in waiting.questions:
                loop.call_soon_threadsafe(question.settle, self._consider(question))
            if not waiting and not is_analysed:
                loop.call_soon_threadsafe(self._on_given, self._compiler.given_addresses())
                loop.call_soon_threadsafe(self._on_findings, self._compiler.analyze())
                is_analysed = True

    def _consider(self, question: _Question) -> Findings:
        if not self._is_complete or question.answer.done():
            return ()
        return self._compiler.consider(question.key, question.item)

    def _take(self, *, wait: bool) -> _Waiting:
        with self._wake:
            if wait:
                self._wake.wait_for(lambda: bool(self._waiting))
            waiting, self._waiting = self._waiting, _Waiting()
            return waiting

    def _round(self, waiting: _Waiting) -> Round:
        began = time.perf_counter()
        live = self._live
        proxies = live.proxies if waiting.proxies is None else waiting.proxies
        is_new = waiting.changes is not None
        if waiting.changes is not None:
            self._commit(waiting.changes)
        # Until a source has told everything, what a proxy would get is not yet its configuration.
        classes = self._classes(proxies, anew=is_new) if self._is_complete else {}
        bundles = self._bundles(classes, anew=is_new)
        gone = frozenset(live.bundles.keys() - bundles.keys())
        self._forget(proxies, gone)
        self._live = _Live(proxies=proxies, classes=classes, bundles=bundles)
        return Round(
            revision=self._revision,
            batch=waiting.changes,
            classes={name: of for name, of in classes.items() if live.classes.get(name) != of},
            bundles={of: new for of, new in bundles.items() if live.bundles.get(of) is not new},
            gone=gone,
            is_complete=self._is_complete,
            seconds=time.perf_counter() - began,
        )

    def _commit(self, changes: Batch) -> None:
        self._revision = self._compiler.commit(changes)
        if changes.complete and not self._is_complete:
            self._is_complete = True
            # The first proxies are to find their tables made, and not to wait for them all at once.
            self._compiler.warm()

    def _classes(self, proxies: Mapping[str, NodeInfo], *, anew: bool) -> dict[str, ProxyClass]:
        """Return the class of each proxy; without a change only new proxies are asked for."""
        live = self._live
        return {
            name: live.classes[name]
            if not anew and name in live.classes and live.proxies[name] is node
            else self._compiler.classify(node)
            for name, node in proxies.items()
        }

    def _bundles(
        self, classes: Mapping[str, ProxyClass], *, anew: bool
    ) -> dict[ProxyClass, Bundle]:
        known = self._live.bundles
        return {
            of: known[of] if not anew and of in known else self._compiler.bundle(of)
            for of in dict.fromkeys(classes.values())
        }

    def _forget(self, proxies: Mapping[str, NodeInfo], gone: frozenset[ProxyClass]) -> None:
        """Let the compiler go of what no proxy has any more."""
        for name, node in self._live.proxies.items():
            if proxies.get(name) != node:
                self._compiler.forget_node(node)
        for of in gone:
            self._compiler.forget(of)


def merge(first: Batch | None, second: Batch) -> Batch:
    """Return one batch that does what two do one after the other."""
    if first is None:
        return second
    return Batch(
        changes={**first.changes, **second.changes},
        diagnostics={**first.diagnostics, **second.diagnostics},
        versions={**first.versions, **second.versions},
        complete=first.complete or second.complete,
    )
