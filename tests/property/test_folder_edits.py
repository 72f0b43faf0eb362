"""Whatever is done to a folder's files, what is in force is what the folder says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen_operator.sources.folder import Folder
from tests.unit.operator.manifests import BROKEN, documents, invalid_service, service

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Batch, Object
    from mizzen.names import ObjectKey
    from mizzen_operator.sources.base import Text

PATHS = ("a.yaml", "b.yaml", "b/c.yaml")
NAMES = ("cart", "stock", "price")

good_documents = st.builds(service, st.sampled_from(NAMES), st.integers(80, 83))
any_documents = (
    good_documents | st.builds(invalid_service, st.sampled_from(NAMES)) | st.just(BROKEN)
)
good_files = st.lists(good_documents, max_size=4).map(lambda texts: documents(*texts))
any_files = st.lists(any_documents, max_size=4).map(lambda texts: documents(*texts))

Edit = tuple[str, "Text", bool]


def edits(texts: st.SearchStrategy[str]) -> st.SearchStrategy[list[Edit]]:
    """Sequences of saving, removing and settling files."""
    edit = st.tuples(st.sampled_from(PATHS), texts | st.none(), st.booleans())
    return st.lists(edit, max_size=12)


class InForce:
    """What batches add up to."""

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, Object] = {}
        self.findings: dict[ObjectKey, tuple[Diagnostic, ...]] = {}

    def take(self, batch: Batch) -> None:
        """Add a batch."""
        for key, item in batch.changes.items():
            if item is None:
                del self.objects[key]
            else:
                self.objects[key] = item
        for key, found in batch.diagnostics.items():
            self.findings[key] = found
            if not found:
                del self.findings[key]


def played(sequence: list[Edit], in_force: InForce) -> tuple[Folder, dict[str, Text]]:
    """A folder after edits, settled, and the texts that stand in it at the end."""
    folder, texts = Folder(), {}
    for path, text, is_settled in sequence:
        texts[path] = text
        in_force.take(folder.update({path: text}, settled=is_settled))
    in_force.take(folder.update(texts, settled=True))
    return folder, texts


@settings(max_examples=300)
@given(edits(good_files))
def test_any_edits_end_in_what_reading_the_folder_anew_gives(sequence: list[Edit]) -> None:
    edited, anew = InForce(), InForce()
    folder, texts = played(sequence, edited)
    anew.take(Folder().update(texts, settled=True))
    assert edited.objects == anew.objects
    assert edited.findings == anew.findings
    assert not folder.unsettled


@settings(max_examples=300)
@given(edits(any_files), st.fixed_dictionaries(dict.fromkeys(PATHS, good_files)))
def test_mistakes_leave_no_trace_once_they_are_mended(
    sequence: list[Edit], mended: dict[str, str]
) -> None:
    edited, anew = InForce(), InForce()
    folder, _ = played(sequence, edited)
    edited.take(folder.update(mended, settled=True))
    anew.take(Folder().update(mended, settled=True))
    assert edited.objects == anew.objects
    assert edited.findings == anew.findings


@settings(max_examples=300)
@given(edits(any_files), edits(any_files))
def test_a_mistake_never_takes_a_good_object_away(first: list[Edit], then: list[Edit]) -> None:
    """What a file names, or may name in a part that cannot be read, stays if it was ever good there."""
    in_force = InForce()
    folder, texts = played(first, in_force)
    before = set(in_force.objects)
    for path, text, _ in then:
        broken = documents(BROKEN, *([text] if isinstance(text, str) else []))
        texts[path] = broken
        in_force.take(folder.update({path: broken}, settled=True))
        assert before <= set(in_force.objects)
