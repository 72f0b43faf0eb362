"""What the steps of the tour have in hand: the mesh, its status, its files, and what they measured."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from mizzen_cli.demo.mesh import MeshError
from mizzen_cli.demo.proxies import AskError, ask, stats
from mizzen_cli.demo.status import ObjectStatus, Sent, Status, read_sent, read_status
from mizzen_cli.demo.traffic import under_load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mizzen_cli.demo.mesh import Mesh
    from mizzen_cli.demo.traffic import Load, Visitor

    Note = Callable[["Measured"], None]

SAMPLES: Final = Path(__file__).parents[3] / "samples"
GATEWAY: Final = "istio-ingressgateway-1"
FRONTEND: Final = "frontend-v1"
CATALOG: Final = "catalog-1"
LEDGER: Final = "ledger"
LEDGER_POD: Final = "ledger-v1"
BOOKING_PORT: Final = 9000

_WAIT_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.01
# How many requests are made before something happens, and after it.
_SETTLED_REQUESTS: Final = 250
_DRAINING: Final = r"^listener_manager\.total_(listeners|filter_chains)_draining$"
_TARGETS: Final = ("reviews", "catalog", "ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One thing that a step found out.

    Attributes:
        what: What was tried, as a phrase.
        value: What came of it, with units.
        holds: Whether that is what the mesh promises.
        expected: What the mesh promises, for who sees that it did not hold.
    """

    what: str
    value: str
    holds: bool = True
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """An edit that is in force everywhere: so long after saving, on so many proxies."""

    seconds: float
    proxies: int

    def __str__(self) -> str:
        """Return both, for people."""
        return (
            f"live on {self.proxies} of {self.proxies} proxies after {self.seconds * 1000:.0f} ms"
        )


_T = TypeVar("_T")


class NeverError(Exception):
    """Something that was waited for did not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The running mesh, and the ways to look at it.

    Attributes:
        door: The gateway's address on the host, as a URL without a path.
        outside: Calls from the host through the door.
        inside: Calls as the named pod.
        first: What the control plane had sent when all proxies had their first configuration.
    """

    mesh: Mesh
    door: str
    outside: Visitor
    inside: dict[str, Visitor]
    first: Sent

    @property
    def requests(self) -> int:
        """How many requests were made so far."""
        return sum(visitor.requests for visitor in (self.outside, *self.inside.values()))

    def tell(self, pod: str, path: str, method: str = "GET") -> str:
        """Speak with an application from within its pod, past its Envoy; returns what it answers."""
        network = self.mesh.pod(pod).network
        status, body = ask(self.mesh.realm, network, ("127.0.0.1", 9080), path, method)
        if status != 200:
            raise AskError(f"{pod}{path}: {status} {body.strip()}")
        return body

    def status(self) -> Status:
        """What the control plane says now."""
        return read_status(self.mesh)

    def sent(self) -> Sent:
        """What the control plane has sent to proxies since it started."""
        return read_sent(self.mesh)

    def counted(self, pattern: str) -> dict[str, dict[str, int]]:
        """Return the counters that match a regex, of each Envoy by its pod's network."""
        realm = self.mesh.realm
        return {pod.network: stats(realm, pod, pattern) for pod in self.mesh.proxied}

    def write(self, file: str, text: str) -> float:
        """Replace a manifest whole, as editors do; returns the moment of saving."""
        path = self.mesh.folder / file
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text, encoding="utf-8")
        moment = time.time()
        draft.replace(path)
        return moment

    def add(self, sample: str, file: str) -> float:
        """Save a file of a folder of ``samples/`` beside the shop's; returns the moment of saving."""
        return self.write(file, (SAMPLES / sample / file).read_text(encoding="utf-8"))

    @asynccontextmanager
    async def trying(self, sample: str, file: str, kind: str, name: str) -> AsyncIterator[Measured]:
        """Have a file of a sample in force for as long as the block lasts; yields how that came about.

        What is told is told of one of its objects; the others come with it.
        """
        saved = self.add(sample, file)
        try:
            landed = await self.live(kind, name, saved)
            await self.until(lambda: self.status().settled, f"{file} is in force")
            yield Measured(what=f"samples/{sample}/{file}, saved", value=str(landed))
        finally:
            (self.mesh.folder / file).unlink(missing_ok=True)
        await self.until(lambda: self._is_gone(kind, name), f"{file} is no longer in force")

    def read(self, file: str) -> str:
        """Return a manifest's text."""
        return (self.mesh.folder / file).read_text(encoding="utf-8")

    def edit(self, file: str, *changes: tuple[str, str]) -> float:
        """Change words in a manifest; returns the moment of saving."""
        text = self.read(file)
        for old, new in changes:
            if old not in text:
                raise NeverError(f"{file} does not say {old!r}")
            text = text.replace(old, new)
        return self.write(file, text)

    @asynccontextmanager
    async def restored(self, file: str) -> AsyncIterator[None]:
        """Put a manifest back as it was when the block ends, or remove it if it was not there."""
        path = self.mesh.folder / file
        before = path.read_text(encoding="utf-8") if path.exists() else None
        try:
            yield
        finally:
            if before is None:
                path.unlink(missing_ok=True)
            elif path.read_text(encoding="utf-8") != before:
                self.write(file, before)

    async def drained(self) -> None:
        """Wait until no Envoy has connections left to close for an earlier change of a listener."""
        await self.until(
            lambda: not any(sum(of.values()) for of in self.counted(_DRAINING).values()),
            "no listener is draining",
        )

    @asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Let the shop be busy, inside and through its door, before, during and after the block.

        One TCP connection stays open all the while.
        """
        frontend, catalog = self.inside[FRONTEND], self.inside[CATALOG]
        calls = (
            *((frontend, f"http://{target}:9080/self") for target in _TARGETS),
            (catalog, "http://ledger:9080/self"),
            (self.outside, f"{self.door}/self"),
        )
        try:
            booking = await catalog.talk(LEDGER, BOOKING_PORT)
        except (OSError, TimeoutError) as failed:
            raise NeverError(f"no connection from the catalog to the ledger: {failed}") from failed
        with closing(booking):
            async with under_load(calls, booking) as load:
                await load.more(_SETTLED_REQUESTS)
                yield load
                await load.more(_SETTLED_REQUESTS)

    async def live(self, kind: str, name: str, since: float) -> Landed:
        """Wait until an edited object is live on all its proxies."""
        found = await self.until(
            lambda: self._live_since(kind, name, since), f"{kind} {name} is live everywhere"
        )
        return Landed(seconds=found.at - since, proxies=found.of)

    async def until(self, look: Callable[[], _T | None], what: str) -> _T:
        """Wait until something is there; :class:`NeverError` when it never is."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                found = await asyncio.to_thread(look)  # the load goes on meanwhile
            except AskError:
                found = None
            if found:
                return found
            await asyncio.sleep(_POLL_SECONDS)
        raise NeverError(f"not within {_WAIT_SECONDS:.0f} s: {what}")

    async def until_true(self, look: Callable[[], Awaitable[bool]], what: str) -> float:
        """Wait until a request turns out as wished; returns the seconds that it took."""
        began = time.monotonic()
        while time.monotonic() - began < _WAIT_SECONDS:
            if await look():
                return time.monotonic() - began
            await asyncio.sleep(_POLL_SECONDS)
        raise NeverError(f"not within {_WAIT_SECONDS:.0f} s: {what}")

    def _is_gone(self, kind: str, name: str) -> bool:
        status = self.status()
        return status.object(kind, name) is None and status.settled

    def _live_since(self, kind: str, name: str, since: float) -> ObjectStatus | None:
        found = self.status().object(kind, name)
        return found if found and found.fully_live and found.at >= since else None


async def start(mesh: Mesh, work: Callable[[], None]) -> None:
    """Start a part of the mesh; who is cancelled meanwhile leaves no one at work in it."""
    at_work = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(at_work)
    except asyncio.CancelledError:
        mesh.give_up()
        with suppress(MeshError):
            await at_work
        raise


def undisturbed(load: Load) -> Measured:
    """Return what the requests met that were made all the while."""
    worst = "".join(f"; {count} times {why}" for why, count in load.failures.most_common(3))
    return Measured(
        what="the shop meanwhile, one connection kept open",
        value=f"{load.requests:,} requests, {load.lines} TCP lines: {load.failed} failed, "
        f"≤ {load.slowest_ms:.0f} ms{worst}",
        holds=load.requests > 0 and load.lines > 0 and load.failed == 0,
        expected="no request fails, and the open connection stays",
    )
