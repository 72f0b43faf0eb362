"""The public face of the edge: a document, or an object, in; values and diagnostics out.

Nothing here fails: what cannot be read as an object is a ``Diagnostic`` by itself, what is an object
with errors is a ``Parsed`` without a value, so that its last good version stays in force.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.api.findings import Finding, Path, fatal, invalid, render_path
from mizzen.api.kinds import BY_NAME, GROUPS, Kind, by_word
from mizzen.api.meta import DEFAULT_NAMESPACE, DRY_RUN
from mizzen.api.shape import nearest
from mizzen.api.yaml_tree import Tree, TreeError, read_tree
from mizzen.diagnostics import (
    DUPLICATE_KEY,
    NOT_AN_OBJECT,
    NOT_YAML,
    UNKNOWN_KIND,
    UNSERVED_VERSION,
    Diagnostic,
    Location,
)
from mizzen.model.world import Parsed
from mizzen.names import DEFAULT_REGISTRY, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.api.documents import Document
    from mizzen.names import Registry

_LIST: Final = "List"
# Every kind of these groups is known, so another one is a slip; others' groups have kinds of all sorts.
_ISTIO: Final = ".istio.io"


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where an object's manifest stands: a part of a document of a file, or nowhere that has lines."""

    registry: Registry
    file: str | None = None
    first_line: int = 1
    tree: Tree | None = None
    prefix: Path = ()

    def at(self, line: int) -> Location | None:
        return Location(file=self.file, line=self.first_line + line) if self.file else None

    def of(self, path: Path) -> Location | None:
        return self.at(self.tree.line(self.prefix + path)) if self.tree else self.at(0)

    def diagnostic(self, found: Finding, key: ObjectKey | None) -> Diagnostic:
        return Diagnostic(
            code=found.code,
            object=key,
            path=render_path(found.path),
            message=found.message,
            remedy=found.remedy,
            location=self.of(found.path),
        )

    def duplicates(self, key: ObjectKey) -> Iterator[Diagnostic]:
        """Yield a diagnostic for every key that stands twice, on the line of the second."""
        depth = len(self.prefix)
        for path, line in self.tree.duplicates if self.tree else ():
            if path[:depth] == self.prefix:
                yield Diagnostic(
                    code=DUPLICATE_KEY,
                    object=key,
                    path=render_path(path[depth:]),
                    message=f"{path[-1]} stands twice in its mapping",
                    location=self.at(line),
                )


def parse_document(
    document: Document, file: str, *, registry: Registry = DEFAULT_REGISTRY
) -> tuple[Parsed | Diagnostic, ...]:
    """Return what a document of a file means, the objects of a List one by one.

    Diagnostics say the line of the field; a document that says nothing gives nothing.
    """
    try:
        tree = read_tree(document.text)
    except TreeError as error:
        origin = _Origin(registry, file, document.first_line + error.line)
        return (origin.diagnostic(Finding(NOT_YAML, (), str(error)), None),)
    if tree is None:
        return ()
    return tuple(
        _object(value, _Origin(registry, file, document.first_line, tree, prefix))
        for prefix, value in _items(tree.value, ())
    )


def parse_object(
    manifest: Mapping[str, object],
    file: str | None = None,
    *,
    registry: Registry = DEFAULT_REGISTRY,
) -> Parsed | Diagnostic:
    """Return what an object means that is data already, as a Kubernetes API server gives it."""
    return _object(_without_nulls(manifest), _Origin(registry, file))


def _without_nulls(value: object) -> object:
    """Return a manifest in which absent and null are the same, as they are in Kubernetes."""
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def _items(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    items = value.get("items") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(items, list) and _is_list(value):
        for index, item in enumerate(items):
            yield from _items(item, (*path, "items", index))
    else:
        yield path, value


def _is_list(value: Mapping[str, object]) -> bool:
    return isinstance(value.get("kind"), str) and str(value["kind"]).endswith(_LIST)


def _object(value: object, origin: _Origin) -> Parsed | Diagnostic:
    if not isinstance(value, dict):
        return origin.diagnostic(Finding(NOT_AN_OBJECT, (), "is not a mapping"), None)
    for field in ("apiVersion", "kind"):
        if not isinstance(value.get(field), str):
            return origin.diagnostic(Finding(NOT_AN_OBJECT, (field,), f"{field} is missing"), None)
    kind = _kind(value["apiVersion"], value["kind"])
    key = _key(value, kind, origin.registry)
    if kind is None:
        return origin.diagnostic(_unknown_kind(value["apiVersion"], value["kind"]), key)
    if key is None:
        found = Finding(NOT_AN_OBJECT, ("metadata", "name"), f"this {kind.name} has no name")
        return origin.diagnostic(found, None)
    return _known(value, kind, key, origin)


def _kind(api_version: str, name: str) -> Kind | None:
    """Return the kind, also where the group is another one of ours: then its apiVersion is wrong."""
    group = api_version.rpartition("/")[0]
    found = BY_NAME.get((group, name))
    return by_word(name) if found is None and group in GROUPS else found


def _key(value: Mapping[str, object], kind: Kind | None, registry: Registry) -> ObjectKey | None:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace", "")
    if not isinstance(name, str) or not name:
        return None
    home = namespace if isinstance(namespace, str) and namespace else DEFAULT_NAMESPACE
    in_namespace = kind is None or kind.namespaced
    return ObjectKey(registry, str(value["kind"]), home if in_namespace else "", name)


def _unknown_kind(api_version: str, name: str) -> Finding:
    group = api_version.rpartition("/")[0]
    near = nearest(name, _kinds_of(group)) if group.endswith(_ISTIO) else ""
    hint = f"; did you mean {near}?" if near else ""
    remedy = f"Write {near} instead." if near else ""
    return Finding(UNKNOWN_KIND, ("kind",), f"{name} of {api_version} is not handled{hint}", remedy)


def _kinds_of(group: str) -> tuple[str, ...]:
    return tuple(name for of, name in BY_NAME if of == group)


def _known(value: Mapping[str, object], kind: Kind, key: ObjectKey, origin: _Origin) -> Parsed:
    group, _, version = str(value["apiVersion"]).rpartition("/")
    if group != kind.group or version not in kind.versions:
        message = f"{kind.name} is not served as {value['apiVersion']}"
        remedy = f"Write apiVersion: {kind.api_version}."
        found = Finding(UNSERVED_VERSION, ("apiVersion",), message, remedy)
        return Parsed(key=key, object=None, diagnostics=(origin.diagnostic(found, key),))
    reading = kind.read(value, key)
    twice = tuple(origin.duplicates(key))
    findings = (*_misplaced(value, kind), *reading.findings)
    diagnostics = twice + tuple(origin.diagnostic(found, key) for found in findings)
    if len(diagnostics) > 1:
        diagnostics = tuple(sorted(diagnostics, key=_line))
    sound = not twice and not fatal(findings)
    return Parsed(key=key, object=reading.object if sound else None, diagnostics=diagnostics)


def _misplaced(value: Mapping[str, object], kind: Kind) -> Iterator[Finding]:
    """Yield that only an AuthorizationPolicy is tried out, where another kind asks for it (Istio)."""
    if "istio.io" not in kind.group or kind.name == "AuthorizationPolicy":
        return
    metadata = value.get("metadata")
    written = metadata.get("annotations") if isinstance(metadata, dict) else None
    if isinstance(written, dict) and DRY_RUN in written:
        message = f"a {kind.name} cannot be tried out; only AuthorizationPolicies can"
        yield invalid(("metadata", "annotations", DRY_RUN), message, "Remove the annotation.")


def _line(diagnostic: Diagnostic) -> int:
    return diagnostic.location.line if diagnostic.location else 0
