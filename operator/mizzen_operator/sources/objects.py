"""From what an API server tells to batches: pure, so that its laws can be tested.

What is known of an object is its last version and what it meant. An object that comes again unchanged
(a watch that begins anew tells everything once more) costs a comparison; one that changed without
meaning anything else (a pod's heartbeat, a status) costs a parse and reaches nobody. An object with
errors keeps its last good version in force.

**What a watch does not tell.** Objects that vanish while a watch is broken are missed by it for good.
So the keys that a list has are held against those that are known: what was known before the list
began, is not in it and was not told of since, is gone.

**In which order things are told.** Of one object in order; but an object that was deleted and made again
under its name is two to who watches, and the end of the first may be told after the second's beginning.
What is older than what is known is therefore passed over, by resourceVersion; a list is always believed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mizzen.api.parse import parse_object
from mizzen.diagnostics import Diagnostic
from mizzen.model.mesh import MeshSettings
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube.paths import RESOURCE_OF, SECRETS, is_steering
from mizzen_operator.sources.looked_at import LookedAt
from mizzen_operator.sources.references import References

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.model.world import Object
    from mizzen_operator.kube.paths import Resource
    from mizzen_operator.sources.references import SecretName

Raw = dict[str, Any]

# What of a pod's status is read.
_POD_STATUS: Final = frozenset(("phase", "podIP", "podIPs"))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one object; ``told`` grows with each telling of anything."""

    resource_version: str
    meaning: Object | None
    diagnostics: tuple[Diagnostic, ...]
    version: str
    told: int


class Objects:
    """All objects that an API server has told of, and the Secrets that they refer to."""

    def __init__(self, mesh: MeshSettings | None = None) -> None:
        self._known: dict[ObjectKey, _Known] = {}
        self._references = References()
        self._looked_at = LookedAt(mesh or MeshSettings())
        self._told = 0
        self._wanted: frozenset[str] = frozenset()
        # What was deleted since the objects of some namespaces are being listed; None while none are.
        self._ended: set[ObjectKey] | None = None

    @property
    def told(self) -> int:
        """How much was told until now: what :meth:`sweep` is given is taken before a list begins."""
        return self._told

    @property
    def references(self) -> int:
        """A number that grows when other Secrets may be referred to."""
        return self._references.changes

    @property
    def wanted(self) -> frozenset[str]:
        """Namespaces that are looked at and were not, so that their objects are to be listed."""
        return self._wanted

    @contextmanager
    def listing(self) -> Iterator[frozenset[str]]:
        """Have the objects of the wanted namespaces listed; inside, what ends is not brought back by a list.

        Those of which that fails go on being wanted.
        """
        namespaces, self._wanted, self._ended = self._wanted, frozenset(), set()
        try:
            yield namespaces
        except BaseException:
            self._wanted |= namespaces
            raise
        finally:
            self._ended = None

    def __len__(self) -> int:
        return len(self._known)

    def take(self, raw: Raw, *, is_listed: bool = False) -> Batch | None:
        """Take in an object as it is now; return what that changes, None where that is nothing."""
        key = key_of(raw)
        if key is None or self._is_left_out(key):
            return None
        self._told += 1
        version = _version(raw)
        before = self._known.get(key)
        if before is not None and version and before.resource_version == version:
            self._known[key] = _retold(before, self._told)
            return None
        if before is not None and not is_listed and _is_older(version, before.resource_version):
            return None
        return self._read(key, raw, before)

    def end(self, raw: Raw) -> Batch | None:
        """Take out an object that was deleted; None where another of its name has been made since."""
        key = key_of(raw)
        if key is not None and self._ended is not None:
            self._ended.add(key)
        known = None if key is None else self._known.get(key)
        if key is None or known is None or _is_older(_version(raw), known.resource_version):
            return None
        return self.remove(key)

    def remove(self, key: ObjectKey) -> Batch | None:
        """Take an object out; return what that changes, None where it was not known."""
        self._told += 1
        self._references.forget(key)
        if self._known.pop(key, None) is None:
            return None
        # Told with what comes after it in one batch, an empty version is what says that it went.
        gone = {key: ""} if is_steering(key.kind) else {}
        batch = Batch(changes={key: None}, diagnostics={key: ()}, versions=gone)
        return self._decided(key, batch, None)

    def sweep(self, kind: str, listed: Iterable[ObjectKey], since: int) -> Iterator[Batch]:
        """Yield the removals of those of a kind that a list lacks which began at ``since``."""
        there = frozenset(listed)
        gone = [
            key
            for key, known in self._known.items()
            if key.kind == kind and known.told <= since and key not in there
        ]
        for key in gone:
            batch = self.remove(key)
            if batch is not None:
                yield batch

    def secrets(self) -> frozenset[SecretName]:
        """Return the Secrets that some object refers to."""
        return self._references.secrets()

    def _read(self, key: ObjectKey, raw: Raw, before: _Known | None) -> Batch | None:
        parsed = parse_object(_slim(raw))
        if isinstance(parsed, Diagnostic):
            return None
        meaning = parsed.object
        if meaning is None and before is not None:
            meaning = before.meaning
        self._references.note(key, raw, meaning)
        metadata = raw["metadata"]
        known = _Known(
            _version(raw),
            meaning,
            parsed.diagnostics,
            f"{metadata.get('uid', '')}/{metadata.get('generation', 0)}"
            if is_steering(key.kind)
            else "",
            self._told,
        )
        self._known[key] = known
        return self._decided(key, _difference(key, before, known), meaning)

    def _is_left_out(self, key: ObjectKey) -> bool:
        return self._looked_at.leaves_out(key) or (self._ended is not None and key in self._ended)

    def _decided(self, key: ObjectKey, batch: Batch | None, meaning: Object | None) -> Batch | None:
        """Return a change with what it has come and go of other objects, where it decides of them."""
        if batch is None or not self._looked_at.note(key, meaning):
            return batch
        self._wanted |= self._looked_at.wanted()
        hidden = [one for one in self._known if self._looked_at.leaves_out(one)]
        gone = (self.remove(one) for one in hidden)
        return together((batch, *filter(None, gone)), complete=True) if hidden else batch


def _version(raw: Mapping[str, Any]) -> str:
    return str(raw["metadata"].get("resourceVersion", ""))


def _is_older(version: str, known: str) -> bool:
    """Tell whether a resourceVersion is older (KEP-5504); what is no number is never."""
    return version.isdigit() and known.isdigit() and int(version) < int(known)


def _slim(raw: Raw) -> Raw:
    """Return an object without its largest parts that mean nothing to a mesh, which is most of a pod."""
    metadata = {name: value for name, value in raw["metadata"].items() if name != "managedFields"}
    if raw.get("kind") != "Pod":
        return {**raw, "metadata": metadata}
    status = raw.get("status") or {}
    kept = {name: status[name] for name in _POD_STATUS & status.keys()}
    return {**raw, "metadata": metadata, "status": kept}


def typed(page: list[Raw], resource: Resource) -> list[Raw]:
    """Return objects of a list with their kind, which a list says but once."""
    for raw in page:
        raw["kind"], raw["apiVersion"] = resource.kind, resource.api_version
    return page


def together(batches: Iterable[Batch], *, complete: bool) -> Batch:
    """Return one batch that does what many do one after the other, in one pass."""
    changes: dict[ObjectKey, Object | None] = {}
    diagnostics: dict[ObjectKey, tuple[Diagnostic, ...]] = {}
    versions: dict[ObjectKey, str] = {}
    for batch in batches:
        changes.update(batch.changes)
        diagnostics.update(batch.diagnostics)
        versions.update(batch.versions)
    return Batch(changes=changes, diagnostics=diagnostics, versions=versions, complete=complete)


def key_of(raw: Mapping[str, Any]) -> ObjectKey | None:
    """Return the key of an object, None where it is of no kind that is handled."""
    kind, metadata = raw.get("kind", ""), raw.get("metadata") or {}
    resource = RESOURCE_OF.get(kind)
    group = str(raw.get("apiVersion", "")).rpartition("/")[0]
    if resource is None or resource.group != group:
        return None
    return ObjectKey(DEFAULT_REGISTRY, kind, metadata.get("namespace", ""), metadata["name"])


def secret_key(name: SecretName) -> ObjectKey:
    """Return the key of a Secret."""
    return ObjectKey(DEFAULT_REGISTRY, SECRETS.kind, *name)


def _retold(known: _Known, told: int) -> _Known:
    return _Known(known.resource_version, known.meaning, known.diagnostics, known.version, told)


def _difference(key: ObjectKey, before: _Known | None, now: _Known) -> Batch | None:
    """Return what is to be told of an object, None where nobody would see a difference."""
    was = None if before is None else before.meaning
    is_same = before is not None and (before.diagnostics, before.version) == (
        now.diagnostics,
        now.version,
    )
    if is_same and was == now.meaning:
        return None
    return Batch(
        changes={} if was == now.meaning else {key: now.meaning},
        diagnostics={key: now.diagnostics},
        versions={key: now.version} if now.version else {},
    )
