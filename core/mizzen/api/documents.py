"""A file's text cut into YAML documents, so that callers can keep what they made of unchanged ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# At the start of a line a marker ends a document whatever stands before it (YAML 1.1, section 9.2).
_MARKER: Final = re.compile(r"^(?:---|\.\.\.)(?=[ \t\r\n]|\Z)", re.MULTILINE)
# Comments, and directives such as %YAML, which stand before the marker of the document they are for.
_SAYS_NOTHING: Final = ("#", "%")


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; ``first_line`` is the file's line, from 1, that its text begins on."""

    text: str
    first_line: int


def split_documents(text: str) -> tuple[Document, ...]:
    """Return the documents of a file, without those that are blank or only comments.

    Markers are found in the text, not by parsing, so that a broken document leaves the others whole.
    """
    text = text.removeprefix("\ufeff")
    documents = []
    start, line = 0, 1
    for marker in (*_MARKER.finditer(text), None):
        end = marker.start() if marker else len(text)
        part = text[start:end]
        if any(_says_something(written) for written in part.splitlines()):
            documents.append(Document(part, line))
        line += part.count("\n")
        start = marker.end() if marker else end
    return tuple(documents)


def _says_something(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith(_SAYS_NOTHING)
