"""What a replica knows of the objects that people write: which version of each it serves, and what is wrong.

Every replica keeps this, so that each can answer for itself and each can come to write the status.
Versions are the API server's own (``<uid>/<generation>``), so that replicas, whose revisions number
different rounds, mean the same by them. Nothing of a status is in here, nor does it come back from the
API server: what is written enters nothing that is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mizzen.diagnostics import Severity
from mizzen_operator.kube.paths import is_steering

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.diagnostics import Diagnostic
    from mizzen.model.world import Batch
    from mizzen.names import ObjectKey

Findings = tuple["Diagnostic", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One object: the version that was read last, and whether that is the one in force."""

    version: str
    in_force: bool

    @property
    def uid(self) -> str:
        """The object's uid; another object of the same name has another one."""
        return self.version.rpartition("/")[0]

    @property
    def generation(self) -> int:
        """How often what is written was changed."""
        return int(self.version.rpartition("/")[2] or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """The objects whose errors are others now, and those of which only less than that is."""

    errors: frozenset[ObjectKey]
    others: frozenset[ObjectKey]


class Records:
    """All records, and the findings on objects of any kind."""

    def __init__(self) -> None:
        self._records: dict[ObjectKey, Record] = {}
        self._read: dict[ObjectKey, Findings] = {}
        self._linted: dict[ObjectKey, Findings] = {}

    def __iter__(self) -> Iterator[ObjectKey]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def get(self, key: ObjectKey) -> Record | None:
        """Return what is known of an object, None where there is no such object."""
        return self._records.get(key)

    def findings(self, key: ObjectKey) -> Findings:
        """Return what is wrong with an object, in itself and among the others."""
        return (*self._read.get(key, ()), *self._linted.get(key, ()))

    def wrong(self) -> Mapping[ObjectKey, Findings]:
        """Return every object with something wrong, in order."""
        keys = sorted({*self._read, *self._linted})
        return {key: self.findings(key) for key in keys}

    def take_batch(self, batch: Batch) -> frozenset[ObjectKey]:
        """Take note of what has come into force; return the objects that this may say something of."""
        for key, found in batch.diagnostics.items():
            _put(self._read, key, found)
        spoken_of = {*batch.changes, *batch.diagnostics, *batch.versions}
        return frozenset(
            key for key in spoken_of if is_steering(key.kind) and self._take(key, batch)
        )

    def take_lint(self, findings: Mapping[ObjectKey, Findings]) -> Linted:
        """Take in the findings of the whole mesh; return the objects of which they are others now."""
        before = self._linted
        self._linted = {key: found for key, found in findings.items() if found}
        changed = {
            key
            for key in {*before, *self._linted}
            if key in self._records and before.get(key) != self._linted.get(key)
        }
        errors = {
            key for key in changed if _errors(before.get(key)) != _errors(self._linted.get(key))
        }
        return Linted(errors=frozenset(errors), others=frozenset(changed - errors))

    def _take(self, key: ObjectKey, batch: Batch) -> bool:
        """Take note of one object; tell whether there is one."""
        known = self._records.get(key)
        version = batch.versions.get(key)
        is_gone = version == "" or (version is None and batch.changes.get(key, known) is None)
        if is_gone:
            self._records.pop(key, None)
            return False
        self._records[key] = Record(
            version=version or (known.version if known is not None else ""),
            in_force=batch.changes.get(key) is not None or not self._is_unreadable(key),
        )
        return True

    def _is_unreadable(self, key: ObjectKey) -> bool:
        """Tell whether an error in what is written keeps it from coming into force."""
        return bool(_errors(self._read.get(key)))


def _errors(found: Findings | None) -> Findings:
    return tuple(one for one in found or () if one.code.severity is Severity.ERROR)


def _put(mine: dict[ObjectKey, Findings], key: ObjectKey, found: Findings) -> None:
    if found:
        mine[key] = found
    else:
        mine.pop(key, None)
