"""Manifests of the shape that people have for Istio are understood whole: nothing is said of what is in force."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from click.testing import CliRunner

from mizzen_cli.main import mizzen
from mizzen_cli.offline import load

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic

pytestmark = pytest.mark.unit

_FOLDER: Final = Path(__file__).parent / "applications"
_LATER: Final = ["MZ0201 EnvoyFilter", "MZ0201 Telemetry", "MZ0201 WasmPlugin"]
# What is told of each, in the order of lines.
_TOLD: Final = {
    "books": [],
    "bytes": [],
    "echo": [],
    "guard": ["MZ0201 ConfigMap"],
    "hello": [],
    "later": [*_LATER, "MZ0106 HTTPRoute", "MZ0201 Ingress"],
    "outside": [],
}


@pytest.fixture(params=sorted(path.stem for path in _FOLDER.glob("*.yaml")))
def name(request: pytest.FixtureRequest) -> str:
    """Each of them."""
    return str(request.param)


@pytest.fixture
def folder(name: str, tmp_path: Path) -> Path:
    """It alone."""
    shutil.copy(_FOLDER / f"{name}.yaml", tmp_path)
    return tmp_path


def _said(found: Diagnostic) -> str:
    return f"{found.code.id} {found.object.kind if found.object else ''}"


def test_what_is_told_of_an_application(name: str, folder: Path) -> None:
    """What comes later, by its object, and nothing else."""
    assert [_said(found) for found in load(folder).findings] == _TOLD[name]


def test_each_workload_has_its_configuration(folder: Path) -> None:
    """Whoever has an Envoy has clusters with endpoints for the Services of the folder."""
    mesh = load(folder)
    pods = [key for key in mesh.compiler.objects if key.kind == "Pod"]
    assert pods
    for pod in pods:
        words = ["translate", str(folder), "--proxy", f"{pod.name}.{pod.namespace}", "-o", "json"]
        assert CliRunner().invoke(mizzen, words).exit_code == 0
