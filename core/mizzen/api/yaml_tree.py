"""YAML as Kubernetes reads it, with the line of every field.

A document is composed to nodes once by libyaml; values are made from the nodes here, without
PyYAML's resolver and constructor, which take most of its time. Nodes know their lines, so the line
of a field costs nothing until somebody asks for it.

Scalars follow YAML 1.1 as kubectl does, except that what looks like a date stays text: JSON has none.
Nulls are left out of mappings, because the API server takes a null for an absent field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from sys import intern
from typing import TYPE_CHECKING, Final

from yaml import MappingNode, MarkedYAMLError, Node, ScalarNode, SequenceNode, YAMLError
from yaml._yaml import CParser

if TYPE_CHECKING:
    from mizzen.api.findings import Path

# Far above any manifest (a Secret may hold 1 MiB, but in few nodes); what passes it is an alias bomb.
_MAX_NODES: Final = 500_000
# Kubernetes' own decoder stops at 10,000; no schema here goes deeper than 20.
_MAX_DEPTH: Final = 100

# Names, labels and versions recur in a mesh; what is longer is rarely said twice.
_RECURRING: Final = 64

_TEMPLATE: Final = "what stands in {{ }} is to be filled in first, as by `helm template`"
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
}
_NUMERIC_START: Final = frozenset("0123456789+-.")
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o?[0-7_]+|0b[01_]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class TreeError(Exception):
    """The text is not YAML, or not YAML that an object could be written in.

    Attributes:
        line: Where it breaks, counted from 0.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Tree:
    """A document's value, and what is needed to say where things stand in it.

    Attributes:
        duplicates: Path and line of every key that its mapping has already; the first one counts.
    """

    value: object
    root: Node
    duplicates: tuple[tuple[Path, int], ...] = ()

    def line(self, path: Path) -> int:
        """Return the line, counted from 0, of a field, or of the nearest thing above it."""
        node, line = self.root, int(self.root.start_mark.line)
        for step in path:
            found = _step(node, step)
            if found is None:
                return line
            node, line = found
        return line


def _step(node: Node, step: str | int) -> tuple[Node, int] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, int(key.start_mark.line)
    if isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.value):
        item = node.value[step]
        return item, int(item.start_mark.line)
    return None


class _Composer(CParser):
    """libyaml's parser with the resolver taken out: an untagged scalar's tag is None."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)

    def resolve(self, _kind: object, _value: object, _implicit: object) -> None:
        """Leave the type of scalars to ``_scalar``."""

    def descend_resolver(self, _parent: object, _index: object) -> None:
        """Do nothing; there are no resolvers by path."""

    def ascend_resolver(self) -> None:
        """Do nothing; there are no resolvers by path."""


def read_tree(text: str) -> Tree | None:
    """Return what a document says, None where it says nothing; ``TreeError`` where it is broken."""
    try:
        return _read(text)
    except TreeError as error:
        raise TreeError(f"{error}{_hint(text, error.line)}", error.line) from error


def _hint(text: str, line: int) -> str:
    """Say what people meet who check a chart before it is rendered; YAML's own words do not tell them."""
    near = text.splitlines()[max(line - 1, 0) : line + 1]
    is_template = any("{{" in one for one in near)
    return f"; {_TEMPLATE}" if is_template else ""


def _read(text: str) -> Tree | None:
    try:
        root = _Composer(text).get_single_node()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TreeError(_sentence(error), mark.line if mark else 0) from error
    except (YAMLError, UnicodeError) as error:
        raise TreeError(str(error), 0) from error
    if root is None:
        return None
    builder = _Builder()
    value = builder.build(root, ())
    return Tree(value, root, tuple(builder.duplicates)) if value is not None else None


def _sentence(error: MarkedYAMLError) -> str:
    return " ".join(part for part in (error.context, error.problem) if part)


@dataclass(slots=True)
class _Builder:
    """Makes values from nodes, counting them, because aliases can multiply without end."""

    duplicates: list[tuple[Path, int]] = field(default_factory=list)
    nodes: int = 0

    def build(self, node: Node, path: Path) -> object:
        self.nodes += 1
        if self.nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise TreeError("aliases or nesting make it too large", node.start_mark.line)
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: Node, path: Path) -> dict[str, object]:
        made: dict[str, object] = {}
        seen: set[str] = set()
        merged: list[object] = []
        for key_node, value_node in node.value:
            key = _key(key_node)
            here = (*path, key)
            value = self.build(value_node, here)
            if key == "<<" and not key_node.style:
                merged.extend(value if isinstance(value, list) else [value])
            elif key in seen:
                self.duplicates.append((here, key_node.start_mark.line))
            else:
                seen.add(key)
                if value is not None:
                    made[key] = value
        for source in merged:
            if not isinstance(source, dict):
                raise TreeError("a merge key (<<) needs a mapping", node.start_mark.line)
            made = {**source, **made}
        return made


def _key(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return _text(node)
    raise TreeError("a key must be a word, not a list or mapping", node.start_mark.line)


def _scalar(node: ScalarNode) -> object:
    tag: str | None = node.tag  # None is what the composer leaves, see there
    if tag is None:
        return _text(node) if node.style else plain(_text(node))
    if tag in (f"{_TAG}str", f"{_TAG}binary", f"{_TAG}timestamp"):
        return _text(node)
    if tag.startswith(_TAG):
        return plain(_text(node))
    raise TreeError(f"the tag {tag} has no meaning in Kubernetes", node.start_mark.line)


def _text(node: ScalarNode) -> str:
    """Return what a scalar says; equal short ones are one string, so that a large mesh takes less memory."""
    text = str(node.value)
    return intern(text) if len(text) <= _RECURRING else text


def plain(text: str) -> object:
    """Return the value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMERIC_START:
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _integer(text: str) -> int:
    digits = text.lstrip("+-").replace("_", "")
    if digits[:2] in ("0x", "0b", "0o"):
        number = int(digits, 0)
    elif len(digits) > 1 and digits[0] == "0":
        number = int(digits, 8)
    else:
        number = int(digits)
    return -number if text.startswith("-") else number
