"""An event is one line: JSON for machines, columns for people."""

from __future__ import annotations

import io
import json

from mizzen_operator.logs import Log


class Terminal(io.StringIO):
    """A stream that says that a person reads it."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_machine_gets_json() -> None:
    stream = io.StringIO()
    Log(stream).error("proxy refused configuration", proxy="p1", names=("a", "b"))
    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"]) == ("error", "proxy refused configuration")
    assert (line["proxy"], line["names"]) == ("p1", ["a", "b"])


def test_a_person_gets_columns() -> None:
    stream = Terminal()
    Log(stream).info("listening", http=15014, reason="two words", nothing="")
    line = stream.getvalue()
    assert "listening" in line
    assert line.endswith('http=15014 reason="two words"\n')


def test_what_is_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    log = Log(stream, level="warning")
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["c"]
