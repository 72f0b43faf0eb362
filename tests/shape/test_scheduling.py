"""Tests that share what is expensive run in one process, also where several share the suite."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.repository import ROOT
from tests.support.scheduling import scope, turn

pytest_plugins = ["pytester"]

_SHARING: Final = """
from tests.support.scheduling import Shares

def pytest_xdist_make_scheduler(config, log):
    return Shares(config, log)
"""
_MESH: Final = """
import os
import pytest

@pytest.fixture(scope="module")
def mesh():
    return os.getpid()

@pytest.mark.parametrize("number", range(20))
def test_it_is_here(mesh, number):
    with open("told", "a") as told:
        told.write(f"{__name__} {mesh}\\n")
"""


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/envoy/test_a.py::test_b", "tests/envoy/test_a.py::test_c[x::y]", True),
        ("tests/envoy/test_a.py::test_b", "tests/envoy/test_b.py::test_b", False),
        ("tests/kube/test_a.py::test_b", "tests/kube/test_c.py::test_d", True),
        ("tests/envoy/test_demo_a.py::test_b[1]", "tests/envoy/test_demo_a.py::test_b[2]", False),
    ],
)
def test_what_is_shared_is_made_once(one: str, other: str, together: bool) -> None:
    """A mesh is a module's, the API server is its suite's, and a demo is one test's."""
    assert (scope(one) == scope(other)) is together


def test_what_takes_long_begins_first() -> None:
    """What is left at the end is short, so that no process waits long for the other."""
    scopes = ["tests/unit/test_a.py", "tests/envoy/test_mesh_a.py", "tests/kube/"]
    assert sorted(scopes, key=turn) == scopes[::-1]


def test_several_processes_do_all_of_it_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every test runs in the process of its module, and in no other one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makeconftest(_SHARING)
    pytester.makepyfile(test_a=_MESH, test_b=_MESH, test_c=_MESH)
    pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider").assert_outcomes(passed=60)
    told = (pytester.path / "told").read_text(encoding="ascii").splitlines()
    assert len(told) == 60
    assert len(set(told)) == 3
