"""YAML is read as Kubernetes reads it."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mizzen.api.yaml_tree import Tree, TreeError, plain, read_tree

pytestmark = pytest.mark.unit


def _tree(text: str) -> Tree:
    tree = read_tree(text)
    assert tree is not None
    return tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("Off", False),
        ("yes", True),
        ("y", "y"),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("-017", -15),
        ("0b11", 3),
        ("1.5", 1.5),
        ("1.10", 1.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2026-01-31", "2026-01-31"),
        ("12:30:45", "12:30:45"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        (".inf", ".inf"),
        ("10.0.0.1", "10.0.0.1"),
        ("1.5s", "1.5s"),
    ],
)
def test_unquoted_scalars_have_the_types_of_yaml_1_1(text: str, expected: object) -> None:
    """Except for dates, which JSON has not."""
    found = plain(text)
    assert found == expected
    assert type(found) is type(expected)


def test_quoted_scalars_are_text() -> None:
    """Whatever they look like."""
    assert _tree("""{a: "1", b: 'true', c: "null"}""").value == {"a": "1", "b": "true", "c": "null"}


def test_tags_choose_the_type() -> None:
    """The standard ones; a foreign tag is refused, because it would mean nothing in JSON."""
    assert _tree("{a: !!str 1, b: !!int '2', c: !!binary aGk=}").value == {
        "a": "1",
        "b": 2,
        "c": "aGk=",
    }
    with pytest.raises(TreeError, match="tag !mine"):
        read_tree("a: !mine b")


def test_nulls_are_left_out_of_mappings() -> None:
    """As Kubernetes drops them."""
    assert _tree("{a: null, b: [null], c: ~}").value == {"b": [None]}


def test_keys_are_text() -> None:
    """Even where they look like numbers."""
    assert _tree("{8080: a, true: b}").value == {"8080": "a", "true": "b"}
    with pytest.raises(TreeError, match="key"):
        read_tree("? [a]\n: b")


def test_anchors_and_merge_keys_are_followed() -> None:
    """What stands in the mapping itself wins over what is merged."""
    text = """
base: &base {a: 1, b: 2}
one: {<<: *base, b: 3}
two: {<<: [{c: 4}, *base]}
"""
    assert _tree(text).value == {
        "base": {"a": 1, "b": 2},
        "one": {"a": 1, "b": 3},
        "two": {"a": 1, "b": 2, "c": 4},
    }
    with pytest.raises(TreeError, match="merge key"):
        read_tree("a: {<<: 1}")


def test_a_key_that_stands_twice_is_told_with_the_line_of_the_second() -> None:
    """The first one counts."""
    tree = _tree("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert tree.value == {"a": {"b": 1, "c": 2}}
    assert tree.duplicates == ((("a", "b"), 3),)


def test_a_key_that_stands_twice_is_told_even_where_it_is_null() -> None:
    """The null is dropped, the mistake is not."""
    assert _tree("a: null\na: 1\n").duplicates == ((("a",), 1),)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 0),
        (("a",), 0),
        (("a", "b"), 1),
        (("a", "b", 1), 3),
        (("a", "b", 1, "c"), 3),
        (("a", "b", 1, "d"), 4),
        (("a", "missing", "deep"), 0),
        (("a", "b", 7), 1),
        (("e", "x"), 5),
    ],
)
def test_a_path_has_the_line_of_its_key(path: tuple[str | int, ...], line: int) -> None:
    """A path that does not exist has the line of the nearest thing above it."""
    assert _tree("a:\n  b:\n    - 1\n    - c: 2\n      d: 3\ne: word\n").line(path) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1, 2\nb: 3\n", 1),
        ("a: 1\n\tb: 2\n", 1),
        ("a: 'never closed\n", 1),
        ("a: *nothing\n", 0),
        ("a: 1\n---\nb: 2\n", 1),
        ("a: b: c\n", 0),
        ("a: \x00\n", 0),
    ],
)
def test_broken_yaml_says_its_line(text: str, line: int) -> None:
    """Where libyaml noticed it."""
    with pytest.raises(TreeError) as caught:
        read_tree(text)
    assert caught.value.line == line
    assert str(caught.value)


@pytest.mark.parametrize(
    "text", ["a:\n  b: {{ .Values.b }}\n", "{{- if .Values.a }}\na: 1\n{{- end }}\n"]
)
def test_a_template_is_known_for_one(text: str) -> None:
    """It is not YAML yet, which YAML's own words do not say."""
    with pytest.raises(TreeError, match="helm template"):
        read_tree(text)


def test_aliases_cannot_multiply_without_end() -> None:
    """The billion laughs, and an alias within its own anchor, are refused."""
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 9))
    with pytest.raises(TreeError, match="too large"):
        read_tree(f"l0: &l0 [x]\n{levels}\n")
    with pytest.raises(TreeError, match="too large"):
        read_tree("a: &a [*a]")


def test_an_empty_document_says_nothing() -> None:
    """Nor does a null."""
    assert read_tree("# nothing\n") is None
    assert read_tree("null") is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No other exception leaves the reader."""
    with suppress(TreeError):
        read_tree(text)


# What kubectl prints: JSON's escapes of characters beyond U+FFFF are not YAML's.
_TEXTS = st.text(st.characters(codec="utf-8", max_codepoint=0x2FF, exclude_categories=["Cc"]))
_LEAVES = st.booleans() | st.integers() | _TEXTS
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner), max_leaves=9
)


@given(st.dictionaries(_TEXTS, _VALUES, min_size=1))
def test_json_is_yaml_too(value: dict[str, object]) -> None:
    """Every JSON object is read as JSON would be."""
    text = json.dumps(value)
    assert _tree(text).value == value
