"""A file's text cut into YAML documents, so that callers can keep what they made of unchanged ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

# At the start of a line a marker ends a document whatever stands before it (YAML 1.1, section 9.2). The
# newline is part of the pattern because searching for it is several times faster than trying each line.
_MARKER: Final = re.compile(r"\n(?:---|\.\.\.)(?=[ \t\r\n]|\Z)")
# Not so comments, and directives such as %YAML, which stand before the marker of their document.
_SAYS_SOMETHING: Final = re.compile(r"^[ \t]*[^ \t\r\n#%]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Attributes:
        first_line: The file's line, from 1, that the text begins on.
        start: The place that it begins at, in characters, not counting a byte order mark.
    """

    text: str
    first_line: int
    start: int = field(default=0, compare=False)


def split_documents(text: str) -> tuple[Document, ...]:
    """Return the documents of a file, without those that are blank or only comments.

    Markers are found in the text, not by parsing, so that a broken document leaves the others whole.
    """
    text = "\n" + text.removeprefix("\ufeff")
    documents = []
    start, line = 1, 1
    for marker in (*_MARKER.finditer(text), None):
        # The newline in front of a marker ends the text before it.
        end = marker.start() + 1 if marker else len(text)
        part = text[start:end]
        if _SAYS_SOMETHING.search(part):
            documents.append(Document(part, line, start - 1))
        line += part.count("\n")
        start = marker.end() if marker else end
    return tuple(documents)
