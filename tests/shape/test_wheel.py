"""What is installed from the wheel is the five planes, and the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

from tests.support.repository import PLANES, ROOT, python_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel that was built just now."""
    target = tmp_path_factory.mktemp("wheel")
    wheel = _build(target)
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_the_five_packages_and_nothing_else(contents: set[str]) -> None:
    """Neither tests nor samples nor a folder called ``operator`` end up in site-packages."""
    tops = {PurePosixPath(name).parts[0] for name in contents}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PLANES.values())


def test_the_wheel_has_every_module_of_every_plane(contents: set[str]) -> None:
    """What runs from the checkout runs from the wheel."""
    modules = {path.relative_to(ROOT).as_posix().partition("/")[2] for path in python_files()}
    assert modules <= contents
    assert {f"{package}/py.typed" for package in PLANES.values()} <= contents


def _build(target: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(target.glob("*.whl"))
    assert wheels, done.stderr
    return wheels[0]
