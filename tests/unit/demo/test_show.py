"""What the demo looks like: on a terminal, in a pipe, and as a picture."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mizzen_cli.demo.show import Show
from mizzen_cli.demo.stage import Measured
from mizzen_cli.demo.stay import told
from mizzen_cli.demo.tour import STEPS, Outcome

if TYPE_CHECKING:
    from mizzen_cli.demo.tour import Step

_STEP: Step = STEPS[1]
_GOOD = Measured(what="1,000 requests", value="v1: 903, v2: 97")
_BAD = Measured(what="1,000 requests", value="v1: 1000", holds=False, expected="v2: 100 ± 38")


def _shown(*found: Measured, width: int = 80) -> str:
    """Return what a show of one step wrote."""
    text = io.StringIO()
    _play(Show(Console(file=text, width=width)), found)
    return text.getvalue()


def _play(show: Show, found: tuple[Measured, ...]) -> None:
    outcome = Outcome(step=_STEP, measured=found, seconds=1.5)
    show.step(2, _STEP)
    for one in found:
        show.measured(one)
    show.verdict(outcome)
    show.final((outcome,), requests=1000, seconds=20)


def test_a_step_has_its_promise_what_was_measured_and_a_verdict() -> None:
    """In this order, with the number that the step has in the tour."""
    lines = [line.rstrip(" ─") for line in _shown(_GOOD).splitlines()]
    assert f"2. {_STEP.title}" in lines
    assert lines.index(_STEP.proves) < lines.index("    holds  1.5 s")
    assert any("✓ 1,000 requests" in line and "v1: 903, v2: 97" in line for line in lines)
    assert "✓ 1 of 1 promises held  1,000 requests, 20 s in all" in lines


def test_what_does_not_hold_says_what_was_expected() -> None:
    """At the finding, in the verdict and at the end."""
    text = _shown(_GOOD, _BAD)
    assert re.search(r"✗ 1,000 requests +v1: 1000 *\n +expected +v2: 100 ± 38", text)
    assert "DOES NOT HOLD" in text
    assert "✗ 0 of 1 promises held" in text
    assert f"does not hold: {_STEP.title}" in text


def test_nothing_is_lost_on_a_narrow_terminal() -> None:
    """Long words are folded, not cut."""
    long = Measured(what="who", value="spiffe://cluster.local/ns/istio-system/sa/a-long-name")
    value = "".join(line[25:].strip() for line in _shown(long, width=50).splitlines())
    assert long.value in value


def test_the_picture_shows_the_same_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    """No font and no script from elsewhere: it looks the same offline."""
    picture = tmp_path / "demo.svg"
    show = Show(Console(file=io.StringIO()), picture)
    _play(show, (_GOOD,))
    show.say("Logs: /tmp/somewhere")
    show.close()
    svg = picture.read_text(encoding="utf-8")
    assert "v2:&#160;97" in svg
    assert "somewhere" not in svg
    assert re.findall(r"https?://[^\"<]*", svg) == ["http://www.w3.org/2000/svg"]
    assert "url(" not in svg


def test_news_are_what_concerns_who_edits() -> None:
    """What is in force, what Envoy refused, and findings with their place in the folder."""
    folder = Path("/mesh")
    news = [
        told(line, folder)
        for line in (
            '{"event": "in force on every proxy", "milliseconds": 8.6, "proxies": 8}',
            '{"event": "proxy refused configuration", "objects": ["VirtualService shop/a"],'
            ' "resources": ["b"], "message": "no"}',
            '{"event": "file is not YAML", "code": "MZ0101", "where": "/mesh/a.yaml:3",'
            ' "message": "a bracket"}',
            '{"event": "listening"}',
            "Traceback (most recent call last):",
        )
    ]
    assert [text.plain if isinstance(text, Text) else text for text in news] == [
        "  ✓ in force on all 8 proxies after 9 ms",
        "  ✗ VirtualService shop/a: Envoy says: no",
        "  ✗ MZ0101 a.yaml:3: a bracket",
        None,
        None,
    ]
