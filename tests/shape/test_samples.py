"""Each folder of ``samples/`` says in three lines what it is, is listed, is right, and is tried by a test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from mizzen_cli.main import mizzen
from tests.support.repository import ROOT
from tests.support.sample_mesh import BASE, SAMPLES, manifests, samples

if TYPE_CHECKING:
    from pathlib import Path

_NAMES: Final = tuple(path.name for path in samples())


@pytest.mark.parametrize("name", _NAMES)
def test_three_lines_say_what_it_is(name: str) -> None:
    """A heading, what becomes of requests, and how to see it."""
    text = (SAMPLES / name / "README.md").read_text(encoding="utf-8")
    heading, what, attempt = filter(None, text.splitlines())
    assert heading.startswith("# ")
    assert what.endswith(".")
    assert attempt.startswith("Try: ")


@pytest.mark.parametrize("name", _NAMES)
def test_nothing_is_said_of_its_objects(name: str, tmp_path: Path) -> None:
    """In the shop, ``mizzen analyze`` finds neither errors nor warnings."""
    for path in (*BASE, *manifests(name)):
        target = tmp_path / f"{path.parent.name}-{path.name}"
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    result = CliRunner().invoke(mizzen, ["analyze", str(tmp_path)])
    assert "0 errors, 0 warnings" in result.output, result.output
    assert result.exit_code == 0


def test_each_is_listed() -> None:
    """Once, in the page that one reads first."""
    text = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[([\w-]+)\]\(\1/\)", text, re.MULTILINE)) == sorted(_NAMES)


def test_each_is_tried() -> None:
    """By a test with real Envoys, which names it where it puts it in force and where it says what it shows."""
    files = (ROOT / "tests" / "envoy").glob("test_samples_*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert sorted(set(re.findall(r'trying\("([\w-]+)"', text))) == sorted(_NAMES)
