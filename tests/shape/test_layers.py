"""The contracts between the planes hold, and they are able to fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.repository import PLANES, ROOT

# Contract -> a file of a plane, and a line that breaks the contract there.
_VIOLATIONS: Final = {
    "cli -> operator -> {xds, certs} -> core": ("core/mizzen/names.py", "import mizzen_xds"),
    "core: api and resolve know no Envoy": ("core/mizzen/names.py", "import mizzen.ir"),
    "core does no I/O": ("core/mizzen/names.py", "import time"),
    "pydantic only where": ("operator/mizzen_operator/__init__.py", "import pydantic"),
    "Envoy's protobuf classes only": (
        "cli/mizzen_cli/__init__.py",
        "import envoy.config.core.v3.base_pb2",
    ),
    "grpc only in": ("operator/mizzen_operator/__init__.py", "import grpc.aio"),
    "kopf only where the cluster is watched": (
        "operator/mizzen_operator/__init__.py",
        "import kopf",
    ),
}


def test_every_contract_between_the_planes_holds() -> None:
    """``cli -> operator -> {xds, certs} -> core``, a pure core, and each outside library in its one place."""
    report = _lint(ROOT)
    assert "0 broken" in report, report


@pytest.fixture(scope="module")
def report_on_violations(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a copy of the planes in which every contract is broken once."""
    copy = tmp_path_factory.mktemp("planes")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for root in PLANES:
        shutil.copytree(ROOT / root, copy / root)
    for name, line in _VIOLATIONS.values():
        with (copy / name).open("a") as file:
            file.write(f"\n{line}\n")
    return _lint(copy)


@pytest.mark.parametrize("contract", _VIOLATIONS)
def test_a_violation_breaks_its_contract(contract: str, report_on_violations: str) -> None:
    """A contract that cannot fail holds nothing: each one does, for the import that it forbids."""
    verdicts = [line for line in report_on_violations.splitlines() if line.startswith(contract)]
    assert verdicts
    assert " BROKEN" in verdicts[0]


def _lint(directory: Path) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(directory / root) for root in PLANES),
            "COLUMNS": "200",  # a contract and its verdict stand on one line
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr
