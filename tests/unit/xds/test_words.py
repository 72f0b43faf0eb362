"""Refusals are told in the words that say why."""

from __future__ import annotations

import pytest

from mizzen_xds.words import readable

_WHY = "Proto constraint validation failed (ClusterValidationError.Name: value is required)"
_DUMP = 'goo.gle/debugproto   \nname: "a\\n: b"\nsni {\n  x: 1\n}\n: '


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("duplicate address", "duplicate address"),
        (f"{_DUMP}{_WHY}", _WHY),
        (
            f"Error adding: a: {_DUMP}{_WHY}, b: {_DUMP}{_WHY}",
            f"Error adding: a: {_WHY}, b: {_WHY}",
        ),
        ('goo.gle/debugstr  \ninline_bytes: "-----BEGIN', "…"),
        ("", ""),
    ],
)
def test_dumped_messages_are_left_out(said: str, told: str) -> None:
    """The reason stays, once for each resource; a dump that was cut off ends the text."""
    assert readable(said) == told
