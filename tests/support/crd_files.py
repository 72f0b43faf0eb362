"""``crds/``: what stands in it, what is to stand in it, and how it is written (``make crds``)."""

from __future__ import annotations

from typing import Final

from mizzen.api.crd import definitions, manifest
from tests.support.repository import ROOT

FOLDER: Final = ROOT / "crds"


def expected() -> dict[str, str]:
    """Return the text of each file by its name, as the models say it now."""
    return {f"{name}.yaml": manifest(document) for name, document in definitions().items()}


def present() -> dict[str, str]:
    """Return the text of each file that is there."""
    return {path.name: path.read_text() for path in sorted(FOLDER.glob("*"))}


def write() -> None:
    """Write every file anew, and remove those of kinds that are no more."""
    FOLDER.mkdir(exist_ok=True)
    files = expected()
    for stale in present().keys() - files.keys():
        (FOLDER / stale).unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
