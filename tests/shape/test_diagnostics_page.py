"""docs/diagnostics.md and the catalogue of codes say the same."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import pytest

from mizzen.diagnostics import CATALOGUE, Code
from tests.support.repository import ROOT

_PAGE: Final = ROOT / "docs" / "diagnostics.md"
_SECTION: Final = re.compile(r"^#+ .*?\b(MZ\d{4})\b.*\n((?:(?!#).*\n?)*)", re.MULTILINE)


@pytest.fixture(scope="module")
def paragraphs() -> dict[str, str]:
    """Code -> what the page says below its heading."""
    return {found[1]: found[2].strip() for found in _SECTION.finditer(_PAGE.read_text())}


@pytest.mark.parametrize("code", CATALOGUE, ids=lambda code: code.id)
def test_a_code_has_its_paragraph(code: Code, paragraphs: dict[str, str]) -> None:
    """Whoever meets a code finds below its heading what it means and what to do."""
    assert paragraphs.get(code.id)


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
