"""From the texts of a folder's files to batches: pure, so that its laws can be tested.

What is in force after an edit:

- Only documents whose text is new are parsed; a file of 5,000 documents of which one was edited costs
  one (:mod:`mizzen_operator.sources.blocks`).
- An object whose document has an error keeps its last good version. While some document of a file
  cannot be read at all, nobody knows which object it was: every object that the file had and that its
  readable documents do not name keeps its last good version too.
- **What vanishes, vanishes late; everything else takes effect at once.** Editors empty a file before
  they fill it, or move it away and write a new one; ``git checkout`` unlinks and creates. So an object
  that is no longer in its file is *held* until somebody who knows the time says that the file has
  settled (``update(..., settled=True)``); a held object gives way to the same object elsewhere, so a
  renamed file is no gap and no duplicate.
- The same object twice: the first file in the order of paths that has ever had a good version wins,
  and within a file the first document; the others carry MZ0107.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from mizzen.api.parse import parse_document
from mizzen.api.yaml_tree import TreeError, read_tree
from mizzen.diagnostics import DUPLICATE_OBJECT, NOT_YAML, Diagnostic, Location, Severity
from mizzen.model.world import Batch, Object
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.sources.base import Unreadable
from mizzen_operator.sources.blocks import Block, Blocks, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mizzen.api.documents import Document
    from mizzen_operator.sources.base import Text

# Parsed texts that no file has any more are forgotten once they outnumber those in use by this many:
# enough for renames and for undoing an edit.
_SPARE_TEXTS: Final = 1_000

# The parts of a path like `spec.http[0].headers[x-user]`: a field or key, or a place in a list.
_STEP: Final = re.compile(r"\[(\D[^]]*)]|([A-Za-z_]\w*)|\[(\d+)]")


_Finding = tuple["Object | None", tuple[Diagnostic, ...]]
_NOTHING: Final[_Finding] = (None, ())


def file_key(path: str) -> ObjectKey:
    """Return the key under which findings stand that belong to a file and to no object of it."""
    return ObjectKey(DEFAULT_REGISTRY, "File", "", path)


@dataclass(slots=True)
class _File:
    """A file: its documents, who stands in which, and the last good version of each object.

    ``held`` are those of the good that no document names.
    """

    path: str
    blocks: Blocks = field(default_factory=Blocks)
    holders: dict[ObjectKey, list[Block]] = field(default_factory=dict)
    good: dict[ObjectKey, Object] = field(default_factory=dict)
    held: set[ObjectKey] = field(default_factory=set)
    unreadable: Unreadable | None = None

    @property
    def rank(self) -> list[str]:
        """Where it stands in the order of paths, folder by folder."""
        return self.path.split("/")

    def faults(self) -> tuple[Diagnostic, ...]:
        """Return what keeps documents, or the whole file, from being read as objects."""
        if self.unreadable is not None:
            where = Location(file=self.path, line=1)
            message = f"the file cannot be read: {self.unreadable.reason}"
            return (
                Diagnostic(code=NOT_YAML, object=None, path="", message=message, location=where),
            )
        return tuple(
            _located(found, self, block)
            for block in self.blocks.items
            if block.reading.is_faulty
            for found in block.loose
        )

    def place(self, key: ObjectKey) -> Block | None:
        """Return the first document with a good version of the object, else its first document."""
        blocks = self.holders.get(key, [])
        return next(
            (b for b in blocks if b.of(key).object is not None), blocks[0] if blocks else None
        )


class Folder:
    """The folder as it was last told; not for several threads at once."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._claimants: dict[ObjectKey, set[str]] = {}
        self._in_force: dict[ObjectKey, _Finding] = {}
        self._readings: dict[str, Reading] = {}
        # How many documents all files have; counting them at each edit would cost what the folder weighs.
        self._in_use = 0
        self._unsettled: set[str] = set()
        # Objects that stand in several places: their findings name lines of other files.
        self._contested: set[ObjectKey] = set()

    @property
    def unsettled(self) -> frozenset[str]:
        """The files that hold objects which they no longer name: to be told again when settled."""
        return frozenset(self._unsettled)

    @property
    def files(self) -> frozenset[str]:
        """The paths of the files that are known, those included that are gone but not settled."""
        return frozenset(self._files)

    def update(self, texts: Mapping[str, Text], *, settled: bool) -> Batch:
        """Take in files' texts; return what is in force differently from before.

        ``settled`` says that these texts have stayed as they are for a while: objects that they do not
        name any more are gone.
        """
        touched: set[ObjectKey] = set()
        for path in sorted(texts):
            touched |= self._take(path, texts[path], settled=settled)
        self._forget_spare_texts()
        return self._batch(touched)

    def located(self, found: Diagnostic) -> Diagnostic:
        """Return a finding on an object with the file and line of its field, where that is known."""
        if found.location is not None or found.object is None:
            return found
        naming = sorted(
            (self._files[path] for path in self._claimants.get(found.object, ())),
            key=lambda file: file.rank,
        )
        for file in naming:
            block = file.place(found.object)
            if block is not None:
                line = block.line + _line_of(block.text, found.path)
                return replace(found, location=Location(file=file.path, line=line))
        return found

    def _take(self, path: str, text: Text, *, settled: bool) -> set[ObjectKey]:
        file = self._files.setdefault(path, _File(path=path))
        unreadable_before, file.unreadable = file.unreadable, None
        if isinstance(text, Unreadable):
            file.unreadable = text
            touched: set[ObjectKey] = set()
        else:
            touched = self._replace_text(file, text or "")
        self._remember(file, touched)
        faults = file.faults()
        if faults or unreadable_before or self._in_force.get(file_key(path)):
            touched |= file.held | {file_key(path)}
        touched |= self._settle(file, kept=_hold(faults), settled=settled)
        self._register(file, touched)
        return touched

    def _replace_text(self, file: _File, text: str) -> set[ObjectKey]:
        """Take in a file's new text; return the objects of which something may be different."""
        edit = file.blocks.replace(text, lambda document: self._reading(document, file.path))
        self._in_use += len(edit.come) - len(edit.gone)
        for block in edit.gone:
            _remove_holder(file, block)
        for block in edit.come:
            for key in {parsed.key for parsed in block.parsed}:
                file.holders.setdefault(key, []).append(block)
        touched = {parsed.key for block in (*edit.gone, *edit.come) for parsed in block.parsed}
        if edit.moved:
            touched |= {p.key for b in edit.moved if b.reading.is_noisy for p in b.parsed}
            touched |= {key for key in self._contested if key in file.holders}
        for key in touched & file.holders.keys():
            file.holders[key].sort(key=lambda block: block.line)
        return touched

    def _reading(self, document: Document, path: str) -> Reading:
        reading = self._readings.get(document.text)
        if reading is None:
            results = parse_document(document, path)
            reading = Reading.of(results, path, document.first_line)
            self._readings[document.text] = reading
        return reading

    def _remember(self, file: _File, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            place = file.place(key)
            if place is not None and (item := place.of(key).object) is not None:
                file.good[key] = item
            if place is None and key in file.good:
                file.held.add(key)
            else:
                file.held.discard(key)

    def _settle(self, file: _File, *, kept: bool, settled: bool) -> frozenset[ObjectKey]:
        """Drop what the file no longer names, or put the file down as unsettled; return what changed."""
        self._unsettled.discard(file.path)
        held = frozenset(file.held)
        if kept or not held:
            return frozenset()
        if not settled:
            self._unsettled.add(file.path)
            return held
        for key in held:
            self._bequeath(file, key)
        file.held.clear()
        return held

    def _bequeath(self, file: _File, key: ObjectKey) -> None:
        """Drop a held version; a file that names the object but never had a good one inherits it."""
        item = file.good.pop(key)
        for path in self._claimants.get(key, set()) - {file.path}:
            self._files[path].good.setdefault(key, item)

    def _register(self, file: _File, keys: Iterable[ObjectKey]) -> None:
        for key in keys:
            claimants = self._claimants.setdefault(key, set())
            if key in file.holders or key in file.good:
                claimants.add(file.path)
            else:
                claimants.discard(file.path)
            if not claimants:
                del self._claimants[key]
        if not (file.blocks.items or file.good or file.unreadable):
            del self._files[file.path]

    def _batch(self, touched: set[ObjectKey]) -> Batch:
        changes: dict[ObjectKey, Object | None] = {}
        diagnostics: dict[ObjectKey, tuple[Diagnostic, ...]] = {}
        for key in sorted(touched):
            item, findings = self._decide(key)
            item_before, findings_before = self._in_force.get(key, _NOTHING)
            if item != item_before:
                changes[key] = item
            if findings != findings_before:
                diagnostics[key] = findings
            if item is None and not findings:
                self._in_force.pop(key, None)
            else:
                self._in_force[key] = (item, findings)
        return Batch(changes=changes, diagnostics=diagnostics)

    def _decide(self, key: ObjectKey) -> _Finding:
        """Return what is in force for an object, and everything there is to say about it."""
        if key.kind == "File" and key == file_key(key.name):
            file = self._files.get(key.name)
            return (None, file.faults()) if file else _NOTHING
        claimants = sorted(
            (self._files[path] for path in self._claimants.get(key, ())), key=lambda file: file.rank
        )
        naming = [file for file in claimants if key in file.holders]
        if sum(len(file.holders[key]) for file in naming) > 1:
            self._contested.add(key)
        else:
            self._contested.discard(key)
        holding = [file for file in claimants if key not in file.holders]
        winner = next((file for file in (*naming, *holding) if key in file.good), None)
        item = winner.good[key] if winner else None
        if naming:
            return item, _findings(key, naming, winner if winner in naming else naming[0])
        return item, winner.faults() if winner else ()

    def _forget_spare_texts(self) -> None:
        if len(self._readings) > 2 * self._in_use + _SPARE_TEXTS:
            blocks = (block for file in self._files.values() for block in file.blocks.items)
            self._readings = {block.text: block.reading for block in blocks}


@lru_cache(maxsize=1_024)
def _line_of(text: str, path: str) -> int:
    """Return the line of a field in its document, or of what is nearest to it, counted from 0."""
    try:
        tree = read_tree(text)
    except TreeError:
        return 0
    steps = (key or name or int(number) for key, name, number in _STEP.findall(path))
    return tree.line(tuple(steps)) if tree is not None else 0


def _hold(faults: tuple[Diagnostic, ...]) -> bool:
    """Tell whether something could not be read, so that it is unknown which objects it was."""
    return any(found.code.severity is Severity.ERROR for found in faults)


def _remove_holder(file: _File, block: Block) -> None:
    for parsed in block.parsed:
        holders = [other for other in file.holders.get(parsed.key, ()) if other is not block]
        if holders:
            file.holders[parsed.key] = holders
        else:
            file.holders.pop(parsed.key, None)


def _findings(key: ObjectKey, naming: list[_File], winner: _File) -> tuple[Diagnostic, ...]:
    """Return the findings on an object in every place where it stands."""
    in_force = winner.place(key)
    found: list[Diagnostic] = []
    for file in naming:
        for block in file.holders[key]:
            found += (_located(d, file, block) for d in block.of(key).diagnostics)
            if in_force is not None and block is not in_force:
                found.append(_duplicate(key, file, block, f"{winner.path}:{in_force.first_line}"))
    return tuple(found)


def _duplicate(key: ObjectKey, file: _File, block: Block, other: str) -> Diagnostic:
    return Diagnostic(
        code=DUPLICATE_OBJECT,
        object=key,
        path="",
        message=f"{key} stands here and at {other}, which is in force",
        location=Location(file=file.path, line=block.first_line),
    )


def _located(found: Diagnostic, file: _File, block: Block) -> Diagnostic:
    """Return a finding with the place where its document stands now."""
    reading = block.reading
    if found.location is None or (reading.file == file.path and reading.line == block.line):
        return found
    line = found.location.line - reading.line + block.line
    return replace(found, location=Location(file=file.path, line=line))
