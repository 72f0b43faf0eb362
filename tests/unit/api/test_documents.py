"""A file is cut into documents by its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.api.documents import Document, split_documents

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param("# a\n\n  # b\n", (), id="only comments"),
        pytest.param("a: 1\n", (Document("a: 1\n", 1),), id="one"),
        pytest.param(
            "a: 1\n---\nb: 2\n", (Document("a: 1\n", 1), Document("\nb: 2\n", 2)), id="two"
        ),
        pytest.param("---\n---\n---\na: 1", (Document("\na: 1", 3),), id="blank ones"),
        pytest.param("--- {a: 1}\n", (Document(" {a: 1}\n", 1),), id="on the marker's line"),
        pytest.param("%YAML 1.1\n---\na: 1\n", (Document("\na: 1\n", 2),), id="directive"),
        pytest.param(
            "a: 1\n...\nb: 2\n", (Document("a: 1\n", 1), Document("\nb: 2\n", 2)), id="end"
        ),
        pytest.param(
            "a: |\n  ---\n---x: 1\n", (Document("a: |\n  ---\n---x: 1\n", 1),), id="no marker"
        ),
        pytest.param("\ufeffa: 1", (Document("a: 1", 1),), id="byte order mark"),
        pytest.param(
            "a: 1\r\n---\r\nb: 2\r\n",
            (Document("a: 1\r\n", 1), Document("\r\nb: 2\r\n", 2)),
            id="windows",
        ),
        pytest.param("a: 1\n---", (Document("a: 1\n", 1),), id="marker at the end"),
    ],
)
def test_markers_at_the_start_of_a_line_separate_documents(
    text: str, documents: tuple[Document, ...]
) -> None:
    """Blank documents are left out, and lines are those of the file."""
    assert split_documents(text) == documents


@given(st.lists(st.sampled_from(["a: 1\n", "b:\n  - 2\n", "c: {d: 3}\n", "# note\n", "\n"])))
def test_a_document_knows_its_line(parts: list[str]) -> None:
    """The file's text, from a document's first line on, has the document's text in it."""
    text = "---\n".join(parts)
    lines = text.splitlines(keepends=True)
    for document in split_documents(text):
        rest = "".join(lines[document.first_line - 1 :])
        assert document.text.lstrip("\n") in rest
