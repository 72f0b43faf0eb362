"""Whatever stands in a field, it is refused by name or rendered: nothing that is written ends the control plane."""

from __future__ import annotations

import copy
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.api.documents import split_documents
from mizzen.api.parse import parse_document
from mizzen.compile import Compiler
from mizzen.diagnostics import Diagnostic
from mizzen.model.world import Batch, Object
from tests.support.mesh_case import node_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.names import ObjectKey

_CASES: Final = Path(__file__).parents[1] / "golden" / "mesh"
_TEXTS: Final = (
    *("", "a b", "a\nb", "a\0b", "ä", "x" * 300, "x" * 5000, ".", "..", "~", "a|b", "a/b/c"),
    *("*", "*.a", "a*", "%", "%X%", "(", "[", "{*}", "{**}/{**}", "/", "//", ":80"),
    *("10.0.0.1", "10.0.0.0/8", "::1", "0.0.0.0", "127.0.0.1", "0", "99999", "-1"),
    "cluster.local/ns/x/sa/y",
)
_NUMBERS: Final = (0, -1, 1, 65_535, 65_536, *(2**n + d for n in (31, 32, 63) for d in (-1, 0)))
_DURATIONS: Final = ("0s", "1ns", "1ms", "0.5s", "100000h", "2540400h", "1h1m1s", "-1s")
_DURATION: Final = re.compile(r"[\d.]+(ms|s|m|h)")

# JSON as it comes, and the way to something in it.
_Document = dict[str, Any]
_Way = tuple[str | int, ...]


@cache
def _cases() -> tuple[tuple[list[str], list[_Document]], ...]:
    """Return the golden cases: whose proxies, and the manifests."""
    found = []
    for file in sorted(_CASES.glob("*.in.yaml")):
        texts = [document.text for document in split_documents(file.read_text(encoding="utf-8"))]
        try:
            head, *documents = (yaml.safe_load(text) for text in texts)
        except yaml.YAMLError:
            continue  # a case about broken files
        manifests = [one for one in documents if isinstance(one, dict) and "kind" in one]
        found.append((head["proxies"], manifests))
    return tuple(found)


def _leaves(inside: object, way: _Way = ()) -> Iterator[tuple[_Way, object]]:
    if isinstance(inside, dict):
        for name, value in inside.items():
            yield from _leaves(value, (*way, name))
    elif isinstance(inside, list):
        for index, value in enumerate(inside):
            yield from _leaves(value, (*way, index))
    else:
        yield way, inside


def _others(value: object) -> tuple[object, ...]:
    """Return what else might be written in the place of a value."""
    match value:
        case bool():
            return (not value,)
        case int() | float():
            return _NUMBERS
        case str() if _DURATION.fullmatch(value):
            return _DURATIONS
        case _:
            return _TEXTS


@st.composite
def _edited(draw: st.DrawFn) -> tuple[list[str], list[_Document]]:
    """Return a case in which one field holds something else."""
    proxies, manifests = draw(st.sampled_from(_cases()))
    index = draw(st.integers(0, len(manifests) - 1))
    edited = copy.deepcopy(manifests[index])
    leaves = [
        (way, value) for way, value in _leaves(edited) if way[0] not in ("apiVersion", "kind")
    ]
    way, value = draw(st.sampled_from(leaves))
    place: Any = edited
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = draw(st.sampled_from(_others(value)))
    return proxies, [*manifests[:index], edited, *manifests[index + 1 :]]


@given(_edited())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_accepted_is_rendered(case: tuple[list[str], list[_Document]]) -> None:
    """Reading, compiling for each proxy and looking for mistakes, all without an exception."""
    proxies, manifests = case
    objects: dict[ObjectKey, Object] = {}
    for document in split_documents(yaml.safe_dump_all(manifests)):
        for parsed in parse_document(document, "mesh.yaml"):
            if not isinstance(parsed, Diagnostic) and parsed.object is not None:
                objects[parsed.key] = parsed.object
    compiler = Compiler()
    compiler.commit(Batch(changes=dict(objects)))
    for name in proxies:
        try:
            node = node_of(name, objects)
        except LookupError:
            continue  # it was its pod that was edited
        compiler.bundle(compiler.classify(node))
    compiler.analyze()
