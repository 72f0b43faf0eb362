"""Step 9: tokens of people, beside the certificates of pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import SAMPLES, Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage

_SAMPLE: Final = "tokens"
_FILE: Final = "tokens.yaml"


async def run(stage: Stage, note: Note) -> None:
    """Close the ledger to customers who do not show an accountant's token."""
    accountant, customer = _token("accountant"), _token("customer")
    tries = (
        ("accountant's token", accountant, 200),
        ("customer's token", customer, 403),
        ("forged token", f"{accountant[:-4]}AAAA", 401),
        ("no token", "", 403),
    )
    async with stage.trying(_SAMPLE, _FILE, "AuthorizationPolicy", "shop/books") as landed:
        note(landed)
        await stage.drained()
        for how, token, expected in tries:
            note(await _ask(stage, how, token, expected))
    await stage.until_true(lambda: _opens(stage), "the ledger is open again")


async def _ask(stage: Stage, how: str, token: str, expected: int) -> Measured:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    answer = await stage.outside.get(f"{stage.door}/ledger", headers=headers)
    return Measured(
        what=f"GET …/ledger at the door, {how}",
        value=answer.said,
        holds=answer.status == expected,
        expected=str(expected),
    )


async def _opens(stage: Stage) -> bool:
    return (await stage.outside.get(f"{stage.door}/ledger")).ok


def _token(whose: str) -> str:
    return (SAMPLES / _SAMPLE / f"{whose}.jwt").read_text(encoding="ascii").strip()
