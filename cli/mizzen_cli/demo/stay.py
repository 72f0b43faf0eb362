"""After the tour, for as long as one likes: what there is to try, and what becomes of each edit."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen_cli.demo.show import Show
    from mizzen_cli.demo.stage import Stage

_LOOK_SECONDS: Final = 0.1
# The control plane reports twice a second; what it still has to say is about the tour's last edits.
_SETTLE_SECONDS: Final = 1.0


async def stay(show: Show, stage: Stage, sample: Path | None) -> None:
    """Say what there is to try, and then what the control plane says, until cancelled."""
    mesh = stage.mesh
    if sample is None:
        _say_what_to_try(show, stage)
    else:
        show.say("", *_words_of(sample, stage.door))
    files = (
        *((f"{mesh.folder}/{file}", words) for file, words in _files(sample)),
        (f"{mesh.folder}/", "and everything else"),
        (f"{mesh.state}/status.yaml", "what is live where, kept up to date"),
    )
    show.say("", Text("Edit, save, and ask again:", style="bold"), "", *_columns(files), "")
    await _tell_news(show, mesh.logs / "serve.log", mesh.folder)


def _say_what_to_try(show: Show, stage: Stage) -> None:
    door = stage.door
    tries = (
        (f"curl {door}/", "the shop, through the gateway"),
        (f"curl {door}/reviews", "reviews, by the weights of the canary"),
        (f"curl -H 'end-user: tester' {door}/reviews", "version 3, by a header"),
    )
    show.say("", Text("It stays until Ctrl-C. Try:", style="bold"), "", *_columns(tries))


def _words_of(sample: Path, door: str) -> list[str]:
    """Return what a sample's README says, with the door that there is."""
    readme = sample / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else sample.name
    return [line.lstrip("# ").replace("$DOOR", door) for line in text.splitlines() if line]


def _files(sample: Path | None) -> tuple[tuple[str, str], ...]:
    """Return the files that are worth an edit, and what is in them."""
    if sample is None:
        return (("canary.yaml", "weights, headers"),)
    return tuple((path.name, "the sample") for path in sorted(sample.glob("*.yaml")))


def _columns(rows: tuple[tuple[str, str], ...]) -> list[str]:
    """Return lines to copy from, with what they are for beside them."""
    width = max(len(first) for first, _second in rows)
    return [f"  {first:<{width}}  {second}" for first, second in rows]


async def _tell_news(show: Show, log: Path, folder: Path) -> None:
    """Follow the control plane's log for what becomes of edits."""
    await asyncio.sleep(_SETTLE_SECONDS)
    with log.open(encoding="utf-8") as lines:
        lines.seek(0, 2)
        rest = ""
        while True:
            *whole, rest = (rest + lines.read()).split("\n")
            for line in whole:
                if (news := told(line, folder)) is not None:
                    show.say(news)
            await asyncio.sleep(_LOOK_SECONDS)


def told(line: str, folder: Path) -> Text | None:
    """Return what a line of the control plane's log means for who edits; ``None`` for nothing."""
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if said.get("event") == "in force on every proxy":
        when = f"after {said['milliseconds']:.0f} ms"
        return Text(f"  ✓ in force on all {said['proxies']} proxies {when}", style="green")
    if said.get("event") == "proxy refused configuration":
        guilty = ", ".join(said["objects"]) or ", ".join(said["resources"])
        return Text(f"  ✗ {guilty}: Envoy says: {said['message']}", style="red")
    if "code" in said:
        where = str(said["where"]).removeprefix(f"{folder}/")
        return Text(f"  ✗ {said['code']} {where}: {said['message']}", style="red")
    return None
