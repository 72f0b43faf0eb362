"""What the steps of the tour have in hand: the mesh, its status, its files, and what they measured."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from mizzen_cli.demo.proxies import AskError
from mizzen_cli.demo.status import ObjectStatus, Status, read_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mizzen_cli.demo.mesh import Mesh
    from mizzen_cli.demo.traffic import Visitor

_WAIT_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One thing that a step found out.

    Attributes:
        what: What was tried, as a phrase.
        value: What came of it, with units.
        holds: Whether that is what the mesh promises.
    """

    what: str
    value: str
    holds: bool = True


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
    """

    mesh: Mesh
    door: str
    outside: Visitor
    inside: dict[str, Visitor]

    def status(self) -> Status:
        """What the control plane says now."""
        return read_status(self.mesh)

    def write(self, file: str, text: str) -> float:
        """Replace a manifest whole, as editors do; returns the moment of saving."""
        path = self.mesh.folder / file
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(text, encoding="utf-8")
        moment = time.time()
        draft.replace(path)
        return moment

    def read(self, file: str) -> str:
        """Return a manifest's text."""
        return (self.mesh.folder / file).read_text(encoding="utf-8")

    async def edit(self, file: str, *changes: tuple[str, str]) -> float:
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

    async def live(self, kind: str, name: str, since: float) -> float:
        """Wait until an edited object is live on all its proxies; returns the seconds since saving."""
        found = await self.until(
            lambda: self._live_since(kind, name, since), f"{kind} {name} is live everywhere"
        )
        return found.at - since

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

    def _live_since(self, kind: str, name: str, since: float) -> ObjectStatus | None:
        found = self.status().object(kind, name)
        return found if found and found.fully_live and found.at >= since else None
