"""The folders are the layer diagram, and the interpreter survives being started among them."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.support.repository import PLANES, ROOT, committed_files, relative

# docs/architecture.md, "The layout": nothing else stands at the top.
_TOP_LEVEL: Final = frozenset(
    {
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        "README.md",
        "bench",
        "certs",
        "charts",
        "cli",
        "core",
        "crds",
        "docs",
        "e2e",
        "images",
        "operator",
        "pyproject.toml",
        "requirements",
        "samples",
        "tests",
        "xds",
    }
)


def test_the_top_level_listing_is_the_layer_diagram() -> None:
    """What stands at the top of the repository is what the architecture page names, and no more."""
    found = {relative(path).split("/")[0] for path in committed_files()}
    assert found <= _TOP_LEVEL


@pytest.mark.parametrize("root", PLANES)
def test_a_source_root_holds_exactly_its_one_package(root: str) -> None:
    """No .py file stands directly in a source root: ``operator/__init__.py`` would shadow the standard library."""
    entries = {
        relative(path).split("/")[1]
        for path in committed_files()
        if relative(path).startswith(f"{root}/")
    }
    assert entries == {PLANES[root]}


@pytest.mark.parametrize("package", PLANES.items(), ids=PLANES.values())
def test_a_plane_is_a_typed_package(package: tuple[str, str]) -> None:
    """Each plane says to type checkers that its annotations count."""
    root, name = package
    assert (ROOT / root / name / "__init__.py").is_file()
    assert (ROOT / root / name / "py.typed").is_file()


def test_python_started_in_the_root_finds_the_standard_library() -> None:
    """The folder ``operator`` does not hide the module of that name from an interpreter started beside it."""
    program = "import operator, collections, dataclasses, enum; print(operator.add(20, 22))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "42\n", done.stderr


def test_xds_protos_keep_their_import_name() -> None:
    """The folder ``xds`` and the package ``xds`` of xds-protos live side by side."""
    program = "import xds.core.v3.resource_pb2 as found; print(found.DESCRIPTOR.name)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "xds/core/v3/resource.proto\n", done.stderr
