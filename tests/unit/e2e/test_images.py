"""Images that are made without a registry are what a runtime takes, and the same from the same content."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from e2e.cluster.oci import Image, write_archive, write_layer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer of one program and a link to it."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "program").write_text("#!/bin/sh\n")
    (source / "program").chmod(0o755)
    (source / "link").symlink_to("program")
    (source / "dropped").write_text("")
    file = tmp_path / "layer.tar"
    write_layer(file, {"usr/bin": source}, without=lambda path: path.endswith("dropped"))
    return file


def _members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        found = {one.name: archive.extractfile(one) for one in archive if one.isreg()}
        return {name: content.read() for name, content in found.items() if content}


def _index(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_members(file)["index.json"])
    return found


def test_a_layer_holds_a_folder_at_its_place(layer: Path) -> None:
    """Programs stay programs, links stay links, and what is left out is out."""
    with tarfile.open(layer) as archive:
        modes = {one.name: (one.mode, one.linkname) for one in archive if not one.isdir()}
    assert modes == {"usr/bin/program": (0o755, ""), "usr/bin/link": (0o777, "program")}


def test_the_same_content_gives_the_same_bytes(layer: Path, tmp_path: Path) -> None:
    """When a file was written does not matter."""
    source = tmp_path / "source"
    os.utime(source / "program", (1, 1))
    again = tmp_path / "again.tar"
    write_layer(again, {"usr/bin": source}, without=lambda path: path.endswith("dropped"))
    assert again.read_bytes() == layer.read_bytes()


def test_every_blob_is_called_by_its_digest(layer: Path, tmp_path: Path) -> None:
    """A layer that two images share is in the archive once."""
    file = tmp_path / "images.tar"
    write_archive(file, [Image(name=name, layers=(layer,)) for name in ("a.test/a:1", "b/b:1")])
    blobs = {name: body for name, body in _members(file).items() if name.startswith("blobs/")}
    assert all(name.endswith(hashlib.sha256(body).hexdigest()) for name, body in blobs.items())
    assert sum(body == layer.read_bytes() for body in blobs.values()) == 1


def test_an_image_is_known_by_its_whole_name(layer: Path, tmp_path: Path) -> None:
    """A name without a host is one of the hub's, as every runtime reads it."""
    file = tmp_path / "images.tar"
    write_archive(file, [Image(name=name, layers=(layer,)) for name in ("a.test/a:1", "b/b:1")])
    names = [one["annotations"]["io.containerd.image.name"] for one in _index(file)["manifests"]]
    assert names == ["a.test/a:1", "docker.io/b/b:1"]
