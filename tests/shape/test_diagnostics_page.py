"""docs/diagnostics.md and the catalogue of codes say the same."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import pytest
import yaml

from mizzen.diagnostics import CATALOGUE, Code
from tests.support.repository import ROOT

_PAGE: Final = ROOT / "docs" / "diagnostics.md"
_TOLD: Final = ROOT / "tests" / "golden" / "told"
_EXAMPLE: Final = re.compile(r"```\n(.*?)\n```\s*(.*)", re.DOTALL)
_SECTION: Final = re.compile(r"^#+ .*?\b(MZ\d{4})\b.*\n((?:(?!#).*\n?)*)", re.MULTILINE)


@pytest.fixture(scope="module")
def paragraphs() -> dict[str, str]:
    """Code -> what the page says below its heading."""
    return {found[1]: found[2].strip() for found in _SECTION.finditer(_PAGE.read_text())}


@pytest.mark.parametrize("code", CATALOGUE, ids=lambda code: code.id)
def test_a_code_has_its_paragraph(code: Code, paragraphs: dict[str, str]) -> None:
    """Whoever meets a code finds below its heading what it means and what to do."""
    assert paragraphs.get(code.id)


@pytest.fixture(scope="module")
def told() -> dict[str, set[str]]:
    """Code -> what goldens have of it: place, object, field and sentence, or an entry of a status."""
    found: dict[str, set[str]] = {code.id: set() for code in CATALOGUE}
    for file in _TOLD.glob("*.out.txt"):
        lines = file.read_text().splitlines()
        for head, message in zip(lines[::3], lines[1::3], strict=True):
            found[re.findall(r"MZ\d{4}", head)[0]].add(_joined(f"{head} {message}"))
    for problem in yaml.safe_load((_TOLD / "mesh.out.yaml").read_text()):
        found[problem["code"]].add(_joined(f"{problem['code']} {problem['message']}"))
    return found


def _joined(text: str) -> str:
    return " ".join(text.split())


def _shown(example: str) -> str:
    """Return an example as goldens have it: a finding over two lines, or an entry of a status."""
    if not example.startswith("- severity"):
        return _joined(example)
    (problem,) = yaml.safe_load(example)
    return _joined(f"{problem['code']} {problem['message']}")


@pytest.mark.parametrize("code", CATALOGUE, ids=lambda code: code.id)
def test_a_code_is_produced_by_a_golden(code: Code, told: dict[str, set[str]]) -> None:
    """From manifests, or from what proxies and replicas say."""
    assert told[code.id]


@pytest.mark.parametrize("code", CATALOGUE, ids=lambda code: code.id)
def test_a_code_has_an_example_that_is_true(
    code: Code, paragraphs: dict[str, str], told: dict[str, set[str]]
) -> None:
    """What the page shows is what a golden has, to the letter; what to do stands below it."""
    example = _EXAMPLE.search(paragraphs[code.id])
    assert example is not None
    assert _shown(example[1]) in told[code.id]
    assert example[2]


def test_the_page_explains_no_code_that_does_not_exist(paragraphs: dict[str, str]) -> None:
    """A code that was removed leaves the page as well."""
    assert set(paragraphs) <= {code.id for code in CATALOGUE}


def test_a_code_means_one_thing() -> None:
    """No two entries of the catalogue have the same id."""
    assert [
        code for code, times in Counter(code.id for code in CATALOGUE).items() if times > 1
    ] == []


@pytest.mark.parametrize("code", CATALOGUE, ids=lambda code: code.id)
def test_a_code_says_what_to_do(code: Code) -> None:
    """Each entry has a title for the list and a remedy that is a sentence."""
    assert code.title
    assert code.remedy.endswith(".")
