"""What is told of folders of manifests, and of a mesh: every code of the catalogue stands in one of these files."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Final

import pytest
import yaml

from mizzen.compile import Compiler
from mizzen.diagnostics import Location
from mizzen.model.security import IssuerKeys, issuer_meta
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_cli.offline import load
from mizzen_operator.kube_status.mesh import Certificates, Mesh, document
from mizzen_operator.kube_status.words import Report
from tests.support.small_mesh import istio, read

if TYPE_CHECKING:
    from mizzen.diagnostics import Diagnostic

pytestmark = pytest.mark.golden

_HERE: Final = Path(__file__).parent
_FOLDERS: Final = sorted(path.name for path in _HERE.iterdir() if list(path.glob("*.yaml")))
_NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
# More than a proxy should have a hundred copies of, and more than a reader wants to see here.
_LARGE: Final = ("LARGE", "x" * 204_800)


def _kept(name: str, text: str, *, update: bool) -> str:
    file = _HERE / name
    if update:
        file.write_text(text)
    assert file.exists(), "no golden yet: make golden, and read the diff"
    return file.read_text()


@pytest.mark.parametrize("name", _FOLDERS)
def test_what_is_told_of_a_folder_is_the_kept_one(
    name: str, update_golden: bool, tmp_path: Path
) -> None:
    """As ``mizzen analyze`` has it: place, code, object, field, and a sentence."""
    folder = tmp_path / "mesh"
    copytree(_HERE / name, folder)
    for file in folder.glob("*.yaml"):
        file.write_text(file.read_text().replace(*_LARGE))
    told = "".join(_line(found, folder) for found in load(folder).findings)
    assert told == _kept(f"{name}.out.txt", told, update=update_golden)


def test_what_is_told_of_an_issuer_is_the_kept_one(update_golden: bool) -> None:
    """Which only a control plane asks; what it said stands in the World."""
    silent = issuer_meta("https://login.example")
    why = "https://login.example/.well-known/openid-configuration answers 404"
    spec = "jwtRules: [{issuer: 'https://login.example'}]"
    compiler = Compiler()
    compiler.commit(Batch(changes=dict(read(istio("RequestAuthentication", "tokens", spec)))))
    compiler.commit(Batch(changes={silent.key: IssuerKeys(meta=silent, failure=why)}))
    place = Location(file="tokens.yaml", line=8)
    found = (replace(one, location=place) for each in compiler.analyze().values() for one in each)
    told = "".join(_line(one, Path()) for one in found)
    assert told == _kept("issuers.out.txt", told, update=update_golden)


def _line(found: Diagnostic, folder: Path) -> str:
    place = str(found.location).replace(f"{folder}/", "")
    parts = (f"mesh/{place}: {found.code.id}", found.object, found.path and f"{found.path}:")
    head = " ".join(str(part) for part in parts if part)
    return f"{head}\n  {found.message.replace(f'{folder}/', 'mesh/')}\n  {found.advice}\n"


def test_what_is_told_of_a_mesh_is_the_kept_one(update_golden: bool) -> None:
    """Refused configuration, pods without sidecar, a silent replica, a certificate that ends: MeshStatus."""
    reviews = ObjectKey(DEFAULT_REGISTRY, "VirtualService", "shop", "reviews")
    report = Report(replica="mizzen-1", rejecting=1, rejected=((reviews, ("Invalid regex",)),))
    mesh = Mesh(
        reports=(report,),
        silent=("10.0.0.7",),
        uninjected=("shop/old-1",),
        certificates=Certificates(
            expire=_NOW + timedelta(days=2), next_rotation=_NOW + timedelta(days=1)
        ),
        now=_NOW,
    )
    problems = yaml.safe_dump(document(mesh)["problems"], sort_keys=False, width=100)
    assert problems == _kept("mesh.out.yaml", problems, update=update_golden)
