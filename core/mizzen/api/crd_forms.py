"""What can be said of a manifest in its kind's schema: rules in CEL, and a schema's own words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ``x-kubernetes-validations``.

    Attributes:
        rule: The expression; ``self`` is the part that it stands on.
        message: What is wrong, where it is false.
        field: The field to blame, in the part; the part itself where it is empty.
    """

    rule: str
    message: str
    field: str = ""

    def as_schema(self) -> dict[str, Any]:
        """Return the rule as a schema has it."""
        blamed = {"fieldPath": f".{self.field}"} if self.field else {}
        return {**blamed, "message": self.message, "rule": self.rule}


@dataclass(frozen=True, slots=True)
class Words:
    """A restriction in a schema's own words, which cost nothing where a rule in CEL is too dear.

    What an API server lets a rule cost is counted for lists without limits as if they filled a request.
    """

    schema: Mapping[str, Any]


def has(field: str) -> dict[str, Any]:
    """Return the schema of what has a field."""
    return {"required": [field]}


def exactly_one(*fields: str) -> Words:
    """Return that one of some fields is there, and no other of them."""
    return Words({"oneOf": [has(field) for field in fields]})


def not_both(first: str, second: str) -> Words:
    """Return that two fields are not there together."""
    return Words({"not": {"allOf": [has(first), has(second)]}})


def having(values: Mapping[str, object]) -> dict[str, Any]:
    """Return the schema of what has these values."""
    return {
        "required": list(values),
        "properties": {field: {"enum": [value]} for field, value in values.items()},
    }


def needs(*fields: str) -> Words:
    """Return that one of some fields is there at least."""
    return Words({"anyOf": [has(field) for field in fields]})


def count(*fields: str) -> str:
    """Return how many of some fields are there, in CEL."""
    return " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)


def any_of(*fields: str) -> str:
    """Return whether one of some fields is there, in CEL."""
    return " || ".join(f"has(self.{field})" for field in fields)


def one_at_most(*fields: str) -> Rule:
    """Return that of some fields one is there at most."""
    words = f"{', '.join(fields[:-1])} and {fields[-1]}"
    return Rule(f"{count(*fields)} <= 1", f"{words} exclude each other", fields[-1])


def some_of(what: str, *fields: str) -> Rule:
    """Return that a part needs one of some fields at least."""
    words = f"{', '.join(fields[:-1])} or {fields[-1]}"
    return Rule(any_of(*fields), f"{what} needs {words}")


def filled(field: str) -> str:
    """Return whether a field is there and holds something, in CEL."""
    return f"has(self.{field}) && size(self.{field}) > 0"


def choice(*values: object) -> Words:
    """Return that a field has one of these values."""
    return Words({"enum": list(values)})


def pattern(expression: str) -> Words:
    """Return that a text is of a form."""
    return Words({"pattern": expression})


def each_item(rule: Rule) -> Words:
    """Return that a rule holds for every item of a list."""
    return Words({"each": {"x-kubernetes-validations": [rule.as_schema()]}})


def each(expression: str) -> Words:
    """Return that the values of a map, or the items of a list, are of a form."""
    return Words({"each": {"pattern": expression}})
