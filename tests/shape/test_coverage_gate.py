"""The gate that ``make test`` ends with is able to fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_COVERED = (
    "def half(number):\n    if number > 1:\n        return number / 2\n    return 0\n\n\nhalf(2)\n"
)


def _measure(directory: Path, *, engine: str) -> subprocess.CompletedProcess[str]:
    """Run the gate where every promise is kept, but for what this engine leaves uncovered."""
    modules = {
        "core/mizzen/engine.py": engine,
        **dict.fromkeys(
            (f"core/mizzen/m{number}.py" for number in range(20)), _COVERED + "half(1)\n"
        ),
        "xds/mizzen_xds/subscription.py": "x = 1\n",
        "xds/mizzen_xds/stream.py": "x = 1\n",
    }
    for name, text in modules.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (directory / "all.py").write_text(
        f"import runpy\nfor name in {list(modules)}:\n    runpy.run_path(name)\n"
    )
    shutil.copy(ROOT / "tests" / "support" / "coverage_gate.py", directory)
    subprocess.run(
        [sys.executable, "-m", "coverage", "run", "--branch", "all.py"], cwd=directory, check=True
    )
    return subprocess.run(
        [sys.executable, "coverage_gate.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gate_opens_where_every_promise_is_kept(tmp_path: Path) -> None:
    """Full coverage ends with 0 and a line for each promise."""
    done = _measure(tmp_path, engine=_COVERED + "half(1)\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": holds") == 4


@pytest.mark.parametrize("engine", [_COVERED, "def never():\n    return 1\n"])
def test_the_gate_names_the_promise_that_is_broken(tmp_path: Path, engine: str) -> None:
    """A branch that was not taken breaks the engine's promise, and only that one."""
    done = _measure(tmp_path, engine=engine)
    assert done.returncode == 1
    assert done.stdout.count("BROKEN") == 1
    assert "coverage of engine" in done.stdout
