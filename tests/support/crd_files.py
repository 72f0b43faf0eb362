"""``crds/`` and the chart's copy: what stands there, what is to, and how it is written (``make crds``)."""

from __future__ import annotations

from typing import Final

from mizzen.api.crd import definitions, manifest
from tests.support.repository import ROOT

_FOLDER: Final = ROOT / "crds"
# Helm reads nothing outside of a chart.
_FOLDERS: Final = (_FOLDER, ROOT / "charts" / "mizzen" / "files" / "crds")


def expected() -> dict[str, str]:
    """Return the text of each file by its name, as the models say it now."""
    return {f"{name}.yaml": manifest(document) for name, document in definitions().items()}


def present() -> dict[str, str]:
    """Return the text of each file that is there."""
    return {path.name: path.read_text() for path in sorted(_FOLDER.glob("*"))}


def write() -> None:
    """Write every file anew, and remove those of kinds that are no more."""
    for folder in _FOLDERS:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.yaml"):
            stale.unlink()
        for name, text in expected().items():
            (folder / name).write_text(text)


if __name__ == "__main__":
    write()
