"""A file's documents in their places, kept from one text of the file to the next.

An edit of a file of thousands of documents touches one of them. So the two texts are compared from both
ends, which is as fast as memory, and only the stretch that differs is cut into documents again. It
always begins and ends at document markers that both texts have.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mizzen.api.documents import split_documents
from mizzen.diagnostics import Diagnostic
from mizzen.model.world import Parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mizzen.api.documents import Document
    from mizzen.names import ObjectKey

# A marker, and the one character beside it that makes it one: a newline before or a blank after.
_MARKER: Final = 3
_BESIDE: Final = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """What a text was parsed to, with the place where it stood at that time.

    Attributes:
        is_noisy: Something in it points at its lines.
        is_faulty: Something in it could not be read as an object.
    """

    results: tuple[Parsed | Diagnostic, ...]
    file: str
    line: int
    is_noisy: bool
    is_faulty: bool

    @classmethod
    def of(cls, results: tuple[Parsed | Diagnostic, ...], file: str, line: int) -> Reading:
        """Return the reading of a document that stood there."""
        faulty = any(isinstance(result, Diagnostic) for result in results)
        noisy = faulty or any(isinstance(r, Parsed) and r.diagnostics for r in results)
        return cls(results, file, line, noisy, faulty)


@dataclass(slots=True, eq=False)
class Block:
    """A document in its place: characters from ``start``, the first of them on ``line``."""

    text: str
    start: int
    line: int
    reading: Reading

    @property
    def end(self) -> int:
        """Where the text ends; the marker that ends it stands there."""
        return self.start + len(self.text)

    @property
    def parsed(self) -> Iterable[Parsed]:
        """The objects in it."""
        return (result for result in self.reading.results if isinstance(result, Parsed))

    @property
    def loose(self) -> Iterable[Diagnostic]:
        """The findings in it that belong to no object."""
        return (result for result in self.reading.results if isinstance(result, Diagnostic))

    @property
    def first_line(self) -> int:
        """The line of the first thing that is said; the text begins where the marker before it ends."""
        said = self.text.lstrip()
        return self.line + self.text.count("\n", 0, len(self.text) - len(said))

    def of(self, key: ObjectKey) -> Parsed:
        """Return what it says of an object that stands in it."""
        return next(parsed for parsed in self.parsed if parsed.key == key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What an edit did: documents that went and that came, and those whose place in the file changed."""

    gone: list[Block]
    come: list[Block]
    moved: list[Block]


@dataclass(slots=True)
class Blocks:
    """The documents of a text, in their order."""

    text: str = ""
    items: list[Block] = field(default_factory=list)

    def replace(self, text: str, read: Callable[[Document], Reading]) -> Difference:
        """Take in the file's new text; ``read`` is asked for documents that may be new."""
        head, stop = self._stretch(text)
        begin = self.items[head - 1].end if head else 0
        line = self._line_after(head)
        rest = self.items[stop:]
        finish = len(text)
        if rest:
            finish += rest[0].start - _MARKER - len(self.text)
        come = _cut(text[begin:finish], begin, line, read)
        gone = self.items[head:stop]
        self.items[head:stop] = come
        moved = _move(rest, len(text) - len(self.text), line + text.count("\n", begin, finish))
        self.text = text
        return Difference(gone=gone, come=come, moved=moved)

    def _stretch(self, text: str) -> tuple[int, int]:
        """Return between which two indexes blocks may differ."""
        same = _common_start(self.text, text)
        same_end = _common_end(self.text, text, least=same)
        head = bisect_right(self.items, same - _MARKER - _BESIDE, key=lambda block: block.end)
        first = len(self.text) - same_end + _MARKER + _BESIDE
        return head, bisect_left(self.items, first, lo=head, key=lambda block: block.start)

    def _line_after(self, head: int) -> int:
        """Return the line on which the text after so many blocks begins."""
        if not head:
            return 1
        last = self.items[head - 1]
        return last.line + last.text.count("\n")


def _cut(stretch: str, begin: int, line: int, read: Callable[[Document], Reading]) -> list[Block]:
    """Return the documents of a stretch that begins there."""
    return [
        Block(each.text, begin + each.start, line + each.first_line - 1, read(each))
        for each in split_documents(stretch)
    ]


def _move(blocks: list[Block], characters: int, line: int) -> list[Block]:
    """Put blocks where they stand now, the first of them on ``line``; return those that changed lines."""
    if not blocks or (not characters and blocks[0].line == line):
        return []
    lines = line - blocks[0].line
    for block in blocks:
        block.start += characters
        block.line += lines
    return blocks if lines else []


def _common_start(one: str, other: str) -> int:
    """Return how many characters two texts have in common at the start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_end(one: str, other: str, *, least: int) -> int:
    """Return how many characters two texts have in common at the end, not before ``least`` in either."""
    low, high = 0, min(len(one), len(other)) - least
    while low < high:
        middle = (low + high + 1) // 2
        here, there = len(one), len(other)
        if one[here - middle : here - low] == other[there - middle : there - low]:
            low = middle
        else:
            high = middle - 1
    return low
