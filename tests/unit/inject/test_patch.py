"""A patch makes the new value of the old one, as RFC 6902 says."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mizzen_operator.inject.merge import overlaid
from mizzen_operator.inject.patch import json_patch

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a~/b", max_size=2), inner),
    max_leaves=12,
)
_OBJECTS = st.dictionaries(st.text("a~/b", max_size=2), _VALUES, max_size=4)


def applied(value: dict[str, Any], operations: list[dict[str, Any]]) -> object:
    """Apply a patch (RFC 6902) of the operations that are used."""
    value = copy.deepcopy(value)
    for operation in operations:
        *way, last = [
            word.replace("~1", "/").replace("~0", "~") for word in operation["path"].split("/")[1:]
        ]
        place: Any = value
        for word in way:
            place = place[int(word)] if isinstance(place, list) else place[word]
        key = int(last) if isinstance(place, list) else last
        match operation["op"]:
            case "remove":
                del place[key]
            case "add":
                assert key not in place
                place[key] = operation["value"]
            case "replace":
                place[key]
                place[key] = operation["value"]
    return value


def _same(left: object, right: object) -> bool:
    """Tell whether two values are one JSON: in Python 1 equals True, in JSON it does not."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


@given(_OBJECTS, _OBJECTS)
def test_a_patch_leads_from_old_to_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Whatever stands in them, and whatever characters keys have."""
    assert _same(applied(old, json_patch(old, new)), new)


def test_true_is_not_one() -> None:
    """Python's equality is not JSON's."""
    assert json_patch({"a": {"b": True}}, {"a": {"b": 1}}) == [
        {"op": "replace", "path": "/a/b", "value": 1}
    ]


@given(_OBJECTS)
def test_nothing_to_change_is_no_operation(value: dict[str, Any]) -> None:
    """A pod that is left alone is answered with an empty patch."""
    assert json_patch(value, copy.deepcopy(value)) == []


def test_lists_with_names_are_merged_entry_by_entry() -> None:
    """As in a strategic merge patch: known entries are laid over, new ones come last, others replaced."""
    base = {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}], "args": ["1"]}]}
    overlay = {
        "containers": [
            {"name": "b"},
            {"name": "a", "env": [{"name": "Y", "value": "2"}], "args": ["2"]},
        ]
    }
    assert overlaid(base, overlay) == {
        "containers": [
            {
                "name": "a",
                "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                "args": ["2"],
            },
            {"name": "b"},
        ]
    }
