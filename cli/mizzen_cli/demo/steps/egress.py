"""Step 8: what leaves the mesh: nothing, but for those who have been named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import FRONTEND, Measured
from mizzen_cli.demo.traffic import Visitor

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_CONTROL: Final = ("egress-control", "sidecar.yaml", "ServiceEntry", "shop/courier")
_COURIER: Final = "courier"
_NAMED: Final = "courier.example.com"
_OTHER: Final = "other.example.com"
_BLOCKED: Final = 502


async def run(stage: Stage, note: Note) -> None:
    """Ask a company outside, under the name that the mesh is told, and under another one."""
    note(await _ask(stage, _OTHER, 200, "all is open"))
    async with stage.trying(*_CONTROL) as landed:
        note(landed)
        note(await _ask(stage, _NAMED, 200, "which is named"))
        note(await _ask(stage, _OTHER, _BLOCKED, "which is not"))
    note(await _ask(stage, _OTHER, 200, "all is open"))


async def _ask(stage: Stage, host: str, expected: int, why: str) -> Measured:
    """Ask as the frontend, on a connection of its own: one that was let out may finish what it began."""
    url = f"http://{stage.mesh.pod(_COURIER).ip}:9080/self"
    async with Visitor(stage.mesh, FRONTEND) as visitor:
        answer = await visitor.get(url, headers={"host": host})
    return Measured(
        what=f"GET {host}, {why}",
        value=answer.said,
        holds=answer.status == expected,
        expected=str(expected),
    )
