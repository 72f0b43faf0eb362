"""The generated folder."""

from __future__ import annotations

from pathlib import Path

import yaml

from bench import mesh

_SIZE = mesh.MeshSize(services=3, endpoints=4)


def _documents(folder: Path) -> list[dict[str, object]]:
    files = sorted(folder.rglob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def _keys(folder: Path) -> list[tuple[object, object]]:
    found = [(each["kind"], each["metadata"]) for each in _documents(folder)]
    return sorted((kind, meta["name"]) for kind, meta in found if isinstance(meta, dict))


def test_both_forms_hold_the_same_objects(tmp_path: Path) -> None:
    """One file for each service, or one for all: the mesh is the same."""
    mesh.write_folder(tmp_path / "many", _SIZE)
    mesh.write_single_file(tmp_path / "one", _SIZE)
    assert _keys(tmp_path / "many") == _keys(tmp_path / "one")
    assert len(_keys(tmp_path / "one")) == 1 + 3 * (1 + 1 + 1 + 4)


def test_no_two_pods_share_an_address_or_a_name() -> None:
    """Also where a pod was replaced, and in the largest mesh."""
    pods = [mesh.pod(service, replica) for service in range(5_000) for replica in range(10)]
    pods += [mesh.pod(service, 9, 1) for service in range(5_000)]
    assert len({each.ip for each in pods}) == len({each.name for each in pods}) == len(pods)


def test_the_edits_are_yaml() -> None:
    """What the benchmarks write parses, and speaks of the service that it is for."""
    for edit in (mesh.virtual_service(1), mesh.destination_rule(1), mesh.authorization_policy(1)):
        assert yaml.safe_load(edit)["metadata"]["name"] == "svc-0001"
    assert mesh.service_documents(1, _SIZE) != mesh.service_documents(1, _SIZE, replaced=1)
