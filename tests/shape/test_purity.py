"""What import contracts cannot say: how modules of the planes behave when they are imported, and core when it runs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.repository import PLANES, python_files, relative

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# What reads a clock, draws lots or touches the world without an import that the contract would catch.
_IMPURE_NAMES: Final = frozenset(
    {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
)
_IMPURE_METHODS: Final = frozenset({"now", "utcnow", "today", "import_module"})

# The seam itself is declared in core; its implementations stand at the edges.
_DECLARES_THE_CLOCK: Final = "core/mizzen/clock.py"

_RUNS_AT_IMPORT: Final = (ast.For, ast.While, ast.With, ast.Try, ast.Assert, ast.Delete, ast.Raise)


def _ids(path: Path) -> str:
    return relative(path)


@pytest.mark.parametrize("path", python_files(below=("core",)), ids=_ids)
def test_core_neither_reads_a_clock_nor_touches_the_world(path: Path) -> None:
    """The same World gives the same bytes: no file, terminal, clock or chance in between."""
    calls = [node.func for node in ast.walk(_tree(path)) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    assert not names & _IMPURE_NAMES
    if relative(path) != _DECLARES_THE_CLOCK:
        assert not methods & _IMPURE_METHODS


@pytest.mark.parametrize("path", python_files(below=tuple(PLANES)), ids=_ids)
def test_importing_a_module_runs_nothing(path: Path) -> None:
    """A module's top level defines; it neither calls for effect, nor loops, nor decides."""
    assert [f"line {node.lineno}" for node in _effects(_tree(path))] == []


@pytest.mark.parametrize("path", python_files(below=("core",)), ids=_ids)
def test_a_value_of_core_is_frozen_and_slotted(path: Path) -> None:
    """Every public dataclass of core can be shared between streams and threads, and costs no dictionary."""
    loose = [
        found.name
        for found in ast.walk(_tree(path))
        if isinstance(found, ast.ClassDef)
        and not found.name.startswith("_")  # the working state of one function may change
        and any(
            _is_dataclass(decorator) and not _is_value(decorator)
            for decorator in found.decorator_list
        )
    ]
    assert loose == []


@pytest.mark.parametrize("path", python_files(below=tuple(PLANES)), ids=_ids)
def test_a_plane_imports_no_private_module_or_name_of_another(path: Path) -> None:
    """What begins with an underscore belongs to its own package."""
    own = PLANES[relative(path).split("/")[0]]
    taken = [
        f"{node.module}.{alias.name}"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if _is_of_another_plane(node.module, own) and "._" in f"{node.module}.{alias.name}"
    ]
    assert taken == []


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _effects(tree: ast.Module) -> Iterator[ast.stmt]:
    for node in tree.body:
        is_effect = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        is_decision = isinstance(node, ast.If) and not _is_allowed_condition(node.test)
        if is_effect or is_decision or isinstance(node, _RUNS_AT_IMPORT):
            yield node


def _is_allowed_condition(test: ast.expr) -> bool:
    text = ast.unparse(test)
    return text in ("TYPE_CHECKING", "__name__ == '__main__'") or text.startswith(
        "sys.version_info"
    )


def _is_dataclass(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called) in ("dataclass", "dataclasses.dataclass")


def _is_value(decorator: ast.expr) -> bool:
    given = decorator.keywords if isinstance(decorator, ast.Call) else []
    switched_on = {word.arg for word in given if ast.unparse(word.value) == "True"}
    return {"frozen", "slots"} <= switched_on


def _is_of_another_plane(module: str, own: str) -> bool:
    package = module.split(".", maxsplit=1)[0]
    return package in PLANES.values() and package != own
