"""The tools' settings say why they are lenient, and the lock is complete and names no place."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import pytest

from tests.support.repository import ROOT

_LOCKS: Final = ("run.txt", "operator.txt", "build.txt", "dev.txt")
_RULE_CODE: Final = re.compile(r'^\s*"[A-Z]+[0-9]*",?')
_REASON: Final = re.compile(r"#\s*\w+")


def test_every_ruff_ignore_stands_beside_its_reason() -> None:
    """A rule is switched off in a line of its own, with a comment that says why."""
    text = (ROOT / "pyproject.toml").read_text()
    silent = [line for line in _ignore_lines(text) if not _REASON.search(line)]
    assert silent == []
    assert _ignore_lines(text)


@pytest.mark.parametrize("name", _LOCKS)
def test_every_locked_requirement_is_pinned_and_hashed(name: str) -> None:
    """One exact version each, with the hashes of all its files: a changed file is not installed."""
    entries = _entries(name)
    assert entries
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("name", _LOCKS)
def test_the_lock_names_no_place(name: str) -> None:
    """Neither URL nor index nor comment: any index that has the files serves."""
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert not re.search(r"^(#|--|-[a-z])", text, re.MULTILINE)


def test_the_lock_has_all_that_the_project_asks_for() -> None:
    """A dependency that is added without locking it is noticed here."""
    project = _pyproject()
    asked = project["project"]["dependencies"]
    extras = [
        name for extra in project["project"]["optional-dependencies"].values() for name in extra
    ]
    tools = project["dependency-groups"]["dev"]
    assert _names(asked) <= _names(_entries("run.txt"))
    watching = project["project"]["optional-dependencies"]["kube"]
    assert _names([*asked, *watching]) <= _names(_entries("operator.txt"))
    assert _names([*asked, *extras, *tools]) <= _names(_entries("dev.txt"))


def test_all_locks_agree() -> None:
    """What is tested is what is run: each requirement has the same files in every lock."""
    assert set(_entries("run.txt")) <= set(_entries("operator.txt"))
    assert set(_entries("operator.txt")) <= set(_entries("dev.txt"))
    assert set(_entries("build.txt")) <= set(_entries("dev.txt"))


def test_protobuf_classes_are_pinned_exactly() -> None:
    """A new set of Envoy's messages is a decision, not an accident of resolution."""
    assert "xds-protos==1.85.0" in _pyproject()["project"]["dependencies"]


def _ignore_lines(text: str) -> list[str]:
    lint = text.partition("[tool.ruff.lint]")[2].partition("[tool.ruff.lint.mccabe]")[0]
    after_select = lint.partition("ignore = [")[2]
    return [line for line in after_select.splitlines() if _RULE_CODE.match(line)]


def _entries(name: str) -> list[str]:
    joined = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


def _names(requirements: list[str]) -> set[str]:
    heads = [re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0] for requirement in requirements]
    return {re.sub(r"[-_.]+", "-", head).lower() for head in heads}


def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())
