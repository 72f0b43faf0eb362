"""What manifests mean: every case's diagnostics and resources, kept, and read by two other judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.envoy_validate import rejection
from tests.support.mesh_case import load_case, render_case
from tests.support.second_decoder import first, second

_FOLDER = Path(__file__).parent / "mesh"
_CASES = sorted(path.name.removesuffix(".in.yaml") for path in _FOLDER.glob("*.in.yaml"))


@pytest.fixture(params=_CASES)
def case_name(request: pytest.FixtureRequest) -> str:
    """Each case in turn."""
    return str(request.param)


def test_the_outcome_is_the_kept_one(case_name: str, update_golden: bool) -> None:
    """Manifests give the diagnostics and resources of the golden file, to the letter."""
    outcome = render_case(load_case(_FOLDER / f"{case_name}.in.yaml"))
    golden = _FOLDER / f"{case_name}.out.yaml"
    if update_golden:
        golden.write_text(outcome)
    assert golden.exists(), "no golden yet: make golden, and read the diff"
    assert outcome == golden.read_text()


def test_envoy_accepts_it(case_name: str, tmp_path: Path) -> None:
    """The real Envoy accepts every resource of the case, in one configuration per proxy."""
    case = load_case(_FOLDER / f"{case_name}.in.yaml")
    for name, bundle in case.proxies.items():
        resources = [e.resource for ts in bundle.tables.values() for t in ts for e in t.values()]
        assert rejection(resources, tmp_path) == "", name


def test_a_second_decoder_reads_the_same(case_name: str) -> None:
    """envoy-data-plane reads the values from the bytes that xds-protos reads."""
    for resource in load_case(_FOLDER / f"{case_name}.in.yaml").resources():
        assert first(resource) == second(resource), resource.name


def test_no_golden_is_left_over() -> None:
    """Every kept outcome belongs to a case."""
    kept = {path.name.removesuffix(".out.yaml") for path in _FOLDER.glob("*.out.yaml")}
    assert kept == set(_CASES)
