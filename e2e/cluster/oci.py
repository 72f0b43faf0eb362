"""Images without a registry: layers from folders, put together into one archive that containerd imports.

The same content gives the same bytes: members are sorted and carry neither times nor owners of this machine.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: its name with a tag, its layers from below, and how it starts."""

    name: str
    layers: tuple[Path, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    )
    user: str = ""


def write_layer(
    file: Path, folders: Mapping[str, Path], *, without: Callable[[str], bool] = lambda _: False
) -> None:
    """Write a layer that holds each folder's (or file's) content at a path of the image.

    ``without`` is asked with paths of the image, such as ``usr/share/doc``.
    """
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for place, source in sorted(folders.items()):
            for path in [source, *sorted(source.rglob("*"))] if source.is_dir() else [source]:
                inside = Path(place, path.relative_to(source)).as_posix().lstrip("/")
                if inside not in ("", ".") and not without(inside):
                    _add(archive, path, inside)


def write_archive(file: Path, images: Iterable[Image]) -> None:
    """Write images into one archive of the OCI layout; layers that they share are in it once."""
    with tarfile.open(file, "w") as archive:
        blobs = _Blobs(archive)
        manifests = [_image(blobs, image) for image in images]
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        _text(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _text(archive, "index.json", index)


class _Blobs:
    """The blobs of an archive, each written once."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._there: set[str] = set()

    def add(self, kind: str, content: Path | dict[str, Any]) -> dict[str, Any]:
        """Add a blob and return its descriptor."""
        if isinstance(content, Path):
            digest, size = _digest(content), content.stat().st_size
        else:
            text = json.dumps(content, sort_keys=True).encode()
            digest, size = hashlib.sha256(text).hexdigest(), len(text)
        if digest not in self._there:
            self._there.add(digest)
            name = f"blobs/sha256/{digest}"
            if isinstance(content, Path):
                self._archive.add(content, name)
            else:
                _text(self._archive, name, content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": size}


def _image(blobs: _Blobs, image: Image) -> dict[str, Any]:
    layers = [blobs.add(_LAYER, layer) for layer in image.layers]
    settings: dict[str, Any] = {"Env": list(image.environment), "User": image.user}
    settings |= {"Entrypoint": list(image.entrypoint)} if image.entrypoint else {}
    settings |= {"Cmd": list(image.command)} if image.command else {}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": blobs.add(_CONFIG, config),
        "layers": layers,
    }
    name = image.name if _has_host(image.name) else f"docker.io/{image.name}"
    return blobs.add(_MANIFEST, manifest) | {"annotations": {"io.containerd.image.name": name}}


def _has_host(name: str) -> bool:
    return "." in name.partition("/")[0]


def _add(archive: tarfile.TarFile, path: Path, inside: str) -> None:
    member = archive.gettarinfo(path, inside)
    member.mtime = 0
    member.uname = member.gname = ""
    if member.isreg():
        with path.open("rb") as content:
            archive.addfile(member, content)
    else:
        archive.addfile(member)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _text(archive: tarfile.TarFile, name: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, sort_keys=True).encode()
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, io.BytesIO(text))
