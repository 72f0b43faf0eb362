"""docs/api-support.md: no field of a kind goes without a test or a diagnostic, and the page is fresh."""

from __future__ import annotations

import re

import pytest

from tests.support.api_support import KINDS, PAGE, entries, entry_of, fields, page
from tests.support.repository import ROOT


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_test_or_a_diagnostic(kind: str) -> None:
    """What is not translated says so by its mark; of all else somebody has said what it becomes."""
    known = entries(kind)
    silent = [f.path for f in fields(kind) if not f.why_not and entry_of(f.path, known) is None]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_word_is_about_a_field(kind: str) -> None:
    """A field that is renamed or marked takes its words along."""
    known = entries(kind)
    spoken_for = {entry_of(field.path, known) for field in fields(kind) if not field.why_not}
    assert set(known) - spoken_for == set()


@pytest.mark.parametrize("kind", KINDS)
def test_every_test_is_there(kind: str) -> None:
    """By file and name."""
    missing = {
        entry.test
        for entry in entries(kind).values()
        for file, _, name in [entry.test.partition("::")]
        if not re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert missing == set()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_field_becomes_is_shown_by_traffic(kind: str) -> None:
    """Through a real Envoy; what becomes nothing there has nothing to show."""
    unseen = {
        path: entry.test
        for path, entry in entries(kind).items()
        if not entry.becomes.startswith("nothing") and not entry.test.startswith("tests/envoy/")
    }
    assert unseen == {}


def test_the_page_is_what_the_models_and_the_words_give() -> None:
    """Written anew by ``make api-support``."""
    assert PAGE.read_text(encoding="utf-8") == page()
