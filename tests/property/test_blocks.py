"""Cutting only what an edit touched gives the documents that cutting the whole text gives."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mizzen.api.documents import split_documents
from mizzen_operator.sources.blocks import Blocks, Reading

NOTHING_READ = Reading.of((), "", 1)

pieces = st.sampled_from(
    (
        "---",
        "...",
        "\n",
        "\n---\n",
        "\n...\n",
        "---\n",
        "--- ",
        " ",
        "a: b\n",
        "c: d",
        "# e\n",
        "-",
        "\r\n",
    )
)
texts = st.lists(pieces, max_size=12).map("".join)


@settings(max_examples=2_000)
@given(st.lists(texts, max_size=5))
@example(["a: b\n---\nc: d\n", "a: b\n---\nc: d\n---\n", "a: b\n---\nc: d\n--- x"])
@example(["---\na: b\n", "----\na: b\n", ""])
def test_an_edited_file_has_the_documents_of_its_text(sequence: list[str]) -> None:
    blocks = Blocks()
    for text in sequence:
        blocks.replace(text, lambda _: NOTHING_READ)
        anew = split_documents(text)
        assert [(b.text, b.line) for b in blocks.items] == [(d.text, d.first_line) for d in anew]
        assert all(text[b.start : b.end] == b.text for b in blocks.items)


@settings(max_examples=300)
@given(texts, texts, texts, texts)
def test_an_edit_in_the_middle_asks_only_for_what_is_between_the_markers_around_it(
    before: str, old: str, new: str, after: str
) -> None:
    start, end = f"{before}\n---\nfirst: 1\n---\n", f"\n---\nlast: 1\n---\n{after}"
    blocks, read = Blocks(), []
    blocks.replace(start + old + end, lambda _: NOTHING_READ)

    def note(document: object) -> Reading:
        read.append(document)
        return NOTHING_READ

    blocks.replace(start + new + end, note)
    assert len(read) <= len(split_documents(new)) + 1
