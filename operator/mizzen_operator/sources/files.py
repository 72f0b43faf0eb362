"""Which files of a folder are manifests, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mizzen_operator.sources.base import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen_operator.sources.base import Text

_SUFFIXES: Final = (".yaml", ".yml", ".json")
# Hidden files and folders (`.git`, editors' swap files, our own state) and emacs's `#file#`.
_IGNORED: Final = (".", "#")


def is_manifest(name: str) -> bool:
    """Tell whether a file of this name is read."""
    return name.endswith(_SUFFIXES) and not is_ignored(name)


def is_ignored(name: str) -> bool:
    """Tell whether a file or folder of this name is passed over with everything in it."""
    return name.startswith(_IGNORED)


def folders_below(root: Path) -> Iterator[Path]:
    """Return a folder and all that are not ignored below it; links to folders are not followed."""
    for folder, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not is_ignored(name))
        yield Path(folder)


def manifests_below(root: Path) -> Iterator[Path]:
    """Return the manifests below a folder; nothing where there is no such folder."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_ignored(name))
        yield from (Path(folder, name) for name in sorted(files) if is_manifest(name))


def read_text(path: Path) -> Text:
    """Return a file's text, None where there is no file, and why where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except UnicodeDecodeError as error:
        return Unreadable(f"it is not UTF-8 at byte {error.start}")
    except OSError as error:
        return Unreadable(error.strerror or type(error).__name__)
